"""Loops and threads that take no part in a clock, and loops that a participant makes."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import unittest
from functools import partial

import anyio
import pytest
import trio

import moorage
from moorage.exception import ClockStuckError
from moorage.testing import FakeContainer, VirtualClock

app = moorage.App("shop")

# More than the 0.2 s after which the turn of a thread that blocks is lent to another.
STUCK_AFTER = 0.6


@app.function(max_containers=2)
async def work(seconds=10):
    await asyncio.sleep(seconds)
    return seconds


@app.function()
async def items(count):
    for i in range(count):
        await asyncio.sleep(1)
        yield i


# -- waits of those that take no part --------------------------------------------------


async def remote():
    return await work.remote.aio()


async def a_map():
    return [each async for each in work.map.aio([1, 2])]


async def stream():
    return [each async for each in items.remote_gen.aio(2)]


async def get():
    return await (await work.spawn.aio()).get.aio()


async def get_with_limit():
    return await (await work.spawn.aio()).get.aio(timeout=20)


async def gather():
    calls = [await work.spawn.aio(1), await work.spawn.aio(2)]
    return await moorage.FunctionCall.gather.aio(*calls)


def on_asyncio(main):
    return asyncio.run(main())


def on_trio(main):
    return trio.run(main)


def on_a_fresh_loop(main):
    loop = asyncio.new_event_loop()
    try:
        return loop.run_until_complete(main())
    finally:
        loop.close()


def on_anyio(main):
    return anyio.run(main)


BLOCKING = {
    "remote": lambda: work.remote(),
    "map": lambda: list(work.map([1, 2])),
    "stream": lambda: list(items.remote_gen(2)),
    "get": lambda: work.spawn().get(),
    "get with limit": lambda: work.spawn().get(timeout=20),
    "gather": lambda: moorage.FunctionCall.gather(work.spawn(1), work.spawn(2)),
}
MAINS = [remote, a_map, stream, get, get_with_limit, gather]
LOOPS = [on_asyncio, on_trio, on_a_fresh_loop, on_anyio]
WAYS = [
    *(pytest.param(way, "Thread-", id=f"blocking-{name}") for name, way in BLOCKING.items()),
    *(
        pytest.param(partial(run, main), "in real time", id=f"{run.__name__}-{main.__name__}")
        for main in MAINS
        for run in LOOPS
        if run in (on_asyncio, on_trio) or main is remote
    ),
]


class Started:
    """A thread that runs `function`, and what came of it."""

    def __init__(self, function):
        self.result = self.error = None
        self.done = threading.Event()
        self.thread = threading.Thread(target=self._run, args=(function,))
        self.thread.start()

    def _run(self, function):
        try:
            self.result = function()
        except BaseException as error:
            self.error = error
        self.done.set()


@pytest.mark.parametrize(("way", "who"), WAYS)
def test_a_wait_that_only_virtual_time_ends_is_told(way, who):
    with VirtualClock(stuck_after=STUCK_AFTER) as clock, app.run(clock=clock):
        foreign = Started(way)
        foreign.thread.join(60)  # in real time, and holds time up
        assert isinstance(foreign.error, ClockStuckError), foreign.result
    message = str(foreign.error)
    assert who in message
    assert "outside of the clock, " in message
    assert "tests/test_foreign_loops.py" in message


@pytest.mark.parametrize(("way", "who"), WAYS)
def test_an_honest_wait_is_never_told(way, who):
    with VirtualClock(stuck_after=STUCK_AFTER) as clock, app.run(clock=clock):
        foreign = Started(way)
        while not foreign.done.is_set():
            clock.sleep(1)
        foreign.thread.join()
    assert foreign.error is None
    assert foreign.result is not None


def test_a_wait_for_a_container_is_told():
    clock = VirtualClock(stuck_after=STUCK_AFTER)
    with clock, FakeContainer(work, clock=clock) as container:

        async def main():
            container.submit()
            await container.wait_idle.aio()

        foreign = Started(lambda: asyncio.run(main()))
        foreign.thread.join(60)
    assert isinstance(foreign.error, ClockStuckError)


def test_both_are_told_who_takes_part_and_who_does_not():
    clock = VirtualClock(stuck_after=STUCK_AFTER)

    def takes_part():
        with clock:
            clock.sleep(1000)

    with clock, app.run(clock=clock):
        inside, outside = Started(takes_part), Started(lambda: asyncio.run(remote()))
        outside.thread.join(60)
        inside.thread.join(60)
        assert isinstance(inside.error, ClockStuckError)
        assert isinstance(outside.error, ClockStuckError)


def test_a_loop_of_another_clock_is_told():
    other = VirtualClock(stuck_after=None)
    with VirtualClock(stuck_after=STUCK_AFTER) as clock, app.run(clock=clock):
        foreign = Started(lambda: other.run(remote()))
        foreign.thread.join(60)
        assert isinstance(foreign.error, ClockStuckError)
        assert "of another clock" in str(foreign.error)


def test_a_thread_that_calls_a_loop_of_the_clock_is_told():
    with VirtualClock(stuck_after=STUCK_AFTER):
        loop = asyncio.new_event_loop()
        runs = Started(loop.run_forever)
        foreign = Started(
            lambda: asyncio.run_coroutine_threadsafe(asyncio.sleep(10), loop).result()
        )
        foreign.thread.join(60)
        assert isinstance(foreign.error, ClockStuckError)
        with contextlib.suppress(RuntimeError):
            loop.call_soon_threadsafe(loop.stop)
        runs.thread.join()
        loop.close()


# -- loops that a participant makes --------------------------------------------------------


@pytest.mark.parametrize("run", [on_asyncio, on_a_fresh_loop, on_anyio])
def test_a_loop_that_a_participant_makes_is_of_its_clock(run, virtual_clock):
    async def main():
        await asyncio.sleep(3600)
        await asyncio.to_thread(virtual_clock.sleep, 400)
        return virtual_clock.now()

    assert run(main) == 4000


def test_a_runner(virtual_clock):
    with asyncio.Runner() as runner:
        runner.run(asyncio.sleep(60))
        virtual_clock.sleep(40)
        runner.run(asyncio.sleep(60))
    assert virtual_clock.now() == 160


def test_calls_on_such_a_loop(run_app, virtual_clock):
    run_app(app)
    assert asyncio.run(remote()) == 10
    assert asyncio.run(a_map()) == [1, 2]
    assert virtual_clock.now() == 12


def test_a_sync_input_that_runs_a_loop(fake_container, virtual_clock):
    def runs(seconds):
        asyncio.run(asyncio.sleep(seconds))
        return virtual_clock.now()

    container = fake_container(runs, max_inputs=2)
    assert list(container.map([50, 30, 20])) == [50, 30, 50]


def test_a_thread_of_asyncio_that_runs_a_loop(virtual_clock):
    async def main():
        await asyncio.to_thread(lambda: asyncio.run(asyncio.sleep(50)))
        return virtual_clock.now()

    assert asyncio.run(main()) == 50


def test_a_loop_that_is_named_stays_in_real_time(virtual_clock):
    with asyncio.Runner(loop_factory=asyncio.SelectorEventLoop) as runner:
        assert not hasattr(runner.get_loop(), "clock")


def test_outside_of_clocks_loops_are_real():
    def made_elsewhere():
        loop = asyncio.new_event_loop()
        loop.close()
        return type(loop)

    with VirtualClock():
        elsewhere = Started(made_elsewhere)
        elsewhere.thread.join()
        assert made_elsewhere() is not elsewhere.result
    assert made_elsewhere() is elsewhere.result


@pytest.mark.filterwarnings("ignore:There is no current event loop:DeprecationWarning")
def test_the_loop_of_get_event_loop_does_not_outlive_the_clock():
    def own():
        with VirtualClock() as clock:
            policy = asyncio.get_event_loop_policy()
            policy._local._set_called = False  # as in a new process
            loop = asyncio.get_event_loop()
            loop.run_until_complete(asyncio.sleep(100))
            assert clock.now() == 100
        assert clock._thread is None
        assert loop.is_closed()
        later = asyncio.get_event_loop()
        later.close()
        asyncio.set_event_loop(None)
        assert not hasattr(later, "clock")

    own()  # only the main thread makes a loop in this way


# -- unittest ------------------------------------------------------------------------


@pytest.mark.usefixtures("virtual_clock")
class TestWithTheFixture(unittest.IsolatedAsyncioTestCase):
    async def asyncSetUp(self):
        await asyncio.sleep(1000)

    async def test_it(self):
        await asyncio.sleep(1000)
        assert asyncio.get_running_loop().time() == 2000


class TestWithAnAutouseFixture(unittest.IsolatedAsyncioTestCase):
    @pytest.fixture(autouse=True)
    def _shop(self, virtual_clock, run_app):
        self.clock = virtual_clock
        run_app(app)

    async def test_it(self):
        assert await remote() == 10
        assert self.clock.now() == 10


class TestWithAClockAroundTheRun(unittest.IsolatedAsyncioTestCase):
    def run(self, result=None):
        with VirtualClock() as self.clock, app.run():
            return super().run(result)

    def setUp(self):
        self.clock.sleep(5)

    async def test_it(self):
        assert await remote() == 10
        assert self.clock.now() == 15


def outcome_of(case):
    result = unittest.TestResult()
    case("test_it").run(result)
    return "".join(text for _, text in [*result.errors, *result.failures])


class Cases:
    """In a class, so that pytest does not collect them."""

    class InSetUp(unittest.IsolatedAsyncioTestCase):
        def setUp(self):
            self.enterContext(VirtualClock())

        async def test_it(self):
            raise AssertionError("this runs in real time")

    class InAsyncSetUp(unittest.IsolatedAsyncioTestCase):
        async def asyncSetUp(self):
            await self.enterAsyncContext(VirtualClock())

        async def test_it(self):
            raise AssertionError("this runs in real time")

    class InTheTest(unittest.IsolatedAsyncioTestCase):
        async def test_it(self):
            with VirtualClock():
                raise AssertionError("this runs in real time")

    class WithARunInSetUp(unittest.IsolatedAsyncioTestCase):
        def setUp(self):
            self.enterContext(app.run(clock=VirtualClock()))

        async def test_it(self):
            raise AssertionError("this runs in real time")


@pytest.mark.parametrize("case", ["InSetUp", "InAsyncSetUp", "InTheTest", "WithARunInSetUp"])
def test_a_clock_that_comes_after_the_loop_of_the_test_case_is_refused(case):
    text = outcome_of(getattr(Cases, case))
    assert "InvalidError" in text
    assert f"{case} makes its event loop before setUp" in text
    assert "def run(self, result=None)" in text
    assert "this runs in real time" not in text


def test_a_sync_test_of_such_a_case_may_enter_a_clock():
    class Sync(unittest.IsolatedAsyncioTestCase):
        def test_it(self):
            with VirtualClock() as clock:
                clock.sleep(5)
                assert clock.now() == 5

    assert outcome_of(Sync) == ""


# -- fixtures of a wider scope ------------------------------------------------------------


def test_a_fixture_of_a_wider_scope_keeps_real_time(pytester):
    pytester.makepyfile(
        """
        import asyncio
        import pytest

        @pytest.fixture(scope="module")
        def loop():
            loop = asyncio.new_event_loop()
            yield loop
            loop.close()

        def test_first(virtual_clock, request):
            assert not hasattr(request.getfixturevalue("loop"), "clock")

        def test_second(loop):
            loop.run_until_complete(asyncio.sleep(0))
        """
    )
    pytester.runpytest_subprocess("-p", "no:cacheprovider").assert_outcomes(passed=2)


# -- loops that moorage makes for the user's code ------------------------------------------


@app.cls()
class Kettle:
    @moorage.enter()
    async def heat(self):
        await asyncio.sleep(20)

    @moorage.method()
    def brew(self):
        return "tea"


def test_async_hooks_of_a_local_instance_take_virtual_time(virtual_clock):
    assert Kettle().brew.local() == "tea"
    assert virtual_clock.now() == 20


@pytest.mark.asyncio
async def test_async_hooks_of_a_local_instance_also_on_a_loop(virtual_clock):
    other = asyncio.create_task(asyncio.sleep(15))
    await asyncio.sleep(0)
    assert Kettle().brew.local() == "tea"  # blocks this loop, but not time
    assert virtual_clock.now() == 20
    await other
    assert virtual_clock.now() == 20


def test_a_task_that_asks_again_and_again_puts_nothing_off():
    clock = VirtualClock(stuck_after=STUCK_AFTER)

    async def asks():
        call = await work.spawn.aio()
        while True:
            with contextlib.suppress(asyncio.TimeoutError):
                return await asyncio.wait_for(call.get.aio(), STUCK_AFTER / 4)

    with clock, app.run(clock=clock):
        foreign = Started(lambda: asyncio.run(asks()))
        foreign.thread.join(60)
        assert isinstance(foreign.error, ClockStuckError)
