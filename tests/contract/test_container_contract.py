"""What is promised of one container, held against each kind there is.

Each test is one promise of the design.  ``ways.py`` has the kinds of containers, and says
what a new one must provide; ``work.py`` has what they run.
"""

from __future__ import annotations

import asyncio
import contextvars
import gc
import random
import threading
import traceback
import weakref
from collections import Counter

import pytest

import moorage
from moorage import Retries
from moorage.exception import (
    FunctionTimeoutError,
    InputCancellation,
    InputCancelledError,
    QueueTimeoutError,
    RemoteError,
)
from moorage.experimental import set_local_input_concurrency

from .ways import WAYS, Counts
from .work import SHAPES, Door, drive, make_world, shaped

SYNC = ["function", "method", "batched"]
ASYNC = ["async function", "async method", "async batched"]


@pytest.fixture(params=WAYS, ids=lambda way: way.name)
def way(request):
    return request.param


@pytest.fixture
def world(request):
    return make_world(getattr(request, "param", "virtual"))


in_both_times = pytest.mark.parametrize("world", ["virtual", "real"], indirect=True)
in_every_shape = pytest.mark.parametrize("shape", SHAPES)
in_every_shape_and_both_times = pytest.mark.parametrize(
    ("shape", "world"),
    [(shape, "virtual") for shape in SHAPES] + [(shape, "real") for shape in SHAPES[:2]],
    indirect=["world"],
)


# -- slots ----------------------------------------------------------------------------------


@in_every_shape
def test_never_more_than_max_inputs_run_and_always_as_many_as_can(way, shape, world):
    """Looked at whenever virtual time rests: then the counts are exact."""
    lengths = [1.5, 3, 0.5, 2, 4, 1, 1, 2.5, 0.5, 3, 1, 2]
    limit = 3

    async def body(seconds):
        with world.at_work(seconds):
            await world.sleep(seconds)

    code, options = shaped(shape, body)
    with way.open(code, world.clock, max_inputs=limit, **options) as container:
        handles = []
        for seconds in lengths:
            handles.append(container.submit(seconds))
            if len(handles) % 4 == 0:
                world.sleep_here(0.25)
        while not all(handle.done() for handle in handles):
            world.sleep_here(0)
            left = len(lengths) - len(world.ended)
            running = min(limit, left)
            assert world.running == running
            seen = container.counts()
            assert seen == Counts(running=running, queued=left - running, finished=len(world.ended))
            assert sum(handle.done() for handle in handles) == len(world.ended)
            world.sleep_here(0.25)
        assert world.peak == container.counts().peak == limit
        assert container.containers_started() == 1


@in_every_shape_and_both_times
def test_as_many_as_can_start_before_any_ends(way, shape, world):
    door = Door(world)

    async def body(x):
        with world.at_work(x):
            await door.wait()
        return x

    code, options = shaped(shape, body)
    with way.open(code, world.clock, max_inputs=4, **options) as container:
        handles = [container.submit(x) for x in range(7)]
        world.wait_for(lambda: world.running == 4)
        assert container.counts() == Counts(running=4, queued=3)
        door.open()
        assert [handle.result() for handle in handles] == list(range(7))
        assert world.peak == 4


@in_every_shape_and_both_times
def test_slots_are_granted_in_the_order_of_coming(way, shape, world):
    door = Door(world)

    async def body(x):
        with world.at_work(x):
            await door.wait()

    code, options = shaped(shape, body)
    with way.open(code, world.clock, **options) as container:
        handles = [container.submit(x) for x in range(8)]
        world.wait_for(lambda: world.running == 1)
        door.open()
        for handle in handles:
            handle.result()
        assert world.began == world.ended == list(range(8))
        events = container.events()
        if events is not None:
            assert events.inputs("granted") == events.inputs("queued")


@in_every_shape
def test_a_slot_that_comes_free_goes_to_the_first_in_line_in_the_same_step(way, shape, world):
    async def body(seconds):
        await world.sleep(seconds)

    code, options = shaped(shape, body)
    with way.open(code, world.clock, max_inputs=2, **options) as container:
        handles = [container.submit(seconds) for seconds in (1, 2, 3, 1, 2)]
        for handle in handles:
            handle.result()
        events = container.events()
        if events is None:
            return
        held, line = set(), []
        for event in events.of("queued", "granted", "settled"):
            if event.kind == "queued":
                line.append(event.input)
            elif event.kind == "granted":
                assert event.input == line.pop(0)
                held.add(event.input)
                assert len(held) <= 2
            else:
                held.discard(event.input)
        ends = [event.at for event in events.of("settled")]
        assert [event.at for event in events.of("granted")] == [0, 0, *ends[:3]]


