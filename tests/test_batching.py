"""How batches form, run and end, in virtual time: who is in one, and what each member gets."""

import asyncio
import threading

import pytest

import moorage
from moorage import App, Retries
from moorage.exception import (
    FunctionTimeoutError,
    InputCancellation,
    InputCancelledError,
    InvalidError,
    QueueTimeoutError,
)
from moorage.runtime.clocks.virtual_clock import VirtualClock

KINDS = ["sync", "async", "sync method", "async method"]


class Stage:
    """A batched function in virtual time, and when it ran what.

    Its inputs are ``(value, seconds)``: a batch takes as long as its longest member,
    and returns the values.  A value that is an exception class is raised, and an
    exception object takes its own place only.
    """

    def __init__(self, kind, *, size=4, wait_ms=1000, concurrent=None, enter=None, **options):
        self.clock = VirtualClock()
        self.app = App("stage")
        self.ran = []  # (when, values)
        self.ids = []
        self.cancelled = []  # when
        self.starts = 0
        options.setdefault("max_containers", 1)
        ran, cancelled, ids, clock = self.ran, self.cancelled, self.ids, self.clock

        def begin(values):
            ran.append((clock.now(), list(values)))
            ids.append((moorage.current_input_id(), moorage.current_input_ids()))

        def outcome(values):
            for value in values:
                if isinstance(value, type) and issubclass(value, BaseException):
                    raise value(len(values))
            return list(values)

        def sync(values, seconds):
            begin(values)
            end = clock.now() + max(seconds)
            try:
                while clock.now() < end:
                    clock.sleep(min(0.25, end - clock.now()))
                    moorage.check_cancelled()
            except InputCancellation:
                cancelled.append(clock.now())
                raise
            return outcome(values)

        async def asynchronous(values, seconds):
            begin(values)
            try:
                await asyncio.sleep(max(seconds))
            except asyncio.CancelledError:
                cancelled.append(clock.now())
                raise
            return outcome(values)

        batched = moorage.batched(max_batch_size=size, wait_ms=wait_ms)
        work = sync if kind.startswith("sync") else asynchronous
        more = [] if concurrent is None else [moorage.concurrent(**concurrent)]
        if "method" in kind or enter:
            stage = self

            class Work:
                @moorage.enter()
                def enter(self):
                    stage.starts += 1
                    if enter:
                        enter(stage)

                if kind.startswith("sync"):

                    @batched
                    def work(self, values, seconds):
                        return work(values, seconds)

                else:

                    @batched
                    async def work(self, values, seconds):
                        return await work(values, seconds)

            for each in more:
                Work = each(Work)
            self.work = self.app.cls(serialized=True, **options)(Work)().work
        else:
            marked = batched(work)
            for each in more:
                marked = each(marked)
            self.work = self.app.function(serialized=True, **options)(marked)

    def __enter__(self):
        self.clock.__enter__()
        self._run = self.app.run(clock=self.clock)
        self._run.__enter__()
        return self

    def __exit__(self, *raised):
        try:
            self._run.__exit__(*raised)
        finally:
            self.clock.__exit__(*raised)

    def spawn(self, *values, seconds=0.0):
        return [self.work.spawn(value, seconds) for value in values]

    def sleep(self, seconds):
        self.clock.sleep(seconds)

    def statistics(self):
        """Its counts, which balance."""
        seen = self.work.statistics()
        assert seen.accepted == (
            seen.queued
            + seen.waiting
            + seen.running
            - seen.abandoned
            + seen.succeeded
            + seen.failed
            + seen.cancelled
        )
        return seen

    def ended(self):
        seen = self.statistics()
        assert (seen.queued, seen.waiting, seen.running, seen.abandoned) == (0, 0, 0, 0)
        assert seen.batches.running == 0
        return seen


def results(calls):
    """What each of `calls` came to."""
    got = []
    for call in calls:
        try:
            got.append(call.get())
        except Exception as error:
            got.append(error)
    return got


