"""Leaving with ``drain=True``: what was accepted is finished, and what that calls itself."""

import asyncio
import threading

import anyio
import pytest

import moorage
from moorage import App
from moorage.exception import ExecutionError, InputCancelledError
from moorage.runtime.clocks.virtual_clock import VirtualClock


class Stage:
    """An app whose inputs of `held` stay until `go_on` is set."""

    def __init__(self, **options):
        self.app = app = App("stage")
        self.started = threading.Event()
        self.go_on = threading.Event()
        self.log = []

        @app.function(**options)
        def held(value=None):
            self.started.set()
            assert self.go_on.wait(30)
            return value

        @app.function()
        def double(value):
            return 2 * value

        self.held = held
        self.double = double

    def leave_in(self, in_threads, **more):
        """Leave a run in which one input is held, in a thread that then drains."""
        self.call = None
        inside, draining = threading.Event(), threading.Event()

        def main():
            with self.app.run(drain=True, **more):
                self.call = self.held.spawn("held")
                assert self.started.wait(10)
                inside.set()
                assert draining.wait(10)

        leaver = in_threads(main)
        assert inside.wait(10)
        run = self.app._runs.run
        draining.set()
        return leaver, run


def test_queued_and_running_inputs_are_finished():
    app = App()

    @app.function(max_containers=1)
    def work(value):
        return value * value

    with app.run(drain=True):
        calls = [work.spawn(value) for value in range(100)]
    assert [call.get() for call in calls] == [value * value for value in range(100)]


def test_asynchronous_inputs_are_finished(run_async):
    app = App()

    @app.function(max_containers=1)
    async def work(value):
        await asyncio.sleep(0)
        return value

    calls = []

    async def main():
        async with app.run(drain=True):
            calls.extend([await work.spawn.aio(value) for value in range(20)])

    run_async(main)
    assert [call.get() for call in calls] == list(range(20))


def test_without_drain_they_are_cancelled():
    stage = Stage()
    with stage.app.run():
        call = stage.held.spawn()
        assert stage.started.wait(10)
        threading.Timer(0, lambda: (_outcome(call), stage.go_on.set())).start()
    with pytest.raises(InputCancelledError):
        call.get()


def _outcome(call):
    with pytest.raises(InputCancelledError):
        call.get()


def test_an_input_that_waits_for_a_retry_is_finished():
    app = App()
    attempts = []

    @app.function(retries=3)
    def flaky():
        attempts.append(1)
        if len(attempts) < 4:
            raise LookupError
        return len(attempts)

    with VirtualClock() as clock:
        with app.run(clock=clock, drain=True):
            call = flaky.spawn()
        assert clock.now() == 3, "one second before each retry"
        assert call.get() == 4


@pytest.mark.parametrize("way", ["remote", "spawn", "map", "map of a generator", "for_each"])
def test_what_its_inputs_call_meanwhile_is_finished(in_threads, way, until_draining):
    app = App()
    started, go_on = threading.Event(), threading.Event()
    seen = []

    @app.function()
    def child(value):  # its pool is made while the run is drained
        seen.append(value)
        return value

    @app.function()
    def parent():
        started.set()
        assert go_on.wait(30)
        if way == "remote":
            return child.remote(1)
        if way == "spawn":
            child.spawn(1)  # nobody waits for it
            return None
        if way == "for_each":
            return child.for_each([1])
        return list(child.map([1] if way == "map" else iter([1])))

    def main():
        with app.run(drain=True):
            call = parent.spawn()
            assert started.wait(10)
        return call

    leaver = in_threads(main)
    assert started.wait(10)
    until_draining(app._runs.run)
    go_on.set()
    leaver.result().get()
    assert seen == [1]


def test_what_asynchronous_inputs_call_meanwhile_is_finished():
    app = App()

    @app.function()
    async def child(value):
        await asyncio.sleep(1)
        return value

    @app.function()
    async def numbers(count):
        for value in range(count):
            yield value

    @app.function()
    async def parent():
        await asyncio.sleep(1)
        one = await child.remote.aio(1)
        more = [value async for value in child.map.aio(numbers.remote_gen.aio(3))]
        return one, more

    with VirtualClock() as clock:
        with app.run(clock=clock, drain=True):
            call = parent.spawn()
        assert call.get() == (1, [0, 1, 2])
        assert clock.now() == 3