@in_every_shape_and_both_times
def test_a_caller_that_submits_again_at_once_finds_the_slot_free(way, shape, world):
    async def body(x):
        return x

    code, options = shaped(shape, body)
    with way.open(code, world.clock, **options) as container:
        for x in range(50):
            assert container.submit(x).result() == x
            assert container.counts() == Counts(finished=x + 1)
        assert container.containers_started() == 1


@pytest.mark.parametrize("shape", ["function", "async function", "method", "async method"])
def test_a_lowered_limit_interrupts_nothing_and_a_raised_one_does_not_over_grant(way, shape, world):
    async def body(task):
        seconds, limit = task
        with world.at_work(task):
            if limit is not None:
                set_local_input_concurrency(limit)
            await world.sleep(seconds)
        return seconds

    code, options = shaped(shape, body)
    with way.open(code, world.clock, max_inputs=4, **options) as container:
        tasks = [(2, None), (3, None), (4, None), (5, 1), (1, None), (1, 3), (1, None), (1, None)]
        handles = [container.submit(task) for task in tasks]
        seen = []
        for _ in range(9):
            world.sleep_here(0)
            seen.append(world.running)
            assert container.counts().running == world.running
            world.sleep_here(1)
        # 4 run on under a limit of 1; when they have ended one runs, and one that
        # raises the limit to 3.
        assert seen == [4, 4, 3, 2, 1, 1, 3, 0, 0]
        assert [handle.result() for handle in handles] == [seconds for seconds, _ in tasks]


# -- threads, tasks and hooks -----------------------------------------------------------------


@pytest.mark.parametrize("shape", SYNC)
def test_sync_inputs_run_on_at_most_max_inputs_threads_without_a_loop(way, shape, world):
    threads = set()

    async def body(seconds):
        threads.add(threading.get_ident())
        with pytest.raises(RuntimeError):
            asyncio.get_running_loop()
        await world.sleep(seconds)

    code, options = shaped(shape, body)
    with way.open(code, world.clock, max_inputs=3, **options) as container:
        for handle in [container.submit(seconds) for seconds in [1, 2, 3, 1] * 3]:
            handle.result()
        assert len(threads) == 3
        assert threading.get_ident() not in threads


@in_both_times
@pytest.mark.parametrize("mixed", [False, True])
def test_without_concurrent_what_enter_binds_to_its_thread_works_in_sync_inputs(way, world, mixed):
    local = threading.local()
    seen = []

    class Work:
        @moorage.enter()
        def enter(self):
            local.connection = "connection"
            seen.append(threading.get_ident())

        @moorage.method()
        def run(self, x):
            seen.append(threading.get_ident())
            return local.connection

        if mixed:  # another method needs no loop; its container is one of sync code still

            @moorage.method()
            def other(self, x):
                return local.connection

        @moorage.exit()
        def leave(self):
            seen.append(threading.get_ident())
            assert local.connection == "connection"

    with way.open(Work, world.clock) as container:
        for x in range(5):
            assert container.submit(x).result() == "connection"
        if mixed:
            assert container.submit(0, "other").result() == "connection"
    assert len(seen) == 7
    assert len(set(seen)) == 1


@in_both_times
def test_async_inputs_are_tasks_on_the_one_loop_that_the_hooks_had(way, world):
    loops, tasks = [], []
    door = Door(world)

    class Work:
        @moorage.enter()
        async def enter(self):
            loops.append(asyncio.get_running_loop())

        @moorage.method()
        async def run(self, x):
            loops.append(asyncio.get_running_loop())
            tasks.append(asyncio.current_task())
            with world.at_work(x):
                await door.wait()

        @moorage.exit()
        async def leave(self):
            loops.append(asyncio.get_running_loop())

    with way.open(Work, world.clock, max_inputs=3) as container:
        handles = [container.submit(x) for x in range(3)]
        world.wait_for(lambda: world.running == 3)
        assert len({id(task) for task in tasks}) == 3
        door.open()
        for handle in handles:
            handle.result()
        tasks.clear()
    assert len(loops) == 5
    assert len({id(loop) for loop in loops}) == 1
    assert loops[0].is_closed()


def test_methods_of_both_kinds_share_the_slots_and_sync_ones_run_on_no_loop(way, world):
    async def body(x):
        with world.at_work(x):
            await world.sleep(1)

    class Work:
        @moorage.method()
        async def run(self, x):
            await body(x)

        @moorage.method()
        def sync(self, x):
            drive(body(x))

    with way.open(Work, world.clock, max_inputs=2) as container:
        handles = [container.submit(x, "sync" if x % 2 else "run") for x in range(6)]
        for _ in range(3):
            world.sleep_here(0)
            assert world.running == 2
            world.sleep_here(1)
        for handle in handles:
            handle.result()
        assert world.peak == 2
        assert Counter(world.began[:2]) == Counter([0, 1])