def kinds_of(results):
    return [type(result) for result in results]


each_kind = pytest.mark.parametrize("kind", KINDS)
sync_and_async = pytest.mark.parametrize("kind", ["sync", "async"])


# -- forming -------------------------------------------------------------------------------


@each_kind
def test_the_wait_begins_with_the_first_member(kind):
    with Stage(kind) as stage:
        calls = stage.spawn(1)
        stage.sleep(0.7)
        calls += stage.spawn(2)
        stage.sleep(0.25)
        assert stage.ran == []
        assert stage.statistics().queued == 2
        assert results(calls) == [1, 2]
        assert stage.ran == [(1.0, [1, 2])]
        assert stage.ended().succeeded == 2


@each_kind
def test_a_full_batch_goes_at_once(kind):
    with Stage(kind) as stage:
        assert results(stage.spawn(1, 2, 3, 4)) == [1, 2, 3, 4]
        assert stage.ran == [(0.0, [1, 2, 3, 4])]
        stage.sleep(0.5)
        calls = stage.spawn(5, 6, 7)
        stage.sleep(0.25)
        calls += stage.spawn(8, 9)
        assert results(calls) == [5, 6, 7, 8, 9]
        # The fifth began a batch, and waits from its own coming on.
        assert stage.ran[1:] == [(0.75, [5, 6, 7, 8]), (1.75, [9])]
        stage.ended()


@each_kind
def test_a_batch_grows_while_it_waits_for_a_slot_and_goes_at_once_when_one_comes(kind):
    with Stage(kind) as stage:
        first = stage.spawn(1, 2, 3, 4, seconds=10)
        stage.sleep(1.0)
        second = stage.spawn(5)
        stage.sleep(7.0)  # the wait is long over
        second += stage.spawn(6)
        stage.sleep(1.9)
        second += stage.spawn(7)
        assert results(first + second) == [1, 2, 3, 4, 5, 6, 7]
        assert stage.ran == [(0.0, [1, 2, 3, 4]), (10.0, [5, 6, 7])]
        stage.ended()


@each_kind
def test_under_load_nobody_waits_for_the_clock(kind):
    with Stage(kind, wait_ms=3000) as stage:
        calls = stage.spawn(*range(18), seconds=5)
        assert results(calls) == list(range(18))
        assert [when for when, _ in stage.ran] == [0.0, 5.0, 10.0, 15.0, 20.0]
        assert [len(values) for _, values in stage.ran] == [4, 4, 4, 4, 2]
        assert stage.ended().batches.sizes == ((2, 1), (4, 4))


@sync_and_async
def test_what_has_not_waited_its_time_waits_on_when_a_slot_comes_free(kind):
    with Stage(kind) as stage:
        first = stage.spawn(1, 2, 3, 4, seconds=10)
        stage.sleep(9.5)
        second = stage.spawn(5)
        assert results(first + second) == [1, 2, 3, 4, 5]
        assert stage.ran[1] == (10.5, [5])


@each_kind
def test_nobody_waits_where_the_wait_is_0(kind):
    with Stage(kind, wait_ms=0) as stage:
        assert results(stage.spawn(1)) == [1]
        first = stage.spawn(2, seconds=3)
        stage.sleep(1.0)
        second = stage.spawn(3, 4, 5)
        assert results(first + second) == [2, 3, 4, 5]
        assert stage.ran == [(0.0, [1]), (0.0, [2]), (3.0, [3, 4, 5])]
        assert stage.ended().batches.longest_wait == 2.0


@each_kind
def test_a_size_of_1_makes_batches_of_1_that_wait_for_nobody(kind):
    with Stage(kind, size=1, wait_ms=60_000) as stage:
        assert results(stage.spawn(1, 2, 3, seconds=1)) == [1, 2, 3]
        assert stage.ran == [(0.0, [1]), (1.0, [2]), (2.0, [3])]