def test_what_an_input_calls_by_way_of_another_app_is_finished(in_threads, until_draining):
    first, second = App("first"), App("second")
    started, go_on = threading.Event(), threading.Event()

    @first.function()
    def last():
        return "last"

    @second.function()
    def between():
        return last.remote()

    @first.function()
    def begin():
        started.set()
        assert go_on.wait(30)
        return between.remote()

    def main():
        with second.run(), first.run(drain=True):
            call = begin.spawn()
            assert started.wait(10)
        return call

    leaver = in_threads(main)
    assert started.wait(10)
    until_draining(first._runs.run)
    go_on.set()
    assert leaver.result().get() == "last"


def test_what_an_enter_hook_calls_meanwhile_is_finished(in_threads, until_draining):
    app = App()
    entering, go_on = threading.Event(), threading.Event()

    @app.function()
    def model():
        return "model"

    @app.cls()
    class Work:
        @moorage.enter()
        def enter(self):
            entering.set()
            assert go_on.wait(30)
            self.model = model.remote()

        @moorage.method()
        def work(self):
            return self.model

    def main():
        with app.run(drain=True):
            call = Work().work.spawn()
            assert entering.wait(10)
        return call

    leaver = in_threads(main)
    assert entering.wait(10)
    until_draining(app._runs.run)
    go_on.set()
    assert leaver.result().get() == "model"


def test_calls_from_outside_are_refused_meanwhile(in_threads, until_draining):
    stage = Stage()
    leaver, run = stage.leave_in(in_threads)
    until_draining(run)
    for call in (
        lambda: stage.held.remote(),
        lambda: stage.held.spawn(),
        lambda: stage.double.remote(1),  # it has no pool yet
        lambda: list(stage.double.map([1])),
        lambda: list(stage.double.map(iter([1]))),
        lambda: list(stage.held.map([1])),
        lambda: list(stage.held.map(iter([1]))),
    ):
        with pytest.raises(ExecutionError, match="its own inputs only; call it inside"):
            call()
    assert not run.closed
    stage.go_on.set()
    leaver.result()
    assert stage.call.get() == "held"


def test_a_thread_and_a_task_that_outlive_their_input_are_outside(until_draining):
    app = App()
    ended, tried = threading.Event(), threading.Event()
    errors = []

    @app.function()
    def other():
        return None

    @app.function()
    async def leaves_a_task():
        async def later():
            assert await asyncio.to_thread(ended.wait, 30)
            try:
                await other.remote.aio()
            except ExecutionError as error:
                errors.append(error)
            tried.set()

        leaves_a_task.task = asyncio.create_task(later())

    @app.function()
    def waits():
        assert tried.wait(30)

    with app.run(drain=True):
        leaves_a_task.remote()
        waits.spawn()
        run = app._runs.run
        threading.Thread(target=lambda: (until_draining(run), ended.set())).start()
    assert len(errors) == 1


@pytest.mark.parametrize("source", ["sequence", "generator"])
def test_a_map_under_way_gets_what_was_accepted_and_then_the_error(
    in_threads, source, until_draining
):
    app = App()
    started, go_on = threading.Event(), threading.Event()

    @app.function()
    def work(value):
        if value == 5:
            started.set()
            assert go_on.wait(30)
        return value

    def items():
        for value in range(100_000):
            if value == 1000:
                assert go_on.wait(30)
            yield value

    results, errors = [], []

    def read():
        try:
            results.extend(work.map(range(100_000) if source == "sequence" else items()))
        except ExecutionError as error:
            errors.append(error)

    def main():
        with app.run(drain=True):
            reader = in_threads(read)
            assert started.wait(10)
        reader.result()

    leaver = in_threads(main)
    assert started.wait(10)
    run = app._runs.run
    [pool] = run.pools.values()
    until_draining(run)
    go_on.set()
    leaver.result()
    [error] = errors
    assert "; call it" in str(error), "while the run drains, or when that has ended"
    seen = pool.statistics()
    assert seen.succeeded == seen.accepted, "all that was accepted"
    assert results == list(range(seen.accepted))


