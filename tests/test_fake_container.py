"""FakeContainer: what can be run in it, how it is entered and left, and what it says."""

import asyncio
import contextvars
import functools
import inspect
import threading
from unittest.mock import patch

import anyio
import pytest

import moorage
from moorage import App
from moorage.exception import (
    ExecutionError,
    FunctionTimeoutError,
    InputCancelledError,
    InvalidArgumentsError,
    InvalidError,
    QueueTimeoutError,
    ResourceExhaustedError,
)
from moorage.runtime.clocks.virtual_clock import VirtualClock
from moorage.testing import FakeContainer, FakeStatistics


@pytest.fixture
def clock():
    return VirtualClock()


async def sleeps(seconds):
    await asyncio.sleep(seconds)
    return seconds


def doubled(x):
    return 2 * x


# -- what can be run ------------------------------------------------------------------------


def make_functions():
    app = App()

    @app.function()
    def registered(x):
        return 2 * x

    @moorage.concurrent(max_inputs=4)
    def marked(x):
        return 2 * x

    async def asynchronous(x):
        return 2 * x

    @app.cls()
    class Model:
        @moorage.enter()
        def load(self):
            self.factor = 2

        @moorage.method()
        def times(self, x):
            return self.factor * x

    class Plain:
        def times(self, x):
            return 2 * x

    return {
        "a function of an app": registered,
        "a marked function": marked,
        "a def": doubled,
        "an async def": asynchronous,
        "a lambda": lambda x: 2 * x,
        "a partial": functools.partial(lambda factor, x: factor * x, 2),
        "an instance": Model(),
        "a method of an instance": Model().times,
        "a method of a plain object": Plain().times,
    }


@pytest.mark.parametrize("kind", make_functions())
def test_what_it_runs(kind):
    with FakeContainer(make_functions()[kind]) as container:
        assert container.call(4) == 8
        assert container.submit(5).result() == 10
        assert list(container.map([1, 2])) == [2, 4]
        assert list(container.starmap([(3,)])) == [6]
        assert container.statistics() == FakeStatistics(
            finished=5, peak=container.statistics().peak, limit=container.statistics().limit
        )


def test_the_limit_is_that_of_the_decorator_unless_said_otherwise():
    app = App()

    @app.function()
    @moorage.concurrent(max_inputs=7, target_inputs=3)
    def f(): ...

    for function in (f, moorage.concurrent(max_inputs=7, target_inputs=3)(lambda: None)):
        with FakeContainer(function) as container:
            assert container.statistics().limit == 7
            assert container.pool_statistics().target_inputs == 3
        with FakeContainer(function, max_inputs=2) as container:
            assert container.statistics().limit == 2
    with FakeContainer(lambda: None) as container:
        assert container.statistics().limit == 1


def test_options_take_the_place_of_those_of_the_function(clock):
    tries = []

    async def fails(seconds):
        tries.append(clock.now())
        await asyncio.sleep(seconds)
        raise ValueError("no")

    with FakeContainer(fails, retries=2, timeout=5, clock=clock) as container:
        with pytest.raises(ValueError, match="no"):
            container.call(1)
        assert tries == [0, 2, 4]
        with pytest.raises(FunctionTimeoutError):
            container.call(60)
        assert clock.now() == 5 + 3 * 5 + 2


def test_an_instance_with_several_methods_asks_which():
    app = App()

    @app.cls()
    @moorage.concurrent(max_inputs=2)
    class Calculator:
        @moorage.method()
        def add(self, x, y):
            return x + y

        @moorage.method()
        async def double(self, x):
            return 2 * x

        @moorage.method()
        def count(self, n):
            yield from range(n)

    with FakeContainer(Calculator()) as container:
        with pytest.raises(InvalidError, match=r'write container.method\("add"\) to say which$'):
            container.submit(1)
        with pytest.raises(InvalidError, match=r"write one of 'add', 'double', 'count'$"):
            container.method("halve")
        assert container.method("add").call(1, y=2) == 3
        assert container.method("double").submit(2).result() == 4
        assert list(container.method("double").map([1, 2])) == [2, 4]
        assert list(container.method("add").starmap([(1, 2)])) == [3]
        assert list(container.method("count").stream(3)) == [0, 1, 2]
        assert repr(container.method("add")) == "<FakeMethod Calculator.add>"
        assert container.statistics().limit == 2  # they share it