@sync_and_async
def test_the_largest_batch_there_may_be(kind):
    with Stage(kind, size=1000) as stage:
        handle = stage.work.experimental_spawn_map(range(2500), [0.0] * 2500)
        assert list(handle.iter()) == list(range(2500))
        assert [len(values) for _, values in stage.ran] == [1000, 1000, 500]
        assert [when for when, _ in stage.ran] == [0.0, 0.0, 1.0]
        assert [value for _, values in stage.ran for value in values] == list(range(2500))


@sync_and_async
def test_a_map_fills_batches_also_when_they_are_as_large_as_can_be(kind):
    with Stage(kind, size=1000, concurrent={"max_inputs": 3}) as stage:
        assert list(stage.work.map(range(3000), [5.0] * 3000)) == list(range(3000))
        assert [len(values) for _, values in stage.ran] == [1000, 1000, 1000]
        assert stage.clock.now() == 5.0, "all three ran at once"


@each_kind
def test_two_containers_have_a_batch_each(kind):
    with Stage(kind, max_containers=2) as stage:
        calls = stage.spawn(*range(10), seconds=5)
        assert results(calls) == list(range(10))
        assert sorted(stage.ran) == [(0.0, [0, 1, 2, 3]), (0.0, [4, 5, 6, 7]), (5.0, [8, 9])]
        assert stage.statistics().peak_containers == 2


@each_kind
def test_one_batch_takes_one_slot(kind):
    with Stage(kind, concurrent={"max_inputs": 2}) as stage:
        calls = stage.spawn(*range(12), seconds=5)
        stage.sleep(1.0)
        seen = stage.statistics()
        assert (seen.running, seen.queued) == (8, 4)
        assert (seen.batches.running, seen.batches.granted) == (2, 2)
        (container,) = seen.containers
        assert (container.running, container.limit, container.peak) == (2, 2, 2)
        assert results(calls) == list(range(12))
        assert [when for when, _ in stage.ran] == [0.0, 0.0, 5.0]
        assert stage.ended().peak_inputs == 2


@sync_and_async
@pytest.mark.parametrize("order", ["above", "below"])
def test_concurrent_stands_above_or_below(kind, order):
    app = App()
    sizes = []

    def sync(values):
        sizes.append(len(values))
        return values

    async def asynchronous(values):
        return sync(values)

    batched = moorage.batched(max_batch_size=3, wait_ms=0)
    concurrent = moorage.concurrent(max_inputs=2, target_inputs=1)
    work = sync if kind == "sync" else asynchronous
    marked = concurrent(batched(work)) if order == "above" else batched(concurrent(work))
    work = app.function(serialized=True, max_containers=1)(marked)
    with app.run():
        assert list(work.map(range(9))) == list(range(9))
        seen = work.statistics()
        assert (seen.max_inputs, seen.target_inputs) == (2, 1)
        assert seen.batches.max_batch_size == 3
    assert sum(sizes) == 9
    assert max(sizes) <= 3


@sync_and_async
def test_a_batch_above_the_target_goes_to_a_ready_container(kind):
    with Stage(kind, concurrent={"max_inputs": 3, "target_inputs": 1}) as stage:
        calls = stage.spawn(*range(12), seconds=5)
        assert results(calls) == list(range(12))
        assert [when for when, _ in stage.ran] == [0.0, 0.0, 0.0]


@each_kind
def test_demand_counts_batches_and_the_backlog_inputs(kind):
    with Stage(kind, max_containers=None) as stage:
        calls = stage.spawn(*range(8), seconds=100)
        stage.sleep(1.0)
        assert stage.statistics().peak_containers == 2
        calls += stage.spawn(8)  # one that forms is wanted room for, too
        seen = stage.work.get_current_stats()
        assert seen.backlog == 1
        stage.sleep(0.5)
        assert len(stage.statistics().containers) == 3
        assert stage.ran[2:] == []
        stage.sleep(0.6)
        assert stage.ran[2:] == [(2.0, [8])]
        results(calls)


