"""Faults that a review found, each in the smallest situation that showed it."""

import asyncio
import gc
import subprocess
import sys
import textwrap
import threading
import warnings
from concurrent.futures import ThreadPoolExecutor
from contextvars import Context
from dataclasses import dataclass
from queue import SimpleQueue

import anyio
import pytest

import moorage
from moorage import App, config
from moorage.calling import maps
from moorage.calling import waited as calls
from moorage.exception import (
    ClockStuckError,
    FunctionTimeoutError,
    InputCancelledError,
    InvalidError,
    RemoteError,
    ResourceExhaustedError,
)
from moorage.runtime.clocks.participants import Participants
from moorage.runtime.clocks.virtual_clock import VirtualClock
from moorage.runtime.containers.container import ContainerState
from moorage.runtime.containers.local import LocalContainer
from moorage.runtime.containers.slots import Slots
from moorage.runtime.effects import carry_out
from moorage.runtime.input import Input, InputState, Kind, Target, next_call_number
from moorage.runtime.outcome import Value
from moorage.runtime.pools.autoscaler import Limits
from moorage.runtime.pools.batching import batch_of, make_batch
from moorage.runtime.pools.capacity import Capacity
from moorage.runtime.pools.pool import Pool
from moorage.runtime.pools.pool_options import PoolOptions
from moorage.runtime.real import Real

KINDS = pytest.mark.parametrize("kind", ["sync", "async"])


# -- errors that refuse to be handled ------------------------------------------------------


@dataclass(frozen=True)
class FrozenError(Exception):
    """Its class refuses the assignment of attributes, `__traceback__` included."""

    code: int


class Unshowable:
    def __repr__(self):
        raise ValueError("no repr")


def make_raiser(app, kind):
    """One container; what its function is given it raises, or returns if it cannot."""
    if kind == "sync":

        @app.function(max_containers=1)
        def give(what):
            if isinstance(what, BaseException):
                raise what
            return what

    else:

        @app.function(max_containers=1)
        async def give(what):
            if isinstance(what, BaseException):
                raise what
            return what

    return give


@KINDS
def test_an_error_that_refuses_assignment_arrives_and_the_container_lives_on(kind):
    app = App()
    give = make_raiser(app, kind)
    with app.run():
        call = give.spawn(FrozenError(3))
        for _ in range(2):
            with pytest.raises(FrozenError) as caught:
                call.get(timeout=30)
            assert caught.value.code == 3
        assert give.spawn("value").get(timeout=30) == "value"
        s = give.statistics()
        assert (s.failed, s.running, s.containers_started) == (1, 0, 1)


@KINDS
def test_control_flow_whose_arguments_have_no_repr_arrives_and_the_container_lives_on(kind):
    app = App()
    give = make_raiser(app, kind)
    with app.run():
        with pytest.raises(RemoteError, match="SystemExit") as caught:
            give.spawn(SystemExit(Unshowable())).get(timeout=30)
        assert type(caught.value.__cause__) is SystemExit
        assert give.spawn("value").get(timeout=30) == "value"
        s = give.statistics()
        assert (s.failed, s.running, s.containers_started) == (1, 0, 1)


def test_an_enter_error_that_refuses_assignment_reaches_all_who_wait():
    app = App()
    both_wait = threading.Event()

    @app.cls(max_containers=1)
    class Work:
        @moorage.enter()
        def enter(self):
            assert both_wait.wait(30)
            raise FrozenError(5)

        @moorage.method()
        def work(self):
            return None

    with app.run():
        waiting = [Work().work.spawn() for _ in range(2)]
        both_wait.set()
        for call in waiting:
            with pytest.raises(FrozenError) as caught:
                call.get(timeout=30)
            assert caught.value.code == 5


# -- room ----------------------------------------------------------------------------------


