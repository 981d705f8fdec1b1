"""Threads that lie idle for long end, and no work is lost by it."""

import asyncio
import gc
import threading
from types import SimpleNamespace

import pytest

import moorage
from moorage import App
from moorage.runtime.clocks.timekeeper import Timer
from moorage.runtime.containers import idle_threads
from moorage.runtime.containers.idle_threads import IDLE_FOR, IdleThreads
from moorage.runtime.containers.offload import MOST_THREADS, LoopExecutor
from moorage.runtime.containers.thread_lane import ThreadLane
from moorage.runtime.real import Real

CYCLES = 10_000


class Hand:
    """A clock that the test sets: what `idle_threads` knows of time."""

    def __init__(self):
        self.time = 0.0
        self.timers = []
        self.armed = 0
        self._condition = threading.Condition()
        self._asked = 0

    def now(self):
        with self._condition:
            self._asked += 1
            self._condition.notify_all()
            return self.time

    def call_at(self, when, callback):
        timer = Timer(when, callback)
        with self._condition:
            self.armed += 1
            self.timers.append(timer)
            self._condition.notify_all()
        return timer

    @property
    def live(self):
        return [timer.when for timer in self.timers if timer.callback is not None]

    def wait_parked(self, count):
        """Until threads have parked `count` times in all, and an alarm is set."""
        with self._condition:
            assert self._condition.wait_for(lambda: self._asked >= count and self.live, 60)

    def advance(self, seconds):
        self.time += seconds
        while due := [t for t in self.timers if t.callback is not None and t.when <= self.time]:
            callback, due[0].callback = due[0].callback, None
            callback()
            self._asked -= 1  # not a thread that parked


@pytest.fixture
def hand(monkeypatch):
    hand = Hand()
    monkeypatch.setattr(idle_threads, "system_clock", hand)
    return hand


def those(ending):
    return [thread for thread in threading.enumerate() if thread.name.endswith(ending)]


def join(threads):
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive()


# -- the stack alone ----------------------------------------------------------


def parking(*, stays=False):
    bell = threading.Lock()
    bell.acquire()
    return SimpleNamespace(bell=bell, stays=stays, parked_at=float("inf"), dismissed=False)


@pytest.fixture
def idle(hand):
    gone = []
    made = IdleThreads(threading.Lock(), gone.extend)
    return SimpleNamespace(threads=made, gone=gone, stack=made.stack)


def park(idle, *threads):
    for thread in threads:
        idle.stack.append(thread)
        idle.threads.parked(thread)


def test_the_eldest_end_and_the_others_get_their_time(idle, hand):
    first, second, third = parking(), parking(), parking()
    park(idle, first, second)
    hand.time = 4.0
    park(idle, third)
    assert hand.live == [IDLE_FOR], "one alarm, for the eldest"
    hand.advance(IDLE_FOR - 4)
    assert idle.gone == [first, second]
    assert idle.stack == [third]
    assert not first.bell.locked(), "rung, to end"
    assert third.bell.locked()
    assert hand.live == [4 + IDLE_FOR]
    hand.advance(4)
    assert idle.gone == [first, second, third]
    assert idle.stack == hand.live == []


def test_parking_again_and_again_arms_nothing(idle, hand):
    thread = parking()
    for _ in range(1000):
        park(idle, thread)
        assert idle.stack.pop() is thread
    park(idle, thread)
    assert hand.armed == 1


def test_one_that_worked_meanwhile_gets_all_its_time(idle, hand):
    thread = parking()
    park(idle, thread)
    idle.stack.pop()
    hand.time = 9.0
    park(idle, thread)
    hand.advance(1)
    assert idle.stack == [thread]
    assert hand.live == [9 + IDLE_FOR]


def test_no_alarm_while_none_is_idle(idle, hand):
    thread = parking()
    park(idle, thread)
    idle.stack.pop()
    hand.advance(IDLE_FOR)
    assert hand.live == []
    park(idle, thread)
    assert hand.live == [2 * IDLE_FOR]