@sync_and_async
def test_members_are_in_the_order_of_their_coming(kind):
    with Stage(kind, size=7, wait_ms=100) as stage:
        calls = []
        for value in range(40):
            calls += stage.spawn(value, seconds=0.35)
            stage.sleep(0.03)
        assert results(calls) == list(range(40))
        assert [value for _, values in stage.ran for value in values] == list(range(40))


# -- leaving before it runs -----------------------------------------------------------------


@each_kind
def test_a_member_that_is_cancelled_while_the_batch_forms_leaves(kind):
    with Stage(kind) as stage:
        calls = stage.spawn(1, 2, 3)
        stage.sleep(0.5)
        calls[1].cancel()
        with pytest.raises(InputCancelledError):
            calls[1].get()
        assert stage.statistics().queued == 2
        calls += stage.spawn(4)
        assert results([calls[0], *calls[2:]]) == [1, 3, 4]
        assert stage.ran == [(1.0, [1, 3, 4])]
        assert stage.ended().cancelled == 1


@each_kind
def test_when_the_first_leaves_the_next_has_its_own_wait(kind):
    with Stage(kind) as stage:
        calls = stage.spawn(1)
        stage.sleep(0.6)
        calls += stage.spawn(2)
        calls[0].cancel()
        assert calls[1].get() == 2
        assert stage.ran == [(1.6, [2])]
        assert stage.ended().batches.longest_wait == pytest.approx(1.0)


@sync_and_async
def test_a_batch_that_all_left_never_runs_and_the_next_forms_anew(kind):
    with Stage(kind) as stage:
        calls = stage.spawn(1, 2)
        for call in calls:
            call.cancel()
        stage.sleep(3.0)
        assert stage.ran == []
        assert stage.spawn(3)[0].get() == 3
        assert stage.ran == [(4.0, [3])]
        assert stage.ended().batches.sizes == ((1, 1),)


@sync_and_async
def test_a_member_whose_queue_timeout_is_over_leaves(kind):
    with Stage(kind, queue_timeout=6) as stage:
        first = stage.spawn(0, 0, 0, 0, seconds=8)
        stage.sleep(1.0)
        calls = stage.spawn(1)
        stage.sleep(2.0)
        calls += stage.spawn(2)
        assert kinds_of(results(calls)) == [QueueTimeoutError, int]
        assert stage.ran[1] == (8.0, [2])
        results(first)
        seen = stage.ended()
        assert (seen.failed, seen.succeeded) == (1, 5)


@pytest.mark.parametrize("gone", [(0,), (1, 2), (3,), (0, 1, 2, 3)])
def test_a_member_that_is_cancelled_after_the_grant_is_not_in_the_lists(gone):
    # 1. A blocked loop keeps a batch granted that has not begun,
    # 2. members of it are cancelled,
    # 3. it runs, without them, or not at all.
    app = App()
    blocked, go_on, ran = threading.Event(), threading.Event(), []

    @app.function(max_containers=1, serialized=True)
    @moorage.concurrent(max_inputs=2)
    @moorage.batched(max_batch_size=4, wait_ms=60_000)
    async def work(values):
        ran.append((values, moorage.current_input_ids(), moorage.current_function_call_id()))
        if values[0] == "block":
            blocked.set()
            assert go_on.wait(30)
        return values

    with app.run():
        blockers = [work.spawn("block") for _ in range(4)]
        assert blocked.wait(10)
        calls = [work.spawn(value) for value in range(4)]
        seen = work.statistics()
        assert (seen.running, seen.queued, seen.batches.running) == (8, 0, 2)
        for index in gone:
            calls[index].cancel()
            with pytest.raises(InputCancelledError):
                calls[index].get()
        left = [call for index, call in enumerate(calls) if index not in gone]
        seen = work.statistics()
        assert (seen.running, seen.abandoned, seen.cancelled) == (4 + len(left), 0, len(gone))
        go_on.set()
        assert results(blockers) == ["block"] * 4
        assert results(left) == [index for index in range(4) if index not in gone]
        seen = work.statistics()
        assert (seen.running, seen.succeeded) == (0, 4 + len(left))
    if left:
        values, ids, call_id = ran[1]
        assert values == results(left)
        assert call_id == left[0].object_id
        assert len(ids) == len(left)
    else:
        assert len(ran) == 1