def test_a_chain_gets_on_at_capacity_while_the_next_pools_only_container_stops(monkeypatch):
    monkeypatch.setattr(config, "max_containers", 2)
    app = App()
    stops, inside, go_on, through = (threading.Event() for _ in range(4))

    @app.cls()
    class Last:
        @moorage.method()
        def work(self, x):
            return x

        @moorage.exit()
        def exit(self):
            stops.set()
            through.wait(30)

    @app.function()
    def first(x):
        if x == 1:
            inside.set()
            assert go_on.wait(30)
        return Last().work.remote(x)

    with app.run():
        try:
            Last().work.remote(0)
            chain = first.spawn(1)
            assert inside.wait(30)
            further = first.spawn(2)  # takes the room of the idle container of Last
            assert stops.wait(30)
            go_on.set()
            assert chain.get(timeout=20) == 1
        finally:
            go_on.set()
            through.set()
        assert further.get(timeout=30) == 2


class InertContainer:
    """A container that does nothing by itself."""

    def __init__(self, host, number, target, limit):
        self.number = number
        self.state = ContainerState.STARTING
        self.target = target
        self.slots = Slots(limit)
        self.idle_since = None
        self.started_at = 0.0
        self.read_for = None
        self.takes_no_more = self.given_up = False
        self.stop_asked = False

    def boot(self):
        pass

    def place(self, input):
        pass

    def cancel(self, input):
        pass

    def stop(self):
        self.stop_asked = True

    ended = True

    def join(self, timeout):
        return []


class InertCall:
    def __init__(self):
        self.number = next_call_number()
        self.target = Target("f", lambda: None, Kind.SYNC)
        self.context = Context()

    def settled(self, input, /):
        return None


class InertPool:
    """A pool of inert containers, and the inputs that it was given."""

    def __init__(self, name, clock, capacity, sync_slots=0):
        self.containers = []
        options = PoolOptions(name, Limits(1, 1), sync_slots=sync_slots)
        self.pool = Pool(options, self.make, clock=clock, capacity=capacity)

    def make(self, *args):
        self.containers.append(InertContainer(*args))
        return self.containers[-1]

    def submit(self):
        input = Input(InertCall(), 0, (), None)
        self.pool.submit([input])
        return input

    def start(self):
        """Submit an input that gets a container of its own."""
        before = len(self.containers)
        input = self.submit()
        assert len(self.containers) == before + 1
        assert self.pool.container_ready(self.containers[-1])
        return input

    def end_code(self, input):
        with self.pool.lock:
            input.state = InputState.RUNNING
            _, effects = self.pool.settle(input.container, input, Value(None), None)
        carry_out(effects)


def test_a_pool_that_leaves_the_line_lets_the_next_in_line_in():
    with VirtualClock() as clock:
        capacity = Capacity(max_containers=100, max_sync_slots=8)
        big = InertPool("big", clock, capacity, sync_slots=4)
        small = InertPool("small", clock, capacity, sync_slots=1)
        big.start()
        small.start()
        waits = big.submit()  # 3 of 8 slots are free, and it needs 4
        small.submit()  # needs 1, and it is not its turn
        assert capacity.statistics().waiting == 2
        assert len(small.containers) == 1
        assert big.pool.cancel(waits)
        assert capacity.statistics().waiting == 0
        assert (len(big.containers), len(small.containers)) == (1, 2)


def test_a_container_that_turns_idle_is_given_up_for_a_pool_in_line():
    with VirtualClock() as clock:
        capacity = Capacity(max_containers=2, max_sync_slots=100)
        other = InertPool("other", clock, capacity)
        needy = InertPool("needy", clock, capacity)
        ends = other.start()
        needy.start()
        needy.submit()
        assert capacity.statistics().waiting == 1, "nobody is idle"
        [container] = other.containers
        assert not container.stop_asked
        other.end_code(ends)
        assert container.stop_asked
        assert len(needy.containers) == 1, "it has yet to stop"
        other.pool.container_stopped(container)
        assert len(needy.containers) == 2
        assert capacity.statistics().waiting == 0


# -- threads ---------------------------------------------------------------------------------