def test_hooks_run_once_and_thread_bound_state_works():
    app = App()
    log = []

    @app.cls()
    class Model:
        size: int = moorage.parameter(default=1)

        @moorage.enter()
        def load(self):
            log.append(("enter", self.size))
            self.thread = threading.get_ident()

        @moorage.method()
        def same_thread(self):
            return self.thread == threading.get_ident()

        @moorage.exit()
        def save(self):
            log.append("exit")

    with FakeContainer(Model(size=3)) as container:
        assert log == [("enter", 3)]
        assert container.call()
        assert container.call()
    assert log == [("enter", 3), "exit"]


def test_generators_stream():
    def count(n):
        yield from range(n)

    async def count_async(n):
        for i in range(n):
            yield i

    for function in (count, count_async):
        with FakeContainer(function) as container:
            assert list(container.stream(3)) == [0, 1, 2]
            with pytest.raises(InvalidError, match="generator"):
                container.submit(3)
            assert container.statistics() == FakeStatistics(finished=1, peak=1, limit=1)


def test_batches_form_in_it(clock):
    batches = []

    @moorage.batched(max_batch_size=2, wait_ms=1000)
    async def total(xs):
        batches.append(xs)
        await asyncio.sleep(1)
        return [x + 1 for x in xs]

    with FakeContainer(total, clock=clock) as container:
        handles = [container.submit(i) for i in range(3)]
        container.wait_running(2)
        assert container.statistics() == FakeStatistics(running=2, queued=1, peak=1, limit=1)
        assert [handle.result() for handle in handles] == [1, 2, 3]
        assert batches == [[0, 1], [2]]
        assert container.events.inputs("started") == ["total(0)", "total(1)", "total(2)"]
    batches.clear()

    def plain(xs):
        batches.append(xs)
        return xs

    with FakeContainer(plain, max_batch_size=3, wait_ms=10, clock=clock) as container:
        assert list(container.map([1, 2, 3])) == [1, 2, 3]
    assert batches == [[1, 2, 3]]


# -- the promise of the decorator -----------------------------------------------------------


@pytest.mark.parametrize("kind", ["async", "sync"])
def test_never_more_than_max_inputs_run_and_never_fewer_than_can(kind, clock):
    running = []
    peaks = []

    async def works_async(seconds):
        running.append(1)
        peaks.append(len(running))
        await asyncio.sleep(seconds)
        running.pop()

    def works(seconds):
        running.append(1)
        peaks.append(len(running))
        clock.sleep(seconds)
        running.pop()

    function = works_async if kind == "async" else works
    with FakeContainer(function, max_inputs=3, clock=clock) as container:
        for _ in range(9):
            container.submit(1.0)
        container.wait_idle()
        assert clock.now() == 3.0
        assert max(peaks) == 3
        assert container.statistics() == FakeStatistics(finished=9, peak=3, limit=3)


def test_the_limit_can_be_changed_within_max_inputs(clock):
    with FakeContainer(sleeps, max_inputs=4, clock=clock) as container:
        container.set_limit(1)
        for _ in range(4):
            container.submit(1)
        container.wait_running(1)
        assert container.statistics() == FakeStatistics(running=1, queued=3, peak=1, limit=1)
        container.set_limit(3)
        container.wait_running(3)
        assert container.statistics() == FakeStatistics(running=3, queued=1, peak=3, limit=3)
        container.set_limit(2)  # interrupts nothing
        container.wait_idle()
        assert clock.now() == 2
        for wrong in (0, 5, True, 1.5):
            with pytest.raises(InvalidError, match="from 1 to max_inputs=4"):
                container.set_limit(wrong)


def test_the_backlog_and_the_queues_clock(clock):
    with FakeContainer(sleeps, max_backlog=1, queue_timeout=2, clock=clock) as container:
        first, second = container.submit(5), container.submit(5)
        with pytest.raises(ResourceExhaustedError):
            container.submit(5)
        assert isinstance(second.exception(), QueueTimeoutError)
        assert clock.now() == 2
        assert first.result() == 5


# -- handles -----------------------------------------------------------------------------------