def test_the_first_may_leave_when_the_batch_has_begun_and_its_code_has_not():
    # 1. Two batches get tasks in one turn of the loop, and the first of them blocks it,
    # 2. the first member of the second is cancelled,
    # 3. its code begins, without it, and with the ids of those that are there.
    app = App()
    may_begin, blocked, go_on, ran = (*(threading.Event() for _ in range(3)), [])

    @app.cls(max_containers=1, serialized=True)
    @moorage.concurrent(max_inputs=2)
    class Work:
        @moorage.enter()
        async def enter(self):
            loop = asyncio.get_running_loop()
            loop.call_soon = loop.call_soon  # so the loop itself runs the first steps of tasks
            assert may_begin.wait(30)

        @moorage.batched(max_batch_size=3, wait_ms=0)
        async def work(self, values):
            ran.append((values, moorage.current_input_id(), moorage.current_input_ids()))
            if 0 in values:
                blocked.set()
                assert go_on.wait(30)
            return values

    with app.run():
        calls = [Work().work.spawn(value) for value in range(6)]
        may_begin.set()
        assert blocked.wait(10)
        calls[3].cancel()
        assert Work().work.statistics().abandoned == 1, "it has a part in the slot"
        go_on.set()
        assert kinds_of(results(calls)) == [int] * 3 + [InputCancelledError] + [int] * 2
    (_, first, ids), (values, second, others) = ran
    assert values == [4, 5]
    assert (first, second) == (ids[0], others[0])
    assert len({*ids, *others}) == 5


# -- leaving while it runs ------------------------------------------------------------------


@each_kind
def test_a_member_that_is_cancelled_while_it_runs_releases_its_caller_and_harms_no_one(kind):
    with Stage(kind) as stage:
        calls = stage.spawn(1, 2, 3, 4, seconds=10)
        stage.sleep(3.0)
        for index in (0, 2):
            calls[index].cancel()
            with pytest.raises(InputCancelledError):
                calls[index].get()
        assert stage.clock.now() == 3.0
        seen = stage.statistics()
        assert (seen.running, seen.abandoned, seen.cancelled) == (4, 2, 2)
        assert seen.batches.running == 1
        assert results([calls[1], calls[3]]) == [2, 4]
        assert stage.clock.now() == 10.0
        assert stage.cancelled == []
        assert stage.ended().succeeded == 2


@each_kind
def test_a_batch_is_cancelled_with_its_last_member(kind, monkeypatch):
    monkeypatch.setattr(moorage.config, "cancel_grace", 0.001)
    with Stage(kind) as stage:
        calls = stage.spawn(1, 2, seconds=10)
        stage.sleep(3.0)
        for call in calls:
            call.cancel()
            with pytest.raises(InputCancelledError):
                call.get()
        assert stage.clock.now() <= 3.25
        # Its slot is free for the next, once it is out.
        calls = stage.spawn(1, 2, 3, 4)
        assert results(calls) == [1, 2, 3, 4]
        assert stage.clock.now() < 10.0
        assert len(stage.cancelled) == 1
        seen = stage.ended()
        assert (seen.cancelled, seen.succeeded) == (2, 4)