def test_a_stream_under_way_is_read_to_its_end(in_threads, until_draining):
    app = App()
    started = threading.Event()
    seen = []

    @app.function()
    def numbers():
        started.set()
        yield from range(1000)

    def read():
        run = app._runs.run
        for item in numbers.remote_gen():
            until_draining(run)
            seen.append(item)

    with app.run(drain=True):
        reader = in_threads(read)
        assert started.wait(10)
    reader.result()
    assert seen == list(range(1000))


def test_an_exception_in_the_body_does_not_drain():
    stage = Stage()
    calls = []

    def main():
        with stage.app.run(drain=True):
            calls.append(stage.held.spawn())
            assert stage.started.wait(10)
            threading.Thread(target=lambda: (_outcome(calls[0]), stage.go_on.set())).start()
            raise LookupError

    with pytest.raises(LookupError):
        main()
    with pytest.raises(InputCancelledError):
        calls[0].get()


def test_cancelling_the_task_that_leaves_ends_the_drain(run_async, until_draining):
    app = App()
    started, draining = threading.Event(), threading.Event()
    log, calls = [], []

    @app.cls()
    class Work:
        @moorage.method()
        async def work(self):
            started.set()
            await asyncio.Event().wait()

        @moorage.exit()
        def exit(self):
            log.append("exit")

    async def leave():
        async with app.run(drain=True):
            calls.append(await Work().work.spawn.aio())
            await anyio.to_thread.run_sync(started.wait)
            run = app._runs.run
            threading.Thread(target=lambda: (until_draining(run), draining.set())).start()

    async def main():
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(leave)
            await anyio.to_thread.run_sync(draining.wait)
            tasks.cancel_scope.cancel()

    run_async(main)
    assert log == ["exit"]
    assert app.app_id is None
    with pytest.raises(InputCancelledError):
        calls[0].get()


def test_stopping_the_app_ends_the_drain(in_threads, until_draining):
    stage = Stage()
    leaver, run = stage.leave_in(in_threads)
    until_draining(run)
    stopper = in_threads(stage.app.stop)
    with pytest.raises(InputCancelledError):
        stage.call.get()
    stage.go_on.set()
    stopper.result()
    leaver.result()


def test_bounds_may_be_changed_meanwhile(in_threads, until_draining):
    stage = Stage(max_containers=1)
    leaver, run = stage.leave_in(in_threads)
    until_draining(run)
    stage.held.update_autoscaler(max_containers=3)
    stage.double.update_autoscaler(min_containers=1)  # no pool, and none is made for it
    assert stage.double.statistics() is None
    stage.go_on.set()
    leaver.result()


def test_chains_from_pool_to_pool_are_followed_to_their_end():
    # Each input spawns one of another pool and ends: at no time is there more
    # than one, and each pool is empty most of the time.
    app = App()
    seen = []
    functions = []

    def make(number):
        @app.function(name=f"f{number}", serialized=True)
        def link(left):
            seen.append(left)
            if left:
                functions[left % 5].spawn(left - 1)

        return link

    functions += [make(number) for number in range(5)]
    with app.run(drain=True):
        functions[0].spawn(500)
    assert seen == list(range(500, -1, -1))


def test_each_call_that_races_with_the_drain_is_refused_or_succeeds(
    in_threads, often_switching, monkeypatch
):
    monkeypatch.setattr(moorage.config, "strict", True)  # no ambient run afterwards
    for _ in range(10):
        app = App()

        @app.function(max_containers=2, serialized=True)
        def work(value):
            return value

        ready = threading.Barrier(9)

        def call(work=work, ready=ready):
            ready.wait(10)
            count = 0
            try:
                while True:
                    assert work.remote(count) == count
                    count += 1
            except ExecutionError:
                return count

        with app.run(drain=True):
            pool_of = work.remote(0)
            [pool] = app._runs.run.pools.values()
            callers = [in_threads(call) for _ in range(8)]
            ready.wait(10)
        assert pool_of == 0
        done = sum(caller.result() for caller in callers)
        seen = pool.statistics()
        assert (seen.accepted, seen.succeeded, seen.cancelled) == (done + 1, done + 1, 0)