def test_a_worker_thread_that_cannot_be_started_strands_no_input(monkeypatch, in_threads):
    app = App()
    begun, go_on = threading.Event(), threading.Event()
    at_start, may_fail = threading.Event(), threading.Event()
    start = Real.Thread.start

    @app.cls(max_containers=1)
    @moorage.concurrent(max_inputs=2)
    class Work:
        @moorage.method()
        def hold(self):
            begun.set()
            assert go_on.wait(30)

        @moorage.method()
        def work(self, x):
            return x

    def failing_start(thread):
        if thread.name.endswith("-worker"):
            at_start.set()
            assert may_fail.wait(30)
            raise RuntimeError("can't start new thread")
        start(thread)

    work = Work()
    with app.run():
        work.hold.spawn()
        assert begun.wait(30)
        monkeypatch.setattr(Real.Thread, "start", failing_start)
        sending = threading.Thread(target=work.work.spawn, args=(1,), daemon=True)
        sending.start()  # sits in the start of a second worker
        assert at_start.wait(30)
        last = work.work.spawn(2)
        go_on.set()
        assert last.get(timeout=30) == 2  # the first worker ran all, and has parked
        stranded = work.work.spawn(3)  # for the worker that is on its way
        may_fail.set()
        assert stranded.get(timeout=30) == 3
        sending.join(30)
        monkeypatch.undo()
        s = work.work.statistics()
        assert (s.succeeded, s.running, s.queued) == (4, 0, 0)


def test_leaving_needs_no_thread_of_the_loops_default_executor():
    app = App()
    workers = 2
    begun = SimpleQueue()

    # The timeout, so that a run that cannot be left does not hang for ever.
    @app.function(timeout=60)
    async def wait(x):
        begun.put(x)
        await asyncio.Event().wait()

    async def main():
        loop = asyncio.get_running_loop()
        loop.set_default_executor(ThreadPoolExecutor(workers))
        with ThreadPoolExecutor(1) as own:
            async with app.run():
                threads = [asyncio.to_thread(wait.remote, x) for x in range(workers)]
                waiting = asyncio.gather(*threads, return_exceptions=True)
                for _ in range(workers):
                    await loop.run_in_executor(own, begun.get, True, 30)
            return await waiting

    ends = asyncio.run(main())
    assert [type(end) for end in ends] == [InputCancelledError] * workers


def test_an_exit_hook_may_call_another_app_after_its_worker_ran_a_cancelled_input():
    app, other = App(), App()
    begun, go_on = threading.Event(), threading.Event()
    saved = []

    @other.function()
    def save(x):
        return x

    @app.cls()
    class Work:
        @moorage.method()
        def work(self):
            begun.set()
            assert go_on.wait(30)

        @moorage.exit()
        def exit(self):
            saved.append(save.remote("saved"))

    with other.run(), app.run():
        call = Work().work.spawn()
        assert begun.wait(30)
        call.cancel()
        with pytest.raises(InputCancelledError):
            call.get(timeout=30)
        go_on.set()
    assert saved == ["saved"]


def test_a_run_that_an_interrupt_left_ends_its_containers_and_the_app_may_run_again(monkeypatch):
    app = App()
    ended = SimpleQueue()

    @app.cls()
    class Work:
        @moorage.method()
        async def work(self):
            return "worked"

        @moorage.method()
        async def hold(self, begun):
            begun.set()
            try:
                await asyncio.Event().wait()
            finally:
                await asyncio.Event().wait()  # its cancel does not end it

        @moorage.exit()
        def exit(self):
            ended.put("exit")

    def interrupted(pool, until):
        monkeypatch.undo()
        raise KeyboardInterrupt

    calls_made = []

    def run_and_leave():
        begun = threading.Event()
        with app.run():
            calls_made.append(Work().hold.spawn(begun))
            assert begun.wait(30)
            monkeypatch.setattr(Pool, "wait_stopped", interrupted)

    with pytest.raises(KeyboardInterrupt):
        run_and_leave()
    assert ended.get(timeout=30) == "exit"
    with pytest.raises(InputCancelledError):
        calls_made[0].get(timeout=30)
    with app.run():
        assert Work().work.spawn().get(timeout=30) == "worked"
    assert ended.get(timeout=30) == "exit"