@sync_and_async
def test_a_map_that_is_closed_takes_its_members_out_and_leaves_the_others(kind):
    with Stage(kind) as stage:
        calls = stage.spawn("other", seconds=10)
        results_of_map = stage.work.map(range(3), [10.0] * 3)
        part = object()

        def read():
            stage.clock.participants.bind_thread(part)
            with pytest.raises(InputCancelledError, match="were closed"):
                list(results_of_map)
            stage.clock.participants.end(part)

        stage.clock.participants.begin(part, "reader")
        reader = threading.Thread(target=read)
        reader.start()
        stage.sleep(3.0)
        assert stage.statistics().running == 4
        results_of_map.close()
        assert stage.statistics().abandoned == 3
        assert results(calls) == ["other"]
        assert stage.clock.now() == 10.0
        reader.join(30)
        assert stage.ended().cancelled == 3


@sync_and_async
def test_a_callers_task_that_is_cancelled_takes_its_member_out(kind):
    async def main():
        tasks = [asyncio.ensure_future(stage.work.remote.aio(v, 10.0)) for v in range(4)]
        await asyncio.sleep(0.001)  # of virtual time: all else has come to rest
        assert stage.work.statistics().running
        tasks[1].cancel()
        return await asyncio.gather(*tasks, return_exceptions=True)

    with Stage(kind) as stage:
        loop = stage.clock.new_event_loop()
        try:
            first, second, third, fourth = loop.run_until_complete(main())
        finally:
            loop.close()
        assert (first, third, fourth) == (0, 2, 3)
        assert isinstance(second, asyncio.CancelledError)
        assert stage.ended().cancelled == 1


# -- how it ends ----------------------------------------------------------------------------


@each_kind
def test_an_exception_in_the_list_is_raised_at_that_members_caller_only(kind):
    mine = LookupError("only mine")
    with Stage(kind) as stage:
        got = results(stage.spawn(1, mine, 3, ValueError("another")))
        assert got[::2] == [1, 3]
        assert (type(got[1]), got[1].args) == (LookupError, mine.args)
        assert (type(got[3]), got[3].args) == (ValueError, ("another",))
        seen = stage.ended()
        assert (seen.succeeded, seen.failed) == (2, 2)


@each_kind
def test_an_exception_fails_all_members_with_one_of_their_own_each(kind):
    with Stage(kind) as stage:
        got = results(stage.spawn(1, ValueError, 3))
        assert [(type(error), error.args) for error in got] == [(ValueError, (3,))] * 3
        assert len(set(map(id, got))) == 3
        assert stage.ended().failed == 3


@sync_and_async
def test_one_exception_object_in_several_places_is_raised_apart(kind):
    error = LookupError("both")
    with Stage(kind) as stage:
        got = results(stage.spawn(error, error, 3, LookupError("alone")))
        assert [type(each) for each in got] == [LookupError, LookupError, int, LookupError]
        assert got[0] is not got[1]


@sync_and_async
def test_control_flow_in_the_list_arrives_as_a_remote_error(kind):
    with Stage(kind) as stage:
        got = results(stage.spawn(1, KeyboardInterrupt(), StopIteration(4), SystemExit(5)))
        assert got[0] == 1
        for error, kind_of_cause in zip(
            got[1:], (KeyboardInterrupt, StopIteration, SystemExit), strict=True
        ):
            assert isinstance(error, moorage.exception.RemoteError)
            assert isinstance(error.__cause__, kind_of_cause)
        assert results(stage.spawn(1)) == [1]


@each_kind
def test_a_timeout_runs_from_the_grant_and_hits_all_members(kind, monkeypatch):
    monkeypatch.setattr(moorage.config, "cancel_grace", 0.001)
    with Stage(kind, timeout=5) as stage:
        first = stage.spawn(1)
        stage.sleep(0.9)
        first += stage.spawn(2, seconds=60)
        got = results(first)
        assert kinds_of(got) == [FunctionTimeoutError] * 2
        assert got[0] is not got[1]
        assert stage.clock.now() == 6.0
        assert results(stage.spawn(3)) == [3]
        seen = stage.ended()
        assert (seen.failed, seen.succeeded) == (2, 1)