def test_the_grace_begins_when_the_drain_has_ended():
    app = App()
    log = []

    @app.cls()
    class Work:
        @moorage.method()
        async def work(self):
            await asyncio.sleep(100)

        @moorage.exit()
        async def exit(self):
            await asyncio.sleep(3)
            log.append("exit")

    with VirtualClock() as clock:
        with app.run(clock=clock, drain=True):
            Work().work.spawn()
        assert log == ["exit"]
        assert clock.now() == 103


@pytest.mark.parametrize("way", ["blocking", "asynchronous"])
def test_a_long_drain_says_once_what_it_waits_for(caplog, way):
    app = App("slow")

    @app.function()
    async def nap():
        await asyncio.sleep(100)

    async def main(clock):
        async with app.run(clock=clock, drain=True):
            nap.spawn()
            nap.spawn()

    with VirtualClock() as clock:
        if way == "asynchronous":
            loop = clock.new_event_loop()
            loop.run_until_complete(main(clock))
            loop.close()
        else:
            with app.run(clock=clock, drain=True):
                nap.spawn()
                nap.spawn()
        assert clock.now() == 100
    messages = [record.getMessage() for record in caplog.records]
    assert messages == [
        "leaving the app 'slow' has waited 10 s for its inputs, and still waits for: 2 of nap; "
        "Ctrl-C cancels them"
    ]


def test_an_empty_run_is_left_at_once():
    app = App()
    with app.run(drain=True):
        pass
    with app.run(drain=True) as again:
        assert again is app


# -- neighbours: what never cancels -----------------------------------------------------


def test_a_container_that_stops_fetching_finishes_its_inputs_and_takes_no_more():
    app = App()
    both, go_on = threading.Barrier(3), threading.Event()
    containers = {}
    log = []

    @app.cls(max_containers=2)
    @moorage.concurrent(max_inputs=2)
    class Work:
        @moorage.method()
        def leave(self, value):
            both.wait(10)
            if value == 0:
                moorage.experimental.stop_fetching_inputs()
                log.append("stopped fetching")
            both.wait(10)
            assert go_on.wait(30)
            containers[value] = self
            return value

        @moorage.method()
        def later(self):
            return id(self)

        @moorage.exit()
        def exit(self):
            log.append(("exit", id(self)))

    with app.run():
        held = [Work().leave.spawn(value) for value in range(2)]
        both.wait(10)
        both.wait(10)
        assert log == ["stopped fetching"]
        others = {Work().later.remote() for _ in range(10)}
        go_on.set()
        assert [call.get() for call in held] == [0, 1]
        assert containers[0] is containers[1]
        assert id(containers[0]) not in others, "a drained container takes no work"
        seen = Work().later.statistics()
        assert (seen.cancelled, seen.failed) == (0, 0)


def test_scaling_down_cancels_nothing():
    app = App()

    @app.function(max_containers=4, scaledown_window=2)
    async def nap(seconds):
        await asyncio.sleep(seconds)
        return seconds

    with VirtualClock() as clock, app.run(clock=clock):
        calls = [nap.spawn(seconds) for seconds in (1, 1, 1, 50)]
        clock.sleep(10)
        assert len(nap.statistics().containers) == 1, "the idle ones have gone"
        nap.update_autoscaler(max_containers=1)
        more = [nap.spawn(1) for _ in range(3)]
        assert [call.get() for call in (*calls, *more)] == [1, 1, 1, 50, 1, 1, 1]
        assert nap.statistics().cancelled == 0


def test_lowering_max_containers_cancels_nothing():
    app = App()

    @app.function(max_containers=4)
    async def nap(seconds):
        await asyncio.sleep(seconds)
        return seconds

    with VirtualClock() as clock, app.run(clock=clock):
        calls = [nap.spawn(10) for _ in range(4)]
        clock.sleep(1)
        nap.update_autoscaler(max_containers=1)
        calls += [nap.spawn(10) for _ in range(3)]
        assert [call.get() for call in calls] == [10] * 7
        seen = nap.statistics()
        assert (seen.cancelled, seen.peak_containers) == (0, 4)
        assert clock.now() == 40, "one at a time, once the first four had ended"