@in_both_times
@pytest.mark.parametrize("kind", ["sync", "async"])
def test_hooks_run_once_each_in_their_order(way, world, kind):
    log = []

    def noting(name):
        if kind == "sync":
            return lambda self: log.append(name)

        async def hook(self):
            await asyncio.sleep(0)
            log.append(name)

        return hook

    class Base:
        first = moorage.enter()(noting("base enter"))
        last = moorage.exit()(noting("base exit"))

    class Work(Base):
        second = moorage.enter()(noting("enter"))
        end = moorage.exit()(noting("exit"))

        @moorage.method()
        def run(self, x):
            log.append(x)

    with way.open(Work, world.clock) as container:
        for x in range(3):
            container.submit(x).result()
        assert log == ["base enter", "enter", 0, 1, 2]
    assert sorted(log[-2:]) == ["base exit", "exit"]
    assert len(log) == 7


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_what_a_failed_enter_raised_reaches_who_waits_and_no_exit_hook_runs(
    way, world, kind, caplog
):
    log = []

    def load():
        log.append("enter")
        raise LookupError("no weights")

    class Work:
        if kind == "sync":

            @moorage.enter()
            def enter(self):
                load()

        else:

            @moorage.enter()
            async def enter(self):
                load()

        @moorage.method()
        def run(self, x):
            log.append("ran")

        @moorage.exit()
        def leave(self):
            log.append("exit")

    def use():
        with way.open(Work, world.clock) as container:
            handles = [container.submit(x) for x in range(2)]
            for handle in handles:
                with pytest.raises(LookupError, match="no weights"):
                    handle.result()
            handles[0].result()

    with pytest.raises(LookupError, match="no weights") as caught:
        use()
    assert caught.traceback[-1].name == "load"
    assert set(log) == {"enter"}


# -- contexts and results -----------------------------------------------------------------------


@in_every_shape_and_both_times
def test_each_input_has_its_own_copy_of_its_callers_context_and_its_own_ids(way, shape, world):
    name = contextvars.ContextVar("name", default="nobody")
    door = Door(world)
    seen = {}

    async def body(x):
        before = name.get()
        name.set(f"changed by {x}")
        with world.at_work(x):
            await door.wait()
        seen[x] = (
            before,
            name.get(),
            moorage.current_input_id(),
            moorage.current_function_call_id(),
            moorage.is_local(),
        )

    code, options = shaped(shape, body)
    with way.open(code, world.clock, max_inputs=3, **options) as container:
        handles = []
        for x in range(6):
            name.set(f"caller of {x}")
            handles.append(container.submit(x))
        name.set("later")
        world.wait_for(lambda: world.running == 3)
        door.open()
        for handle in handles:
            handle.result()
    assert name.get() == "later"
    assert moorage.is_local()
    assert moorage.current_input_id() is None
    for x in range(6):
        assert seen[x][:2] == (f"caller of {x}", f"changed by {x}")
        assert seen[x][4] is False
    assert len({ids[2] for ids in seen.values()}) == 6
    assert len({ids[3] for ids in seen.values()}) == 6


def test_hooks_run_in_an_empty_context_inside_of_the_container_and_of_no_input(way, world):
    name = contextvars.ContextVar("name", default="nobody")
    seen = []

    def note():
        seen.append((name.get(), moorage.is_local(), moorage.current_input_id()))

    class Work:
        @moorage.enter()
        def enter(self):
            note()

        @moorage.method()
        def run(self, x): ...

        @moorage.exit()
        def leave(self):
            note()

    name.set("caller")
    with way.open(Work, world.clock) as container:
        container.submit(1).result()
    assert seen == [("nobody", False, None)] * 2


@in_every_shape
def test_arguments_and_results_pass_by_reference(way, shape, world):
    thing, result = [], {}

    async def body(x):
        x.append(1)
        return result

    code, options = shaped(shape, body)
    with way.open(code, world.clock, **options) as container:
        assert container.submit(thing).result() is result
        assert thing == [1]


class Mine(Exception):
    def __init__(self, code, *, detail):
        super().__init__(f"{code}, {detail}")
        self.code = code
        self.detail = detail


@in_every_shape_and_both_times
def test_an_error_keeps_its_type_attributes_and_user_frames_and_the_container_is_used_on(
    way, shape, world
):
    cause = LookupError("cause")

    async def body(x):
        if x % 2:
            raise Mine(x, detail=[x]) from cause
        return x

    code, options = shaped(shape, body)
    with way.open(code, world.clock, **options) as container:
        for x in range(6):
            handle = container.submit(x)
            if not x % 2:
                assert handle.result() == x
                continue
            with pytest.raises(Mine) as caught:
                handle.result()
            assert (caught.value.code, caught.value.detail) == (x, [x])
            assert caught.value.__cause__ is cause
            frames = traceback.extract_tb(caught.value.__traceback__)
            assert frames[-1].name == "body"
            assert frames[0].filename == __file__
            ours = [frame.name for frame in frames if "/src/moorage/" in frame.filename]
            assert len(ours) <= 1, "one leads in"
        assert container.counts() == Counts(finished=3, failed=3)
        assert container.containers_started() == 1