@each_kind
def test_members_that_left_are_not_hit_by_its_timeout(kind, monkeypatch):
    monkeypatch.setattr(moorage.config, "cancel_grace", 0.001)
    with Stage(kind, timeout=5) as stage:
        calls = stage.spawn(1, 2, 3, 4, seconds=60)
        stage.sleep(1.0)
        calls[0].cancel()
        assert kinds_of(results(calls)) == [InputCancelledError] + [FunctionTimeoutError] * 3
        assert results(stage.spawn(3)) == [3]
        seen = stage.ended()
        assert (seen.cancelled, seen.failed) == (1, 3)


@each_kind
def test_members_whose_arguments_do_not_fit_fail_alone(kind):
    with Stage(kind) as stage:
        calls = [
            stage.work.spawn(1, 0.0),
            stage.work.spawn(2),
            stage.work.spawn(3, seconds=0.0),
            stage.work.spawn(4, 0.0, 5),
        ]
        assert [str(error) for error in results(calls)[1::2]] != []
        assert kinds_of(results(calls)) == [int, InvalidError, int, InvalidError]
        assert stage.ran == [(0.0, [1, 3])]
        ((first, ids),) = stage.ids
        assert (len(ids), ids[0]) == (2, first), "those of the lists"
        calls = [
            stage.work.spawn(5, 0.0, other=1),
            stage.work.spawn(6, 0.0, values=2),
            stage.work.spawn(),
        ]
        assert kinds_of(results(calls)) == [InvalidError] * 3
        assert len(stage.ran) == 1, "nobody was left to run for"
        calls = [stage.work.spawn(11), *stage.spawn(ValueError)]
        assert kinds_of(results(calls)) == [InvalidError, ValueError], "whatever the batch raises"
        calls = [stage.work.spawn(8), *stage.spawn(9, 10)]
        assert kinds_of(results(calls)) == [InvalidError, int, int]
        first, ids = stage.ids[-1]
        assert (len(ids), ids[0]) == (2, first), "the first did not fit"
        seen = stage.ended()
        assert (seen.succeeded, seen.failed) == (4, 8)


@sync_and_async
def test_ids_are_those_of_the_first_and_of_all(kind):
    with Stage(kind) as stage:
        calls = stage.spawn(1, 2)
        handle = stage.work.experimental_spawn_map([3, 4], [0.0, 0.0])
        assert list(handle.iter()) == [3, 4]
        ((first, ids),) = stage.ids
        assert ids[0] == first
        assert len(set(ids)) == 4
        assert [id.split("-")[1] for id in ids[2:]] == [ids[2].split("-")[1]] * 2
        results(calls)
        assert moorage.current_input_ids() == []


def test_current_input_ids_in_what_is_not_batched():
    app = App()

    @app.function()
    def ids():
        return moorage.current_input_id(), moorage.current_input_ids()

    with app.run():
        mine, all_of_them = ids.remote()
    assert all_of_them == [mine]


@sync_and_async
def test_the_context_is_the_first_members(kind):
    import contextvars

    who = contextvars.ContextVar("who")
    app = App()

    def work(values):
        return [(who.get(), value) for value in values]

    async def work_async(values):
        return work(values)

    work_ = app.function(serialized=True, max_containers=1)(
        moorage.batched(max_batch_size=2, wait_ms=60_000)(work if kind == "sync" else work_async)
    )
    with app.run():
        calls = []
        for name in ("first", "second"):
            who.set(name)
            calls.append(work_.spawn(name))
        assert results(calls) == [("first", "first"), ("first", "second")]


# -- retries --------------------------------------------------------------------------------