def test_a_submission_says_where_it_is(clock):
    async def fails(seconds):
        await asyncio.sleep(seconds)
        raise ValueError("no")

    with FakeContainer(fails, clock=clock, retries=1) as container:
        first, second = container.submit(1), container.submit(2)
        container.wait_running(1)
        assert (first.state, second.state) == ("running", "queued")
        assert not first.done()
        clock.sleep(1)
        assert first.state == "waiting"
        assert second.cancel()
        assert not second.cancel()
        assert isinstance(second.exception(), InputCancelledError)
        assert second.done()
        assert second.cancelled()
        assert isinstance(first.exception(), ValueError)
        assert not first.cancelled()
        assert not first.cancel()
        with pytest.raises(ValueError, match="no"):
            first.result()
        assert repr(first) == "<Submission fails(1): settled, ValueError>"
        assert repr(second) == "<Submission fails(2): settled, cancelled>"
    with FakeContainer(sleeps, clock=clock) as container:
        handle = container.submit(seconds=1)
        with pytest.raises(TimeoutError):
            handle.result(timeout=0.5)
        with pytest.raises(TimeoutError):
            handle.exception(timeout=0.25)
        assert repr(handle) == "<Submission sleeps(seconds=1): running>"
        assert handle.exception() is None
        assert handle.result() == 1
        assert repr(handle) == "<Submission sleeps(seconds=1): settled, result>"


def test_cancelling_one_sync_input_leaves_its_neighbour_alone(clock):
    def works(seconds):
        clock.sleep(seconds)
        moorage.check_cancelled()
        return seconds

    with FakeContainer(works, max_inputs=2, clock=clock) as container:
        first, second = container.submit(3), container.submit(5)
        container.wait_running(2)
        first.cancel()
        assert first.cancelled()
        assert container.statistics() == FakeStatistics(
            running=2, cancelled=1, abandoned=1, peak=2, limit=2
        )
        assert second.result() == 5
        assert container.statistics() == FakeStatistics(finished=1, cancelled=1, peak=2, limit=2)


def test_what_user_code_raises_has_the_users_frames():
    def fails():
        raise ValueError("mine")

    with FakeContainer(fails) as container:
        for way in (container.call, lambda: container.submit().result()):
            with pytest.raises(ValueError, match="mine") as caught:
                way()
            assert caught.traceback[-1].name == "fails"


# -- entering and leaving ------------------------------------------------------------------------


def test_leaving_cancels_what_is_left_and_keeps_the_counts(clock):
    container = FakeContainer(sleeps, clock=clock)
    with container:
        handles = [container.submit(3600), container.submit(3600)]
        container.wait_running(1)
        assert repr(container) == ("<FakeContainer sleeps: 1 of 1 slots held, 1 queued, at 0 s>")
    assert [handle.cancelled() for handle in handles] == [True, True]
    assert container.statistics() == FakeStatistics(cancelled=2, peak=1, limit=1)
    assert repr(container) == "<FakeContainer sleeps: not in use>"


def test_it_can_be_used_again(clock):
    container = FakeContainer(sleeps, clock=clock)
    for _ in range(2):
        with container:
            assert container.call(1) == 1
            assert container.statistics() == FakeStatistics(finished=1, peak=1, limit=1)
    assert len(container.events.of("settled")) == 2


def test_outside_of_its_block_it_says_what_to_write():
    container = FakeContainer(doubled)
    for way in (
        lambda: container.submit(1),
        lambda: container.call(1),
        container.statistics,
        container.wait_idle,
        lambda: container.set_limit(1),
    ):
        with pytest.raises(ExecutionError, match=r"write `with FakeContainer\(...\) as container"):
            way()
    with container:
        submit, call, function = container.submit, container.call, container.map
        with pytest.raises(ExecutionError, match="in use already"):
            container.__enter__()
        assert call(1) == 2  # and goes on
    with pytest.raises(ExecutionError):
        submit(1)
    for way in (lambda: call(1), lambda: list(function([1]))):
        with pytest.raises(ExecutionError, match="not in use any more"):
            way()


@pytest.mark.parametrize("way", ["with", "async with"])
def test_what_an_enter_hook_raises_comes_out_of_the_block(way, caplog):
    app = App()

    @app.cls()
    class Model:
        @moorage.enter()
        def load(self):
            raise RuntimeError("no weights")

        @moorage.method()
        def run(self): ...

    def enter():
        with FakeContainer(Model()):
            raise AssertionError("never entered")

    async def enter_async():
        async with FakeContainer(Model()):
            raise AssertionError("never entered")

    with pytest.raises(RuntimeError, match="no weights") as caught:
        enter() if way == "with" else asyncio.run(enter_async())
    assert caught.traceback[-1].name == "load"