class Stop(BaseException):
    """None that steers anything."""


CONTROL_FLOW = [SystemExit, KeyboardInterrupt, GeneratorExit, asyncio.CancelledError]


@in_every_shape_and_both_times
def test_control_flow_arrives_as_a_remote_error_and_harms_no_neighbour(way, shape, world):
    door = Door(world)

    async def body(x):
        with world.at_work(x):
            if x is None:
                await door.wait()
                return "unharmed"
            raise x("told so")

    code, options = shaped(shape, body)
    with way.open(code, world.clock, max_inputs=2, **options) as container:
        neighbour = container.submit(None)
        world.wait_for(lambda: world.running == 1)
        for error in CONTROL_FLOW:
            with pytest.raises(RemoteError, match=error.__name__) as caught:
                container.submit(error).result()
            assert type(caught.value.__cause__) is error
            assert caught.value.__cause__.args == ("told so",)
        with pytest.raises(Stop, match="told so"):
            container.submit(Stop).result()
        door.open()
        assert neighbour.result() == "unharmed"
        assert container.counts() == Counts(finished=1, failed=5)
        assert container.containers_started() == 1


# -- cancelling ---------------------------------------------------------------------------------


@in_every_shape_and_both_times
def test_what_is_cancelled_in_the_queue_never_runs(way, shape, world):
    door = Door(world)

    async def body(x):
        with world.at_work(x):
            await door.wait()
        return x

    code, options = shaped(shape, body)
    with way.open(code, world.clock, **options) as container:
        handles = [container.submit(x) for x in range(5)]
        world.wait_for(lambda: world.running == 1)
        for x in (1, 3):
            handles[x].cancel()
            assert handles[x].done()
            with pytest.raises(InputCancelledError):
                handles[x].result()
        assert container.counts() == Counts(running=1, queued=2, cancelled=2)
        door.open()
        assert [handles[x].result() for x in (0, 2, 4)] == [0, 2, 4]
        assert world.began == [0, 2, 4]
        assert container.counts() == Counts(finished=3, cancelled=2)


@in_both_times
@pytest.mark.parametrize("shape", ASYNC)
def test_a_cancelled_async_input_sees_cancelled_error_in_its_task_and_its_neighbours_nothing(
    way, shape, world
):
    door = Door(world)
    seen = []

    async def body(x):
        with world.at_work(x):
            try:
                await door.wait()
            except BaseException as error:
                seen.append((x, type(error)))
                raise
        return x

    code, options = shaped(shape, body)
    with way.open(code, world.clock, max_inputs=3, **options) as container:
        handles = [container.submit(x) for x in range(4)]
        world.wait_for(lambda: world.running == 3)
        handles[1].cancel()
        with pytest.raises(InputCancelledError):
            handles[1].result()
        world.wait_until(lambda: seen == [(1, asyncio.CancelledError)])
        world.wait_for(lambda: 3 in world.began)  # its slot went on
        assert container.counts() == Counts(running=3, cancelled=1)
        door.open()
        assert [handles[x].result() for x in (0, 2, 3)] == [0, 2, 3]


@in_both_times
@pytest.mark.parametrize("shape", SYNC)
def test_a_cancelled_sync_input_frees_its_caller_at_once_and_its_slot_when_it_has_ended(
    way, shape, world
):
    doors = [Door(world) for _ in range(3)]
    seen = []

    async def body(x):
        with world.at_work(x):
            await doors[x].wait()
            try:
                moorage.check_cancelled()
            except BaseException as error:
                seen.append((x, type(error)))
                raise
        return x

    code, options = shaped(shape, body)
    with way.open(code, world.clock, max_inputs=2, **options) as container:
        handles = [container.submit(x) for x in range(3)]
        world.wait_for(lambda: world.running == 2)
        handles[0].cancel()
        assert handles[0].done()
        with pytest.raises(InputCancelledError):
            handles[0].result()
        assert container.counts() == Counts(running=2, queued=1, cancelled=1, abandoned=1)
        assert world.running == 2
        doors[0].open()
        world.wait_for(lambda: 2 in world.began)
        doors[1].open()
        doors[2].open()
        assert [handle.result() for handle in handles[1:]] == [1, 2]
        assert seen == [(0, InputCancellation)]
        assert container.counts() == Counts(finished=2, cancelled=1)