def test_leaving_many_pools_with_stuck_workers_names_the_place_once(caplog):
    app = App("stuck")
    begun, stuck, go_on = SimpleQueue(), SimpleQueue(), threading.Event()
    functions = []
    pools = 8

    for index in range(pools):

        @app.function(name=f"hold_{index}", max_containers=1)
        @moorage.concurrent(max_inputs=2)
        def hold(is_stuck):
            if is_stuck:
                # One line, and no frame of Python's below it: the place is one.
                return begun.put(True), stuck.get(timeout=60)
            begun.put(True)
            return go_on.wait(30)

        functions.append(hold)

    with app.run(grace=0.2):
        # The container's own thread gets out, and the worker does not.
        for is_stuck in (False, True):
            ones = [function.spawn(is_stuck) for function in functions]
            for _ in ones:
                assert begun.get(timeout=30)
            if not is_stuck:
                released = ones
        go_on.set()
        for call in released:
            call.get(timeout=30)
    for _ in functions:
        stuck.put(None)
    [message] = [r.getMessage() for r in caplog.records if "was left" in r.getMessage()]
    assert f"after 0.2 s: {pools} x hold (" in message


# -- maps and streams --------------------------------------------------------------------------


def make_echo(app):
    @app.function()
    def echo(x):
        return x

    return echo


def test_a_map_whose_source_is_cancelled_from_inside_ends_with_an_error(in_threads):
    app = App()
    echo = make_echo(app)
    results = []

    async def source():
        for x in range(3):
            yield x
        gone = asyncio.get_running_loop().create_future()
        gone.cancel()
        await gone
        yield 3

    async def main():
        async for x in echo.map.aio(source()):
            results.append(x)  # noqa: PERF401 - the error comes after them

    with app.run():
        with pytest.raises(RemoteError, match="cancelled before their end"):
            in_threads(asyncio.run, main()).result()
        assert results == [0, 1, 2]


async def endless():
    while True:
        await anyio.sleep(0)
        yield 1


def cancel_feeder_before_its_first_step(app):
    """The main coroutine of a reader whose feeder somebody else cancels; gives the reader."""
    echo = make_echo(app)

    async def read():
        async for _ in echo.map.aio(endless()):
            pass

    async def main():
        me = asyncio.current_task()
        reader = asyncio.create_task(read())
        await asyncio.sleep(0)  # the reader has made its feeder, which has not begun
        [feeder] = asyncio.all_tasks() - {me, reader}
        feeder.cancel()
        await asyncio.wait([reader])
        return reader

    return main


def test_a_map_whose_feeder_is_cancelled_before_its_first_step_ends_with_an_error(in_threads):
    app = App()
    main = cancel_feeder_before_its_first_step(app)
    with app.run():
        reader = in_threads(asyncio.run, main()).result()
        with pytest.raises(RemoteError, match="cancelled before their end"):
            reader.result()


def test_a_feeder_that_is_cancelled_before_its_first_step_leaves_no_coroutine_unawaited():
    app = App()
    main = cancel_feeder_before_its_first_step(app)
    gc.collect()  # what earlier tests have left
    with warnings.catch_warnings(record=True) as caught, app.run():
        warnings.simplefilter("always")
        asyncio.run(main()).exception()
        gc.collect()
    messages = [str(warning.message) for warning in caught]
    assert [message for message in messages if "never awaited" in message] == []


def test_a_program_may_end_while_a_task_has_just_begun_a_map(in_threads):
    app = App()
    echo = make_echo(app)
    tasks = []

    async def read():
        async for _ in echo.map.aio(endless()):
            pass

    async def main():
        tasks.append(asyncio.create_task(read()))

    with app.run():
        in_threads(asyncio.run, main()).result()
    assert tasks[0].cancelled()


def test_a_map_in_a_scope_that_is_cancelled_already_ends(run_async, in_threads):
    app = App()
    echo = make_echo(app)

    async def main():
        with anyio.CancelScope() as scope:
            scope.cancel()
            async for _ in echo.map.aio(endless()):
                pass
        return scope.cancelled_caught

    with app.run():
        assert in_threads(run_async, main).result()


async def collect(results):
    return [x async for x in results]


def make_reader(app, what):
    """Makes what can be read in two ways; each reading takes the only slot."""

    @app.function(max_containers=1)
    def stream():
        yield 1
        yield 2

    @app.function(max_containers=1)
    def echo(x):
        return x

    return {"stream": stream.remote_gen, "map": lambda: echo.map([1, 2])}[what]