@pytest.mark.parametrize("in_virtual_time", [False, True])
def test_enter_hooks_that_fail_are_run_once(in_virtual_time, caplog):
    app = App()
    runs = []

    @app.cls()
    class Model:
        @moorage.enter()
        def load(self):
            runs.append(1)
            raise RuntimeError("no weights")

        @moorage.method()
        def run(self): ...

    container = FakeContainer(Model(), clock=VirtualClock() if in_virtual_time else None)
    with pytest.raises(RuntimeError, match="no weights"), container:
        raise AssertionError("never entered")
    assert runs == [1]


def test_who_waits_when_it_is_left_is_told_so(in_threads):
    with FakeContainer(lambda: None, max_inputs=2) as container:
        gate = container.hold("start")
        waits = [in_threads(container.wait_running, 2), in_threads(gate.wait_held, 2)]
        container.submit()
        gate.wait_held(1)
    for wait, error in zip(waits, (ExecutionError, InvalidError), strict=True):
        with pytest.raises(error):
            wait.result()


def test_arguments_that_cannot_be_shown_are_told_by_their_type():
    class Named(type):
        @property
        def __name__(cls):
            raise AssertionError("code of the user's, under a lock")

    class Odd(metaclass=Named): ...

    with FakeContainer(lambda *args: len(args)) as container:
        assert container.call(10**5000, Odd(), "x" * 10**6) == 3
        (label,) = container.events.inputs("settled")
    assert label == "<lambda>(<int>, <Odd>, 'xxxxxxxxxxxxxxxxxxx...')"


def test_a_start_that_takes_too_long_comes_out_of_the_block(clock, caplog):
    app = App()

    @app.cls(startup_timeout=10)
    class Model:
        @moorage.enter()
        async def load(self):
            await asyncio.sleep(3600)

        @moorage.method()
        def run(self): ...

    with (
        pytest.raises(FunctionTimeoutError, match="startup_timeout"),
        FakeContainer(Model(), clock=clock),
    ):
        raise AssertionError("never entered")
    assert clock.now() == 10


def test_an_error_in_the_block_passes_through():
    with pytest.raises(KeyError), FakeContainer(doubled):
        raise KeyError


def test_it_can_be_used_on_a_loop(run_async):
    async def same(value):
        await asyncio.sleep(0)
        return value

    async def main():
        async with FakeContainer(same, max_inputs=2) as container:
            assert await container.call.aio(0) == 0
            handle = container.submit(0)
            assert await handle == 0
            assert [x async for x in container.map.aio([0, 0])] == [0, 0]
            gate = container.hold("start")
            handles = [container.submit(0), container.submit(0), container.submit(0)]
            await gate.wait_held.aio(2)
            await container.wait_running.aio(2)
            assert container.statistics() == FakeStatistics(
                running=2, queued=1, finished=4, peak=2, limit=2
            )
            gate.open()
            await container.wait_idle.aio()
            assert [await handle for handle in handles] == [0, 0, 0]
        return container.statistics()

    assert run_async(main) == FakeStatistics(finished=7, peak=2, limit=2)


def test_cancelling_the_task_that_calls_cancels_the_input_and_awaiting_a_handle_does_not():
    async def for_ever():
        await asyncio.Event().wait()

    async def main():
        async with FakeContainer(for_ever, max_inputs=2) as container:
            with anyio.move_on_after(0):
                await container.call.aio()
            handle = container.submit()
            with anyio.move_on_after(0):
                await handle
            assert not handle.done()
            assert handle.cancel()
            await container.wait_idle.aio()
        return container.statistics()

    seen = asyncio.run(main())
    assert (seen.cancelled, seen.finished) == (2, 0)


def test_inputs_run_in_the_context_of_their_submission():
    name = contextvars.ContextVar("name", default="nobody")

    def who():
        return name.get(), moorage.is_local(), moorage.current_input_id()

    with FakeContainer(who) as container:
        name.set("Ada")
        handle = container.submit()
        name.set("Grace")
        seen, is_local, input_id = handle.result()
    assert (seen, is_local) == ("Ada", False)
    assert input_id.startswith("in-")