@in_every_shape_and_both_times
def test_a_cancel_after_the_end_changes_nothing(way, shape, world):
    async def body(x):
        return x

    code, options = shaped(shape, body)
    with way.open(code, world.clock, **options) as container:
        handle = container.submit(1)
        assert handle.result() == 1
        handle.cancel()
        assert handle.result() == 1
        assert container.submit(2).result() == 2
        assert container.counts() == Counts(finished=2)


@in_every_shape
def test_a_batch_mate_or_neighbour_that_swallows_its_cancel_is_cancelled_all_the_same(
    way, shape, world
):
    async def body(x):
        try:
            await world.sleep(1)
            moorage.check_cancelled()
        except (asyncio.CancelledError, InputCancellation):
            return "swallowed"
        return x

    code, options = shaped(shape, body)
    with way.open(code, world.clock, max_inputs=2, **options) as container:
        first, second = container.submit(1), container.submit(2)
        world.sleep_here(0)
        first.cancel()
        with pytest.raises(InputCancelledError):
            first.result()
        assert second.result() == 2
        world.sleep_here(0)
        assert container.counts() == Counts(finished=1, cancelled=1)


@in_both_times
@pytest.mark.parametrize("shape", SYNC)
def test_a_stuck_sync_input_holds_up_nobody_else(way, shape, world):
    stuck, seen = Door(world), []

    async def body(x):
        with world.at_work(x):
            if x == "stuck":
                await stuck.wait()
        return x

    code, options = shaped(shape, body)
    with way.open(code, world.clock, max_inputs=2, **options) as container:
        handle = container.submit("stuck")
        world.wait_for(lambda: world.running == 1)
        for x in range(20):
            seen.append(container.submit(x).result())
        assert seen == list(range(20))
        assert container.counts() == Counts(running=1, finished=20)
        stuck.open()
        assert handle.result() == "stuck"


# -- time ---------------------------------------------------------------------------------------


@in_every_shape
def test_a_timeout_counts_from_the_grant_of_the_slot(way, shape, world):
    async def body(seconds):
        with world.at_work(seconds):
            await world.sleep(seconds)
        return seconds

    code, options = shaped(shape, body)
    with way.open(code, world.clock, timeout=3, **options) as container:
        handles = [container.submit(seconds) for seconds in (2, 2, 2, 3.5, 2)]
        began = world.clock.now()
        assert [handle.result() for handle in handles[:3]] == [2, 2, 2]
        with pytest.raises(FunctionTimeoutError):
            handles[3].result()
        assert world.clock.now() - began == 9
        assert handles[4].result() == 2
        # An asynchronous input is out of its slot when it is cancelled; a thread
        # works on to its end.
        assert world.clock.now() - began == (11 if shape in ASYNC else 11.5)
        assert container.counts() == Counts(finished=4, failed=1)


@in_every_shape
def test_who_waits_too_long_in_the_queue_never_runs(way, shape, world):
    async def body(x):
        with world.at_work(x):
            await world.sleep(3)
        return x

    code, options = shaped(shape, body)
    with way.open(code, world.clock, queue_timeout=4, **options) as container:
        handles = [container.submit(x) for x in range(3)]
        assert handles[0].result() == 0
        with pytest.raises(QueueTimeoutError):
            handles[2].result()
        assert world.clock.now() == 4
        assert handles[1].result() == 1
        assert world.began == [0, 1]
        assert container.counts() == Counts(finished=2, failed=1)


@in_every_shape
def test_a_retry_has_the_same_ids_and_its_pause_holds_no_slot(way, shape, world):
    ids, at = [], []

    async def body(x):
        with world.at_work(x):
            if x == "other":
                await world.sleep(0.5)
                return x
            ids.append((moorage.current_input_id(), moorage.current_function_call_id()))
            at.append(world.clock.now())
            if len(ids) < 3:
                raise Mine(len(ids), detail=None)
        return x

    code, options = shaped(shape, body)
    policy = Retries(max_retries=2, backoff_coefficient=2.0, initial_delay=1.0)
    with way.open(code, world.clock, retries=policy, **options) as container:
        handles = [container.submit(x) for x in ("flaky", "other", "other")]
        world.sleep_here(0)
        assert container.counts() == Counts(running=1, queued=1, waiting=1)
        assert handles[0].result() == "flaky"
        assert at == [0, 1, 3]
        assert len(set(ids)) == 1
        assert [handle.result() for handle in handles[1:]] == ["other", "other"]
        assert container.counts() == Counts(finished=3)