@pytest.mark.parametrize("what", ["stream", "map"])
@pytest.mark.parametrize("first", ["for", "async for"])
def test_what_was_read_one_way_gives_nothing_the_other_way_and_harms_nobody(
    what, first, in_threads
):
    app = App()
    make = make_reader(app, what)
    ways = [list, lambda results: asyncio.run(collect(results))]
    if first == "async for":
        ways.reverse()
    with app.run():
        reader = make()
        assert in_threads(ways[0], reader).result() == [1, 2]
        assert in_threads(ways[1], reader).result() == []
        for _ in range(2):
            for way in ways:
                assert in_threads(way, make()).result() == [1, 2]


def test_a_sync_generator_that_timed_out_makes_one_more_item_at_most():
    app = App()
    made, got = [], []

    with VirtualClock() as clock:

        @app.function(timeout=5)
        def count():
            for x in range(100):
                clock.sleep(2)
                made.append(x)
                yield x

        with app.run(clock=clock):
            with pytest.raises(FunctionTimeoutError):
                got.extend(count.remote_gen())
            assert clock.now() == 5.0
            clock.sleep(20)
            # The sleep runs to its end at 6 s.  By then the grace of the cancel has passed, in
            # virtual time, so the code is struck when it wakes.
            assert made == [0, 1]
            assert count.statistics().running == 0


def test_a_function_said_to_be_a_generator_may_return_a_plain_iterator():
    app = App()

    @app.function(is_generator=True)
    def count():
        return iter([1, 2, 3])

    with app.run():
        assert list(count.remote_gen()) == [1, 2, 3]
        s = count.statistics()
        assert (s.succeeded, s.failed, s.running) == (1, 0, 0)


@pytest.mark.parametrize("what", ["stream", "map"])
def test_closing_a_reader_releases_a_thread_that_sits_in_its_next_step(
    what, monkeypatch, in_threads
):
    app = App()
    go_on, sits = threading.Event(), threading.Event()

    @app.function()
    def stream():
        yield 1
        assert go_on.wait(30)
        yield 2

    @app.function(max_containers=1)
    def hold(x):
        if x == 2:
            assert go_on.wait(30)
        return x

    got = []

    def watched(park):
        def parks(*args):
            if got:  # the next result is not to come
                sits.set()
            return park(*args)

        return parks

    def read():
        for x in reader:
            got.append(x)  # noqa: PERF402 - looked at before the end

    for module in (calls, maps):
        monkeypatch.setattr(module, "park_for", watched(module.park_for))
    with app.run():
        reader = stream.remote_gen() if what == "stream" else hold.map([1, 2, 3])
        reading = in_threads(read)
        try:
            assert sits.wait(30)
            reader.close()
            with pytest.raises(InputCancelledError):
                reading.result()
        finally:
            go_on.set()
    assert got == [1]


# -- virtual time --------------------------------------------------------------------------------


class WatchedBell:
    """A lock that tells when the clock's thread lies down without any timer to watch."""

    def __init__(self, lock):
        self.lock = lock
        self.sleeps = threading.Event()

    def acquire(self, timeout=-1):
        if timeout == -1:
            self.sleeps.set()
        return self.lock.acquire(timeout=timeout)

    def release(self):
        self.lock.release()


def test_stuck_time_is_found_though_the_clocks_thread_lay_down_without_timers(in_threads):
    clock = VirtualClock(stuck_after=0.05)
    clock._bell = bell = WatchedBell(clock._bell)
    waiter = clock.make_waiter()
    entered, release = threading.Event(), threading.Event()

    def wait():
        with clock.participate("the idle one"):
            clock.wait(waiter)

    def hog():
        with clock.participate("the hog"):
            entered.set()
            assert release.wait(60)

    with clock:
        waiting = in_threads(wait)
        assert bell.sleeps.wait(30)
        hogging = in_threads(hog)
        assert entered.wait(30)
        sleeping = in_threads(clock.sleep, 1.0)
        try:
            for stuck in (sleeping, waiting):
                with pytest.raises(ClockStuckError, match="the hog"):
                    stuck.result()
        finally:
            release.set()
        hogging.result()