def test_one_that_stays(idle, hand):
    stays, other = parking(stays=True), parking()
    park(idle, stays)
    assert hand.live == []
    park(idle, other)
    hand.advance(IDLE_FOR)
    assert idle.gone == [other]
    assert idle.stack == [stays]
    assert hand.live == []


def test_one_that_is_on_the_stack_and_has_yet_to_say_when(idle, hand):
    said, pushed = parking(), parking()
    park(idle, said)
    idle.stack.append(pushed)
    hand.advance(IDLE_FOR)
    assert idle.stack == [pushed]
    assert hand.live == [2 * IDLE_FOR]


def test_stop_takes_all_and_ends_the_alarm(idle, hand):
    stays, other = parking(stays=True), parking()
    park(idle, stays, other)
    assert idle.threads.stop() == [stays, other]
    assert idle.stack == hand.live == []
    park(idle, other)
    assert hand.live == []


def test_an_alarm_that_comes_after_the_stop(idle, hand):
    thread = parking()
    park(idle, thread)
    callback = hand.timers[0].callback
    idle.threads.stop()
    hand.time = IDLE_FOR
    callback()
    assert idle.gone == []


def test_no_thread_for_the_timekeeper(idle, hand, monkeypatch):
    def refuse(when, callback):
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(hand, "call_at", refuse)
        park(idle, parking())
    park(idle, parking())
    assert hand.armed == 1


# -- a container's workers ------------------------------------------------------


def burst(function, count):
    assert list(function.map(range(count))) == list(range(count))


@pytest.fixture
def meeting():
    """An app whose function `meet` returns when `count` inputs run at once."""

    def make(count, **options):
        app = App()
        barrier = threading.Barrier(count)

        @app.function(max_containers=1, **options)
        @moorage.concurrent(max_inputs=count)
        def meet(value):
            if value is not None:
                barrier.wait(60)
            return value

        return app, meet

    return make


def test_the_workers_of_a_burst_end_but_for_the_containers_own_thread(meeting, hand):
    app, meet = meeting(20, min_containers=1)
    with app.run():
        burst(meet, 20)
        workers = those("-worker")
        assert len(workers) == 19, "and T"
        hand.wait_parked(19)
        hand.advance(IDLE_FOR / 2)
        meet.remote(None)
        assert len(those("-worker")) == 19
        hand.advance(IDLE_FOR)
        join(workers)
        assert meet.remote(None) is None
        assert those("-worker") == [], "T runs it"
        burst(meet, 20)
        assert len(those("-worker")) == 19


def test_all_workers_of_a_container_with_a_loop_end(hand):
    app = App()

    @app.cls(max_containers=1)
    @moorage.concurrent(max_inputs=3)
    class Both:
        @moorage.method()
        def work(self):
            return threading.current_thread()

        @moorage.method()
        async def work_async(self):
            return threading.current_thread()

    with app.run():
        both = Both()
        loop = both.work_async.remote()
        worker = both.work.remote()
        hand.wait_parked(1)
        hand.advance(IDLE_FOR)
        join([worker])
        assert both.work_async.remote() is loop
        assert both.work.remote() is not worker


def test_thread_bound_state_of_a_container_without_concurrency(hand):
    app = App()

    @app.cls(max_containers=1)
    class Bound:
        @moorage.enter()
        def begin(self):
            self.thread = threading.current_thread()

        @moorage.method()
        def is_mine(self):
            return threading.current_thread() is self.thread

    with app.run():
        assert Bound().is_mine.remote()
        hand.advance(100 * IDLE_FOR)
        assert Bound().is_mine.remote()
        assert hand.armed == 0


def test_it_is_real_time_that_counts(meeting, hand, virtual_clock):
    app, meet = meeting(4, min_containers=1)
    with app.run():
        burst(meet, 4)
        workers = those("-worker")
        hand.wait_parked(3)
        start = virtual_clock.now()
        hand.advance(IDLE_FOR)
        join(workers)
        assert virtual_clock.now() == start
        burst(meet, 4)
        workers = those("-worker")
        virtual_clock.sleep(10 * IDLE_FOR)
        assert those("-worker") == workers