@in_every_shape
def test_what_was_cancelled_is_not_tried_again(way, shape, world):
    async def body(x):
        with world.at_work(x):
            raise Mine(1, detail=x)

    code, options = shaped(shape, body)
    policy = Retries(max_retries=5, backoff_coefficient=1.0, initial_delay=10.0)
    with way.open(code, world.clock, retries=policy, **options) as container:
        handle = container.submit(1)
        world.sleep_here(1)
        assert container.counts() == Counts(waiting=1)
        handle.cancel()
        with pytest.raises(InputCancelledError):
            handle.result()
        world.sleep_here(100)
        assert len(world.began) == 1
        assert container.counts() == Counts(cancelled=1)


# -- batches ------------------------------------------------------------------------------------


def batches(kind, work):
    if kind == "sync":

        def run(xs):
            return drive(work(xs))

    else:

        async def run(xs):
            return await work(xs)

    return run


both_kinds = pytest.mark.parametrize("kind", ["sync", "async"])


@both_kinds
def test_a_batch_takes_one_slot_and_its_members_their_own_results(way, kind, world):
    sizes = []

    async def work(xs):
        with world.at_work(tuple(xs)):
            sizes.append(len(xs))
            await world.sleep(1)
        return [10 * x for x in xs]

    with way.open(batches(kind, work), world.clock, max_inputs=2, batch=(3, 500)) as container:
        handles = [container.submit(x) for x in range(10)]
        world.sleep_here(0)
        assert (world.running, container.counts().running) == (2, 6)
        assert [handle.result() for handle in handles] == [10 * x for x in range(10)]
        assert (world.peak, container.counts().peak) == (2, 2)
        assert sorted(sizes) == [1, 3, 3, 3]
        assert world.clock.now() == 2
        assert [x for batch in sorted(world.began) for x in batch] == list(range(10))


@both_kinds
def test_members_of_a_failed_batch_get_errors_that_can_be_raised_independently(way, kind, world):
    async def work(xs):
        raise Mine(7, detail=list(xs))

    with way.open(batches(kind, work), world.clock, batch=(3, 500)) as container:
        handles = [container.submit(x) for x in range(3)]
        errors = []
        for handle in handles:
            with pytest.raises(Mine) as caught:
                handle.result()
            errors.append(caught.value)
        assert [error.code for error in errors] == [7, 7, 7]
        assert len({id(error) for error in errors}) == 3
        assert container.counts() == Counts(failed=3)


@both_kinds
def test_a_member_that_is_cancelled_leaves_its_batch_to_the_others(way, kind, world):
    async def work(xs):
        with world.at_work(tuple(xs)):
            await world.sleep(1)
        return xs

    with way.open(batches(kind, work), world.clock, batch=(3, 500)) as container:
        handles = [container.submit(x) for x in range(5)]
        world.sleep_here(0)
        handles[1].cancel()
        handles[4].cancel()
        for x in (1, 4):
            assert handles[x].done()
        assert container.counts() == Counts(running=3, queued=1, cancelled=2, abandoned=1)
        assert [handles[x].result() for x in (0, 2, 3)] == [0, 2, 3]
        assert world.began == [(0, 1, 2), (3,)]
        assert container.counts() == Counts(finished=3, cancelled=2)


@both_kinds
def test_a_batch_of_which_all_are_cancelled_gives_its_slot_to_the_next(way, kind, world):
    async def work(xs):
        with world.at_work(tuple(xs)):
            await world.sleep(1)
        return xs

    with way.open(batches(kind, work), world.clock, batch=(2, 0)) as container:
        handles = [container.submit(x) for x in range(3)]
        world.sleep_here(0)
        for handle in handles[:2]:
            handle.cancel()
        assert handles[2].result() == 2
        assert world.clock.now() == (1 if kind == "async" else 2)
        for handle in handles[:2]:
            with pytest.raises(InputCancelledError):
                handle.result()
        assert container.counts() == Counts(finished=1, cancelled=2)


# -- generators -----------------------------------------------------------------------------------


def generator(kind, world, log, count=100):
    if kind == "sync":

        def run(x):
            try:
                with world.at_work(x):
                    for item in range(count):
                        yield (x, item)
            finally:
                log.append(f"closed {x}")

    else:

        async def run(x):
            try:
                with world.at_work(x):
                    for item in range(count):
                        yield (x, item)
            finally:
                log.append(f"closed {x}")

    return run


@in_both_times
@both_kinds
def test_the_items_of_a_generator_come_in_order_and_it_holds_one_slot(way, kind, world):
    log = []
    with way.open(generator(kind, world, log, 40), world.clock) as container:
        for x in range(3):
            assert list(container.stream(x)) == [(x, item) for item in range(40)]
            assert log[-1] == f"closed {x}"
            assert container.counts() == Counts(finished=x + 1)
        assert world.peak == 1