def test_time_stands_still_while_an_exit_hook_is_busy_though_its_stop_came_early(monkeypatch):
    app = App()
    ready, stop_asked = threading.Event(), threading.Event()
    jumped = threading.Event()
    seen = []

    with VirtualClock() as clock:

        @app.cls(min_containers=1)
        class Work:
            @moorage.method()
            def work(self):
                return None

            @moorage.exit()
            def exit(self):
                before = clock.now()
                # Not awaited to happen: enough for time to jump if nothing held it.
                seen.append((jumped.wait(0.2), clock.now() - before))

        become, stop = Participants.become, LocalContainer.stop

        def late_become(participants, key, to, name):
            # Between becoming ready and parking, the container's thread is late.
            if isinstance(key, LocalContainer) and not ready.is_set():
                ready.set()
                assert stop_asked.wait(30)
            become(participants, key, to, name)

        def early_stop(container):
            stop(container)
            stop_asked.set()

        monkeypatch.setattr(Participants, "become", late_become)
        monkeypatch.setattr(LocalContainer, "stop", early_stop)
        with app.run(clock=clock, grace=1000):
            assert ready.wait(30)
            clock.call_at(1.0, jumped.set)
    assert seen == [(False, 0.0)]


def test_a_pool_in_line_whose_starts_are_called_off_may_start_its_first_container(
    monkeypatch, in_threads
):
    # The process has room for two.
    monkeypatch.setattr(config, "max_containers", 2)
    app, go_on, starts = App(), threading.Event(), SimpleQueue()
    first = threading.Lock()

    @app.function(min_containers=1)
    def one():
        return 1

    @app.cls()
    class Slow:
        @moorage.enter()
        def enter(self):
            starts.put(1)
            if first.acquire(blocking=False):
                assert go_on.wait(30)

        @moorage.method()
        def two(self):
            return 2

    with app.run():
        assert one.remote() == 1
        slow = Slow()
        # 1. One starts, and the pool stands in line for its second,
        slow.update_autoscaler(min_containers=2)
        starts.get(timeout=30)
        # 2. neither is wanted any more,
        slow.update_autoscaler(min_containers=0)
        # 3. and a call needs one: its first, which waits for no room.
        try:
            assert in_threads(slow.two.remote).result() == 2
        finally:
            go_on.set()


# -- containers that nobody looks at any more ------------------------------------------------


def containers_of(function):
    seen = function.statistics()
    return [] if seen is None else seen.containers  # without any its pool may be gone


def test_an_idle_container_goes_though_its_window_ended_while_a_batch_formed():
    app = App()

    @app.function(scaledown_window=5, max_containers=1)
    @moorage.batched(max_batch_size=4, wait_ms=10_000)
    async def work(values):
        return values

    with VirtualClock() as clock, app.run(clock=clock):
        # 1. A full batch: the only container that there may be is idle since 0.
        for value in range(4):
            work.spawn(value)
        clock.sleep(3)
        # 2. A batch forms, and the window ends at 5 meanwhile,
        late = work.spawn(4)
        clock.sleep(3)
        # 3. and its only member leaves: nothing else will come.
        late.cancel()
        clock.sleep(1000)
        with pytest.raises(InputCancelledError):
            late.get()
        assert not containers_of(work)


def test_idle_containers_go_though_a_batch_forms_whenever_one_ends():
    app = App()

    @app.function(scaledown_window=5, max_containers=4)
    @moorage.batched(max_batch_size=4, wait_ms=1000)
    async def work(seconds):
        await asyncio.sleep(max(seconds))
        return seconds

    with VirtualClock() as clock, app.run(clock=clock):
        # 1. Four batches run: the pool is at its cap.
        for _ in range(16):
            work.spawn(1.4)
        clock.sleep(1.0)
        assert len(containers_of(work)) == 4
        # 2. One comes after the other.  When a batch ends the next one forms.
        for _ in range(100):
            work.spawn(0.5)
            clock.sleep(0.3)
        # 3. For 30 s hardly more than one container was of use.
        assert len(containers_of(work)) < 4