def test_its_functions_call_those_of_their_app_there(clock):
    app = App()

    @app.function()
    def inner(x):
        return x + 1

    @app.function()
    def outer(x):
        return inner.remote(x) * 10

    with app.run(clock=clock), FakeContainer(outer, clock=clock) as container:
        assert container.call(1) == 20
        assert outer.statistics() is None
        assert inner.statistics().succeeded == 1


# -- what is refused -----------------------------------------------------------------------------


def test_what_cannot_be_run_is_refused_at_once():
    app = App()

    @app.cls()
    class Model:
        @moorage.method()
        def run(self): ...

    @app.cls()
    class Empty:
        @moorage.enter()
        def load(self): ...

    class Undecorated:
        @moorage.method()
        def run(self): ...

    for wrong, advice in (
        (3, r"write FakeContainer\(function\)$"),
        (
            Undecorated,
            r"write with @app.cls\(\) above it, FakeContainer\(Undecorated\(...\)\)$",
        ),
        (Model, r"write FakeContainer\(Model\(...\)\)$"),
        (Empty(), r"put @moorage.method\(\) above one$"),
    ):
        with pytest.raises(InvalidError, match=advice):
            FakeContainer(wrong)
    for options, advice in (
        ({"max_input": 3}, "write one that it has: max_inputs"),
        ({"max_inputs": 0}, "max_inputs"),
        ({"max_inputs": 2, "target_inputs": 3}, "target_inputs"),
        ({"max_batch_size": 2}, "max_batch_size=4, wait_ms=100$"),
        ({"retries": -1}, "retries"),
        ({"timeout": -1}, "timeout"),
        ({"on_full": "explode"}, "on_full"),
    ):
        with pytest.raises((InvalidError, InvalidArgumentsError), match=advice):
            FakeContainer(doubled, **options)
    with FakeContainer(doubled, max_inputs=2) as container:
        with pytest.raises(InvalidError, match="from 0 to 2"):
            container.wait_running(3)
        with pytest.raises(InvalidError, match="no autoscaler"):
            container._function().update_autoscaler(max_containers=2)


# -- submitting from a task ------------------------------------------------------------------------


def test_a_task_submits_without_blocking_its_loop(clock):
    @moorage.concurrent(max_inputs=1)
    async def one(seconds):
        await asyncio.sleep(seconds)
        return clock.now()

    app = App()

    @app.cls()
    class Model:
        @moorage.method()
        async def wait(self, seconds):
            await asyncio.sleep(seconds)
            return clock.now()

    async def main():
        async with FakeContainer(one, max_backlog=1, on_full="wait") as container:
            first = await container.submit.aio(10)
            await container.wait_running.aio(1)
            second = await container.submit.aio(10)
            assert (first.state, second.state, clock.now()) == ("running", "queued", 0)
            assert repr(second) == "<Submission one(10): queued>"
            # The backlog is full: the task waits for room, and its loop goes on.
            third = asyncio.create_task(container.submit.aio(seconds=10))
            await asyncio.sleep(5)
            assert not third.done()
            assert (await (await third), clock.now()) == (30, 30)
            assert [await first, await second] == [10, 20]
        async with FakeContainer(Model()) as container:
            assert await (await container.method("wait").submit.aio(3)) == 33
        async with FakeContainer(one, max_backlog=1) as container:
            await container.submit.aio(1)
            await container.wait_running.aio(1)
            await container.submit.aio(1)
            with pytest.raises(ResourceExhaustedError):
                await container.submit.aio(1)

    clock.run(main())


def test_the_cancellation_of_a_task_that_waits_for_room_takes_its_input_back(clock):
    async def main():
        async with FakeContainer(sleeps, max_backlog=1, on_full="wait") as container:
            await container.submit.aio(10)
            await container.wait_running.aio(1)
            await container.submit.aio(10)
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(3):
                    await container.submit.aio(10)
            await container.wait_idle.aio()
            seen = container.statistics()
            assert seen == FakeStatistics(finished=2, cancelled=1, peak=1, limit=1)

    clock.run(main())


def test_submit_looks_like_the_function(clock):
    with FakeContainer(doubled) as container:
        assert container.submit.__name__ == "submit"
        assert (
            str(inspect.signature(container.submit))
            == "(x) -> moorage.testing.submission.Submission"
        )
        with patch.object(container.submit, "aio", return_value="replaced"):
            assert clock.run(container.submit.aio(1)) == "replaced"
        assert container.submit(1).result() == 2
    with pytest.raises(ExecutionError, match="not in use"):
        container.submit(1)