@in_both_times
@both_kinds
@pytest.mark.parametrize("ends", ["close", "drop"])
def test_closing_or_dropping_the_reader_closes_the_generator_and_gives_back_the_slot(
    way, kind, world, ends
):
    log = []
    with way.open(generator(kind, world, log), world.clock, max_inputs=2) as container:
        readers = [container.stream(x) for x in range(2)]
        assert [next(reader) for reader in readers] == [(0, 0), (1, 0)]
        assert container.counts() == Counts(running=2)
        if ends == "close":
            readers[0].close()
        readers[0] = None
        # Waits in the queue until the slot is back.
        third = container.stream(2)
        assert next(third) == (2, 0)
        assert log == ["closed 0"]
        assert next(readers[1]) == (1, 1)
        readers[1].close()
        third.close()
        world.wait_until(lambda: container.counts() == Counts(cancelled=3))
    assert sorted(log) == ["closed 0", "closed 1", "closed 2"]


@both_kinds
def test_an_error_of_a_generator_comes_after_its_items(way, kind, world):
    def fail():
        raise Mine(1, detail="late")

    if kind == "sync":

        def run(x):
            yield x
            fail()

    else:

        async def run(x):
            yield x
            fail()

    with way.open(run, world.clock) as container:
        items = []
        with pytest.raises(Mine, match="late") as caught:
            for item in container.stream(5):
                items.append(item)  # noqa: PERF402 - it does not come to its end
        assert items == [5]
        assert caught.traceback[-1].name == "fail"
        assert container.counts() == Counts(failed=1)


# -- leaving ----------------------------------------------------------------------------------------


@in_both_times
@pytest.mark.parametrize("kind", ["sync", "async"])
def test_leaving_cancels_what_runs_and_what_waits_and_then_runs_the_exit_hooks(way, world, kind):
    log = []
    door = Door(world)

    async def body(x):
        with world.at_work(x):
            try:
                if kind == "async":
                    await door.wait()
                while kind == "sync":
                    moorage.check_cancelled()
                    await world.sleep(0.001)
            except BaseException as error:
                log.append(type(error).__name__)
                raise

    class Work:
        if kind == "sync":

            @moorage.method()
            def run(self, x):
                return drive(body(x))

        else:

            @moorage.method()
            async def run(self, x):
                return await body(x)

        @moorage.exit()
        def leave(self):
            log.append("exit")

    with way.open(Work, world.clock, max_inputs=2) as container:
        handles = [container.submit(x) for x in range(5)]
        world.wait_for(lambda: world.running == 2)
    assert sorted(world.began) == [0, 1]
    assert all(handle.done() for handle in handles)
    for handle in handles:
        with pytest.raises(InputCancelledError):
            handle.result()
    assert log[-1] == "exit"
    expected = "InputCancellation" if kind == "sync" else "CancelledError"
    assert log[:-1] == [expected] * 2
    assert container.last_counts == Counts(cancelled=5)


@in_every_shape_and_both_times
def test_an_error_in_the_block_leaves_as_well(way, shape, world):
    async def body(x):
        with world.at_work(x):
            while True:
                moorage.check_cancelled()
                await world.sleep(0.001)

    code, options = shaped(shape, body)
    with pytest.raises(KeyError), way.open(code, world.clock, **options) as container:
        handle = container.submit(1)
        queued = container.submit(2)
        world.wait_for(lambda: world.running == 1)
        raise KeyError
    assert handle.done()
    assert queued.done()
    assert world.running == 0


# -- all together -----------------------------------------------------------------------------------


@in_every_shape
@pytest.mark.parametrize("seed", range(3))
def test_every_input_ends_in_exactly_one_way_and_every_slot_comes_back(way, shape, world, seed):
    """200 inputs that return, raise, run out of time or are cancelled at any moment."""
    chance = random.Random(seed)
    limit = chance.choice([1, 2, 5])
    fates = Counter()

    async def body(task):
        _, seconds, fails = task
        with world.at_work(task):
            for _ in range(3):
                await world.sleep(seconds / 3)
                moorage.check_cancelled()
            if fails:
                raise Mine(1, detail=None)
        return task[0]

    code, options = shaped(shape, body)
    if "batch" in options:
        options["batch"] = (chance.choice([1, 1, 4]), 100)
    with way.open(code, world.clock, max_inputs=limit, timeout=5, **options) as container:
        handles = []
        for number in range(200):
            seconds = chance.choice([0, 0, 0.3, 0.6, 3, 9])
            handles.append(container.submit((number, seconds, chance.random() < 0.2)))
            if chance.random() < 0.4:
                world.sleep_here(chance.choice([0, 0.1, 1]))
            if chance.random() < 0.3:
                chance.choice(handles).cancel()
            if chance.random() < 0.1:
                for handle in chance.sample(handles, min(5, len(handles))):
                    handle.cancel()
            seen = container.counts()
            assert seen.running + seen.queued + seen.settled - seen.abandoned == len(handles)
            assert seen.peak <= limit
        for number, handle in enumerate(handles):
            try:
                assert handle.result() == number
                fates["finished"] += 1
            except InputCancelledError:
                fates["cancelled"] += 1
            except (Mine, FunctionTimeoutError):
                fates["failed"] += 1
        world.sleep_here(10)  # for threads whose callers were answered
        assert container.counts() == Counts(**fates)
        assert sum(fates.values()) == 200
        assert min(fates.values()) > 5
        assert world.running == 0
        if "batch" not in options:
            assert len(set(world.began)) == len(world.began) == len(world.ended)
        events = container.events()
        if events is not None:
            assert Counter(events.inputs("settled")).most_common(1)[0][1] == 1
            assert len(events.of("settled")) == 200
            if "batch" not in options:
                by_fate = Counter(event.detail for event in events.of("settled"))
                assert by_fate["result"] == fates["finished"]
                assert by_fate["cancelled"] == fates["cancelled"]
        # All slots are there: as many run at once as ever.
        again = [container.submit((x, 1, False)) for x in range(limit)]
        world.sleep_here(0)
        if "batch" not in options:
            assert world.running == limit
        for handle in again:
            handle.result()