def test_a_minimum_that_is_set_while_a_batch_forms_is_kept_at_once():
    app = App()

    @app.function()
    @moorage.batched(max_batch_size=4, wait_ms=50_000)
    async def work(values):
        return values

    with VirtualClock() as clock, app.run(clock=clock):
        # 1. A full batch ran, and another forms.
        for value in range(4):
            work.spawn(value)
        clock.sleep(1)
        work.spawn(4)
        assert (work.statistics().queued, len(containers_of(work))) == (1, 1)
        # 2. More containers are wanted, though no slot is.
        work.update_autoscaler(min_containers=3)
        clock.sleep(1)
        assert work.statistics().queued == 1
        assert len(containers_of(work)) == 3


def test_an_idle_container_makes_room_for_a_pool_in_line_though_a_batch_forms(monkeypatch):
    monkeypatch.setattr(config, "max_containers", 3)
    app = App()

    @app.function(scaledown_window=3000)
    @moorage.batched(max_batch_size=4, wait_ms=10_000)
    async def batches(seconds):
        await asyncio.sleep(max(seconds))
        return seconds

    @app.function()
    async def other(seconds):
        await asyncio.sleep(seconds)

    with VirtualClock() as clock, app.run(clock=clock):
        # 1. Two batches run, in two of three containers,
        for _ in range(8):
            batches.spawn(2)
        clock.sleep(1)
        # 2. another pool takes the third, and stands in line for one more,
        for _ in range(2):
            other.spawn(200)
        # 3. a batch forms, which will need one of the two,
        batches.spawn(2)
        clock.sleep(0.5)
        assert (other.statistics().running, other.statistics().queued) == (1, 1)
        # 4. and both end.
        clock.sleep(1.5)
        assert batches.statistics().queued == 1
        assert len(containers_of(batches)) == 1
        assert (other.statistics().running, other.statistics().queued) == (2, 0)


# -- held loops and the bound of the backlog ---------------------------------------------------


def make_holder(app, max_inputs=1, **options):
    """Its input "block" blocks the loop of its container for 20 s; others take `seconds`."""

    @app.function()
    async def slow():
        await asyncio.sleep(20)

    @app.function(max_backlog=1, **options)
    @moorage.concurrent(max_inputs=max_inputs)
    async def work(kind, seconds=0.0):
        if kind == "block":
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                slow.remote()
        else:
            await asyncio.sleep(seconds)
        return kind

    return work


def test_who_stands_outside_is_let_in_while_a_loop_is_held(monkeypatch):
    monkeypatch.setattr(config, "deadlock_grace", 0.0)
    app = App()
    with VirtualClock() as clock:
        work = make_holder(app, max_containers=2, on_full="wait")

        @app.function()
        async def call_it():
            return await work.remote.aio("outside", 1.0)

        with app.run(clock=clock):
            # 1. One of two loops is held until 20, and the other's slot is taken until 6.
            block = work.spawn("block")
            clock.sleep(1)
            work.spawn("a", 5.0)
            clock.sleep(1)
            # 2. One waits in the queue, and the next outside of it.
            work.spawn("queued", 1.0)
            caller = call_it.spawn()
            clock.sleep(1)
            assert work.statistics().outside == 1
            # 3. The queued one gets the slot, and its place comes free.
            clock.sleep(7)
            assert work.statistics().outside == 0
            assert caller.get() == "outside"
            assert clock.now() < 20.0
            assert block.get() == "block"


def test_the_slots_of_a_held_loop_are_no_room_for_more_than_the_backlog(monkeypatch):
    monkeypatch.setattr(config, "deadlock_grace", 0.0)
    app = App()
    with VirtualClock() as clock:
        work = make_holder(app, max_containers=1, max_inputs=10)
        with app.run(clock=clock):
            # 1. One input holds the only loop, and nine slots are free,
            block = work.spawn("block")
            clock.sleep(1)
            # 2. which give nobody a place now.
            with pytest.raises(ResourceExhaustedError, match="at most 1 inputs"):
                work.spawn_map(["a"] * 9)
            s = work.statistics()
            assert (s.queued, s.refused) == (0, 9)
            assert block.get() == "block"