@each_kind
def test_each_failed_member_is_tried_again_by_its_own_history(kind):
    class Flaky(Exception):
        """In a member's place as often as it says, then it is raised no more."""

    tries = {}

    stage_app = App()
    ran = []
    clock = VirtualClock()

    def fail_some(values):
        ran.append((clock.now(), list(values)))
        got = []
        for name, times in values:
            tries[name] = tries.get(name, 0) + 1
            got.append(Flaky(name, tries[name]) if tries[name] <= times else name)
        return got

    batched = moorage.batched(max_batch_size=4, wait_ms=1000)
    options = {
        "serialized": True,
        "max_containers": 1,
        "retries": Retries(max_retries=2, initial_delay=5.0, backoff_coefficient=1.0),
    }
    if kind == "sync":
        work = stage_app.function(**options)(batched(fail_some))
    elif kind == "async":

        async def fail_some_async(values):
            return fail_some(values)

        work = stage_app.function(**options)(batched(fail_some_async))
    else:

        class Work:
            @batched
            def work(self, values):
                return fail_some(values)

        work = stage_app.cls(**options)(Work)().work

    with clock, stage_app.run(clock=clock):
        calls = [
            work.spawn((name, times)) for name, times in zip("abcd", (0, 1, 2, 3), strict=True)
        ]
        clock.sleep(4.5)
        assert calls[0].get() == "a"
        assert work.statistics().waiting == 3
        calls += [work.spawn(("e", 0))]  # joined by those that are tried again
        got = results(calls)
        assert got[:3] == ["a", "b", "c"]
        assert got[4] == "e"
        assert isinstance(got[3], Flaky)
        assert got[3].args == ("d", 3)
        assert got[3].__notes__ == [
            "attempt 1 of 3 failed: Flaky('d', 1)",
            "attempt 2 of 3 failed: Flaky('d', 2)",
        ]
        names = [[name for name, _ in values] for _, values in ran]
        assert names == [["a", "b", "c", "d"], ["e", "b", "c", "d"], ["c", "d"]]
        assert [when for when, _ in ran] == [0.0, 5.0, 11.0]
        seen = work.statistics()
        assert (seen.succeeded, seen.failed, seen.retries) == (4, 1, 5)


@pytest.mark.parametrize("way", ["raise", "timeout"])
def test_a_batch_that_fails_as_a_whole_is_tried_again_by_member(way):
    app = App()
    ran = []

    @app.function(
        timeout=10,
        max_containers=1,
        serialized=True,
        retries=Retries(max_retries=1, initial_delay=5.0),
    )
    @moorage.batched(max_batch_size=2, wait_ms=0)
    async def work(values):
        ran.append(list(values))
        if len(ran) == 1:
            if way == "raise":
                raise ValueError(1)
            await asyncio.sleep(1000)
        return values

    with VirtualClock() as clock, app.run(clock=clock):
        handle = work.experimental_spawn_map([1, 2])
        clock.sleep(12.0 if way == "timeout" else 2.0)
        seen = work.statistics()
        assert (seen.waiting, seen.running, seen.retries) == (2, 0, 2)
        other = work.spawn(3)
        assert list(handle.iter()) == [1, 2]
        assert other.get() == 3
    assert ran[0] == [1, 2]
    assert sorted(value for values in ran[1:] for value in values) == [1, 2, 3]


@sync_and_async
def test_members_that_wait_for_a_retry_are_cancelled_alone(kind):
    with Stage(kind, retries=Retries(max_retries=1, initial_delay=30.0)) as stage:
        calls = stage.spawn(ValueError, 2)
        stage.sleep(3.0)
        assert stage.statistics().waiting == 2
        calls[0].cancel()
        assert kinds_of(results(calls)) == [InputCancelledError, int]
        seen = stage.ended()
        assert (seen.cancelled, seen.succeeded, seen.retries) == (1, 1, 2)


@sync_and_async
def test_a_member_that_left_is_not_tried_again(kind):
    with Stage(kind, retries=Retries(max_retries=1, initial_delay=1.0), size=2) as stage:
        calls = stage.spawn(ValueError, 2, seconds=5)
        stage.sleep(1.0)
        calls[0].cancel()
        assert kinds_of(results(calls)) == [InputCancelledError, int]
        assert [values for _, values in stage.ran] == [[ValueError, 2], [2]]
        assert stage.ended().retries == 1