@pytest.mark.parametrize("world", ["real"], indirect=True)
@in_every_shape
def test_many_threads_may_submit_and_cancel_at_once(way, shape, world, in_threads, often_switching):
    async def body(x):
        with world.at_work(x):
            if x % 5 == 0:
                raise Mine(x, detail=None)
        return x

    code, options = shaped(shape, body)
    with way.open(code, world.clock, max_inputs=4, **options) as container:

        def call(first):
            fates = Counter()
            for x in range(first, first + 40):
                handle = container.submit(x)
                if x % 3 == 0:
                    handle.cancel()
                try:
                    assert handle.result() == x
                    fates["finished"] += 1
                except InputCancelledError:
                    fates["cancelled"] += 1
                except Mine:
                    fates["failed"] += 1
            return fates

        callers = [in_threads(call, 1000 * number) for number in range(4)]
        fates = sum((caller.result() for caller in callers), Counter())
        world.wait_until(lambda: container.counts().running == 0)
        assert container.counts() == Counts(**fates)
        assert world.peak <= 4
        assert container.containers_started() == 1


# -- what is kept -----------------------------------------------------------------------------------


class Thing:
    """Can be watched."""


@in_every_shape_and_both_times
def test_nothing_of_an_input_is_kept_once_it_has_settled(way, shape, world):
    """Neither arguments nor result nor error, nor what its context held; also with a probe."""
    variable = contextvars.ContextVar("variable")

    async def body(x):
        if isinstance(x, dict):
            raise Mine(1, detail=x["thing"])
        return Thing() if x is not None else None

    code, options = shaped(shape, body)
    alive = []

    def use(argument):
        thing, other = Thing(), Thing()
        variable.set(other)
        alive.extend([weakref.ref(thing), weakref.ref(other)])
        given = {"thing": thing} if argument == "fails" else thing
        del thing, other
        try:
            alive.append(weakref.ref(container.call(given)))
        except Mine as error:
            alive.append(weakref.ref(error))

    with way.open(code, world.clock, **options) as container:
        for argument in ("returns", "fails"):
            contextvars.copy_context().run(use, argument)
            # Whoever ran it has gone on.
            contextvars.copy_context().run(container.call, None)
            world.wait_until(lambda: not container.counts().running)
        gc.collect()
        assert [reference() for reference in alive] == [None] * 6


@in_every_shape
def test_nothing_of_what_was_cancelled_is_kept(way, shape, world):
    async def body(x):
        with world.at_work(x):
            await world.sleep(1)
        world.began.clear()
        world.ended.clear()

    code, options = shaped(shape, body)
    with way.open(code, world.clock, **options) as container:
        things = [Thing() for _ in range(3)]
        alive = [weakref.ref(thing) for thing in things]
        handles = [container.submit(thing) for thing in things]
        del things
        world.sleep_here(0.5)
        for handle in handles:
            handle.cancel()
        world.sleep_here(5)
        world.began.clear()
        world.ended.clear()
        container.submit(None).result()
        gc.collect()
        assert [reference() for reference in alive] == [None] * 3


@pytest.fixture
def no_collections():
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@in_every_shape
def test_an_error_dies_with_its_caller_not_with_a_collection(way, shape, world, no_collections):
    async def body(x):
        raise Mine(1, detail=x)

    code, options = shaped(shape, body)
    alive = []

    def use(container):
        try:
            container.call(1)
        except Mine as error:
            alive.append(weakref.ref(error))

    with way.open(code, world.clock, **options) as container:
        use(container)
    assert alive[0]() is None