# -- batches -----------------------------------------------------------------------------------


def test_the_batch_of_a_member_that_ends_at_this_moment_is_a_batch():
    class Ending:
        """A member: another thread settles its batch after the first look at it."""

        def __init__(self, batch):
            self.runners = iter([batch])

        @property
        def runner(self):
            return next(self.runners, None)

    call = InertCall()
    batch = make_batch(call.target, [Input(call, 0, (1,), None)])
    assert batch_of(Ending(batch)) is batch


@pytest.mark.parametrize("place", [0, 1], ids=["first", "second"])
@pytest.mark.parametrize("way", ["position", "keyword"])
def test_an_input_with_more_than_the_batched_function_takes_fails_alone(way, place):
    app = App()

    @app.function(max_containers=1)
    @moorage.batched(max_batch_size=3, wait_ms=1000)
    def more_names(values, **options):
        return values

    @app.function(max_containers=1)
    @moorage.batched(max_batch_size=3, wait_ms=1000)
    def more_positions(values, *others):
        return values

    with VirtualClock() as clock, app.run(clock=clock):
        # What one takes any number of, the other takes none of.
        if way == "position":
            work, args, kwargs, said = more_names, (0, 0), {}, "takes 1 positional"
        else:
            work, args, kwargs, said = more_positions, (0,), {"y": 0}, "unexpected keyword"
        calls = [work.spawn(value) for value in range(place)]
        misfit = work.spawn(*args, **kwargs)
        calls += [work.spawn(value) for value in range(place, 2)]
        assert [call.get() for call in calls] == [0, 1]
        with pytest.raises(InvalidError, match=said):
            misfit.get()


def test_an_error_object_that_several_batches_return_is_another_one_for_each_caller():
    app = App()
    not_found = LookupError("no such key")

    @app.function(max_containers=1)
    @moorage.batched(max_batch_size=1, wait_ms=0)
    def work(values):
        return [not_found]

    caught = []
    with VirtualClock() as clock, app.run(clock=clock):
        for _ in range(2):
            with pytest.raises(LookupError, match="no such key") as error:
                work.remote(1)
            caught.append(error.value)
    # Each traceback is that of one caller.
    assert caught[0] is not caught[1]


def test_in_strict_mode_batching_for_a_class_without_methods_is_named(monkeypatch):
    monkeypatch.setattr(config, "strict", True)
    app = App()

    @app.cls(serialized=True)
    class Empty:
        pass

    with app.run():
        empty = Empty.with_batching(max_batch_size=2, wait_ms=1)()
        with pytest.raises(InvalidError, match="Empty has none"):
            empty.update_autoscaler(min_containers=1)


# -- the interpreter's exit ------------------------------------------------------------------------

HEAD = """
import asyncio, threading
import moorage

app = moorage.App("program")
"""


def run_program(program):
    """Run it in a process of its own: the exit code, the lines of stdout, and stderr."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", HEAD + textwrap.dedent(program)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return done.returncode, done.stdout.splitlines(), done.stderr


def test_an_input_stuck_in_to_thread_does_not_hold_up_the_interpreters_exit():
    code, out, err = run_program("""
        begun = threading.Event()

        def block():
            begun.set()
            threading.Event().wait()

        @app.function()
        async def stuck():
            await asyncio.to_thread(block)

        with app.run(grace=0.2):
            stuck.spawn()
            assert begun.wait(30)
        print("left", flush=True)
    """)
    assert (code, out) == (0, ["left"]), err
    assert "block (" in err, "it says where it sits"


def test_an_async_exit_hook_may_use_to_thread_twice_at_once_at_the_interpreters_exit():
    code, out, err = run_program("""
        @app.cls()
        class Work:
            @moorage.method()
            async def work(self):
                return "worked"

            @moorage.exit()
            async def exit(self):
                both = [asyncio.to_thread(lambda x=x: x) for x in ("one", "two")]
                print(*await asyncio.gather(*both), flush=True)

        print(Work().work.remote(), flush=True)
    """)
    assert (code, out, err) == (0, ["worked", "one two"], "")