def test_leaving_the_run_ends_the_alarm(meeting, hand):
    app, meet = meeting(4)
    with app.run():
        burst(meet, 4)
        hand.wait_parked(3)
        assert hand.live
    assert hand.live == []
    assert those("-worker") == []


def test_workers_that_end_all_the_time_lose_no_input(monkeypatch):
    monkeypatch.setattr(idle_threads, "IDLE_FOR", 0.0)
    app = App()

    @app.cls(max_containers=1)
    @moorage.concurrent(max_inputs=3)
    class NoneStays:
        @moorage.method()
        def work(self, value):
            return value

        @moorage.method()
        async def never(self): ...

    with app.run():
        work = NoneStays().work
        for value in range(CYCLES):
            assert work.remote(value) == value
            if value % 100 == 0:
                assert list(work.map(range(20))) == list(range(20))
        lanes = [found for found in gc.get_objects() if type(found) is ThreadLane]
        (lane,) = [found for found in lanes if "NoneStays" in found._name]
        assert len(lane.threads()) < 20, "those that have ended are let go"


# -- the executor of a loop --------------------------------------------------------


@pytest.fixture
def executor():
    made = LoopExecutor("test")
    yield made
    made.shutdown()
    join(made.threads)


def test_the_threads_of_to_thread_end(hand):
    app = App()
    count = min(MOST_THREADS, 5)
    barrier = threading.Barrier(count)

    @app.function(max_containers=1)
    async def offload(count):
        await asyncio.gather(*(asyncio.to_thread(barrier.wait, 60) for _ in range(count)))
        return await asyncio.to_thread(threading.current_thread)

    with app.run():
        offload.remote(count)
        hand.wait_parked(count + 1)
        threads = those("-to_thread")
        assert len(threads) in (count, count + 1)  # one more if none was idle yet
        hand.advance(IDLE_FOR)
        join(threads)
        assert offload.remote(0) not in threads
        assert len(those("-to_thread")) == 1
    assert hand.live == []


def test_the_executor_takes_the_warmest(executor, hand):
    barrier = threading.Barrier(3)
    for future in [executor.submit(barrier.wait, 60) for _ in range(3)]:
        future.result(60)
    hand.wait_parked(3)
    for parked in range(4, 24):
        executor.submit(int).result(60)
        hand.wait_parked(parked)
    assert hand.armed == 1
    hand.time = 9.0
    last = executor.submit(threading.current_thread).result(60)
    hand.wait_parked(24)
    first = set(executor.threads) - {last}
    hand.advance(1)
    join(first)
    assert last.is_alive()


def test_a_thread_that_was_made_ahead_stays(executor, hand, monkeypatch):
    lies_idle = threading.Event()
    parked = IdleThreads.parked

    def tell(self, thread):
        parked(self, thread)
        lies_idle.set()

    monkeypatch.setattr(IdleThreads, "parked", tell)
    executor.start_thread()
    (stays,) = executor.threads
    assert lies_idle.wait(60)
    hand.advance(100 * IDLE_FOR)
    assert executor.submit(threading.current_thread).result(60) is stays


def test_work_waits_for_threads_when_none_can_be_made(executor, monkeypatch):
    go_on = threading.Event()
    held = executor.submit(go_on.wait, 60)

    def refuse(thread):
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(Real.Thread, "start", refuse)
        waiting = executor.submit(int)
    go_on.set()
    assert held.result(60)
    assert waiting.result(60) == 0


def test_an_executor_without_any_thread_refuses(executor, monkeypatch):
    def refuse(thread):
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(Real.Thread, "start", refuse)
        with pytest.raises(RuntimeError, match="start new thread"):
            executor.submit(int)
    assert executor.submit(int).result(60) == 0


def test_an_executor_whose_threads_end_all_the_time_loses_no_work(executor, monkeypatch):
    monkeypatch.setattr(idle_threads, "IDLE_FOR", 0.0)
    for value in range(CYCLES):
        assert executor.submit(int, value).result(60) == value
        if value % 100 == 0:
            futures = [executor.submit(int, n) for n in range(40)]
            assert [future.result(60) for future in futures] == list(range(40))
    # The live ones, and those that have not quite ended.
    assert len(executor.threads) <= 2 * MOST_THREADS
