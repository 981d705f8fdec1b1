"""Blocking calls of `threading` and `queue` under ``clock.patch_time()``: they are rests.

Each primitive is made at import (before any patch) and inside, waits without a timeout and with
one, and the other side is another input of the container, another container, the test's thread,
or a thread that takes part.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import logging
import os
import queue
import re
import sys
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager

import pytest

import moorage.testing
from moorage.exception import ClockStuckError, FunctionTimeoutError, InputCancelledError
from moorage.runtime.clocks import blocking, started
from moorage.runtime.real import Real
from moorage.testing import FakeContainer, VirtualClock, explore
from onlooker import new_threads

LOCK, RLOCK = type(threading.Lock()), type(threading.RLock())
KINDS = (LOCK, RLOCK, queue.SimpleQueue, threading.Thread, threading.Condition)
BEFORE = {kind: dict(vars(kind)) for kind in KINDS}
NAMES = {(threading, "_time"): threading._time, (queue, "time"): queue.time}


@pytest.fixture(autouse=True)
def nothing_is_left():
    yield
    for kind in KINDS:
        assert dict(vars(kind)) == BEFORE[kind], kind
    assert {key: getattr(*key) for key in NAMES} == NAMES
    assert not blocking._holders
    assert not started.as_is
    assert not started._away


@contextmanager
def patch_time(stuck_after=2):
    """A clock in which this thread takes part, and whose calls are patched."""
    with VirtualClock(stuck_after=stuck_after) as clock, clock.patch_time():
        yield clock


def made():
    """All primitives."""
    return {
        "Lock": threading.Lock(),
        "RLock": threading.RLock(),
        "Condition": threading.Condition(),
        "Condition of a Lock": threading.Condition(threading.Lock()),
        "Event": threading.Event(),
        "Barrier": threading.Barrier(2),
        "Semaphore": threading.Semaphore(1),
        "BoundedSemaphore": threading.BoundedSemaphore(1),
        "Queue": queue.Queue(1),
        "LifoQueue": queue.LifoQueue(1),
        "PriorityQueue": queue.PriorityQueue(1),
        "SimpleQueue": queue.SimpleQueue(),
        "Future": Future(),
    }


AT_IMPORT = made()
PRIMITIVES = list(AT_IMPORT)


@pytest.fixture(params=["at import", "inside"])
def get(request):
    """Return the function that gives a primitive by its name."""
    if request.param == "at import":
        kept = AT_IMPORT
        AT_IMPORT["Future"] = Future()  # which has one result only
        AT_IMPORT["Event"].clear()
        return lambda name: kept[name]
    inside: dict[str, object] = {}

    def make(name):
        if not inside:
            inside.update(made())
        return inside[name]

    return make


def hold(name, it, until):
    """The first side: make the other wait until `until`, in virtual time."""
    if name in ("Lock", "RLock", "Semaphore", "BoundedSemaphore"):
        with it:
            time.sleep(until - time.monotonic())
    elif name.startswith("Condition"):
        time.sleep(until - time.monotonic())
        with it:
            it.notify()
    else:
        time.sleep(until - time.monotonic())
        if name == "Barrier":
            it.wait()
        elif name == "Event":
            it.set()
        elif name == "Future":
            it.set_result("x")
        else:
            it.put("x")


def wait(name, it, timeout=None):
    """The second side: whether the wait succeeded, and when it ended."""
    if name in ("Lock", "RLock"):
        if timeout is None:
            with it:
                pass
            return True, time.monotonic()
        came = it.acquire(timeout=timeout)
        if came:
            it.release()
        return came, time.monotonic()
    if name in ("Semaphore", "BoundedSemaphore"):
        came = it.acquire(timeout=timeout)
        if came:
            it.release()
        return came, time.monotonic()
    if name.startswith("Condition"):
        with it:
            return it.wait(timeout), time.monotonic()
    try:
        if name == "Barrier":
            it.wait(timeout)
        elif name == "Event":
            return it.wait(timeout), time.monotonic()
        elif name == "Future":
            it.result(timeout)
        else:
            it.get(timeout=timeout)
    except (queue.Empty, threading.BrokenBarrierError, concurrent.futures.TimeoutError):
        if name == "Barrier":
            it.reset()
        return False, time.monotonic()
    return True, time.monotonic()


@pytest.mark.parametrize("sides", ["inputs", "containers", "the test", "a thread"])
@pytest.mark.parametrize("timeout", [None, 60, 3])
@pytest.mark.parametrize("name", PRIMITIVES)
def test_a_wait_is_virtual(name, timeout, sides, get):
    if timeout == 3 and name == "Barrier":
        pytest.skip("the other side then waits for ever")

    def first():
        hold(name, get(name), 5)

    def second():
        time.sleep(1)
        return wait(name, get(name), timeout)

    def run(it):
        return first() if it == "first" else second()

    with patch_time() as clock:
        if sides == "inputs":
            with FakeContainer(run, max_inputs=2) as container:
                _, result = list(container.map(["first", "second"]))
        elif sides == "containers":
            with FakeContainer(first) as one, FakeContainer(second) as two:
                one.submit()
                result = two.submit().result()
                one.wait_idle()
        elif sides == "the test":
            with FakeContainer(second) as container:
                submitted = container.submit()
                first()
                result = submitted.result()
        else:

            def other():
                with clock:
                    first()

            thread = threading.Thread(target=other)
            thread.start()
            result = second()
            thread.join()
    assert result == ((True, 5) if timeout != 3 else (False, 4))
    if name == "Queue" and timeout == 3:
        get(name).get_nowait()
    elif timeout == 3 and name.endswith("Queue"):
        assert get(name).get(block=False) == "x"


@pytest.mark.parametrize("name", ["Queue", "LifoQueue", "PriorityQueue"])
def test_a_full_queue_is_waited_for(name, get):
    def run(side):
        it = get(name)
        if side == "take":
            time.sleep(4)
            return it.get(), it.get(), time.monotonic()
        it.put(1)
        with pytest.raises(queue.Full):
            it.put(2, timeout=3)
        at = time.monotonic()
        it.put(2)
        return at, time.monotonic()

    with patch_time(), FakeContainer(run, max_inputs=2) as container:
        assert list(container.map(["take", "put"])) == [(1, 2, 4), (3, 4)]


def test_queue_join_and_several_waiters_in_their_order():
    jobs, order = queue.Queue(), []

    def run(number):
        job = jobs.get()
        order.append((number, job, time.monotonic()))
        time.sleep(2)
        jobs.task_done()

    with patch_time() as clock, FakeContainer(run, max_inputs=3) as container:
        container.submit(1), container.submit(2), container.submit(3)
        time.sleep(1)
        for job in "abc":
            jobs.put(job)
        jobs.join()
        assert clock.now() == 3
    assert order == [(1, "a", 1), (2, "b", 1), (3, "c", 1)]


def test_conditions_wake_in_the_order_in_which_they_wait():
    condition, order = threading.Condition(), []

    def run(number):
        with condition:
            condition.wait()
            order.append((number, time.monotonic()))
            time.sleep(1)

    with patch_time(), FakeContainer(run, max_inputs=3) as container:
        handles = [container.submit(number) for number in (1, 2, 3)]
        time.sleep(1)
        with condition:
            condition.notify(2)
        time.sleep(10)
        assert order == [(1, 1), (2, 2)]
        with condition:
            condition.notify_all()
        for handle in handles:
            handle.result()
    assert order == [(1, 1), (2, 2), (3, 11)]


def test_an_rlock_is_taken_as_often_as_before_a_wait():
    condition = threading.Condition()

    def run(side):
        with condition, condition:
            if side == "wait":
                condition.wait()
                assert condition._lock._is_owned()
            else:
                condition.notify()
        return not condition._lock._is_owned()

    with patch_time(), FakeContainer(run, max_inputs=2) as container:
        assert list(container.map(["wait", "notify"])) == [True, True]


@pytest.mark.parametrize("timed", [False, True])
def test_join_of_a_thread_that_takes_part(timed):
    with patch_time() as clock:
        here = threading.Event()

        def other():
            with clock:
                here.set()
                time.sleep(30)

        thread = threading.Thread(target=other)
        thread.start()
        here.wait()
        if timed:
            thread.join(10)
            assert thread.is_alive()
            assert clock.now() == 10
        thread.join()
        assert clock.now() == 30
        assert not thread.is_alive()


def test_a_pool_of_the_code_works_while_time_stands():
    def slow(x):
        end = time.monotonic() + 0.02  # real: this thread takes no part
        while time.monotonic() < end:
            pass
        return 2 * x

    def run(x):
        with ThreadPoolExecutor(2) as pool:
            return list(pool.map(slow, range(x))), time.monotonic()

    with patch_time(5) as clock, FakeContainer(run, max_inputs=2, timeout=10) as container:
        assert list(container.map([3, 4])) == [([0, 2, 4], 0), ([0, 2, 4, 6], 0)]
        assert clock.now() == 0


def test_threads_that_take_no_part_block_for_real():
    lock, box, seen = threading.Lock(), queue.SimpleQueue(), []

    def other():
        with lock:
            seen.append("lock")
        seen.append((box.get(), lock.acquire(timeout=60)))
        lock.release()

    with patch_time() as clock:
        lock.acquire()
        thread = threading.Thread(target=other)
        thread.start()
        time.sleep(10)
        assert seen == []
        lock.release()
        box.put(1)
        thread.join()
        assert seen == ["lock", (1, True)]
        assert clock.now() == 10


@pytest.mark.parametrize("begin", [0, 0.1, 0.7, 1 / 3, 1e6 + 0.1])
def test_a_limit_that_is_reached_to_the_instant_ends_the_wait(begin):
    condition, never = threading.Condition(), Future()
    with patch_time() as clock:
        time.sleep(begin)
        with condition:
            assert not condition.wait_for(lambda: False, 5.1)
        assert not threading.Semaphore(0).acquire(timeout=1.3)
        with pytest.raises(queue.Empty):
            queue.Queue().get(timeout=0.7)
        with pytest.raises(TimeoutError):
            list(concurrent.futures.as_completed([never], timeout=5))
        with pytest.raises(TimeoutError):
            never.result(1.1)
        assert clock.now() == pytest.approx(begin + 13.2)


def test_async_code_blocks_its_loop_in_virtual_time_only():
    lock = threading.Lock()

    async def hold_lock():
        with lock:
            await asyncio.sleep(5)
        return time.monotonic()

    async def take(x):
        await asyncio.sleep(1)
        if x:
            with lock:
                return time.monotonic()
        await asyncio.sleep(1)
        return time.monotonic()  # its loop was blocked meanwhile

    with patch_time(), FakeContainer(hold_lock) as one, FakeContainer(take, max_inputs=2) as two:
        held, taken = one.submit(), two.submit(1)
        assert two.call(0) >= 5
        assert (held.result(), taken.result()) == (5, 5)


def test_threads_that_work_for_a_loop_of_the_clock():
    box = queue.Queue()

    async def main():
        async def answer():
            await asyncio.sleep(4)
            return time.monotonic()

        def ask():
            return asyncio.run_coroutine_threadsafe(answer(), loop).result()

        loop = asyncio.get_running_loop()
        loop.call_later(3, box.put, "x")
        assert await asyncio.to_thread(box.get) == "x"
        assert await asyncio.to_thread(ask) == 7

    clock = VirtualClock(stuck_after=2)
    with clock.patch_time():
        clock.run(main())


# -- what is refused, and what is left ------------------------------------------------------


@pytest.mark.parametrize("lock", [threading.Lock(), threading.RLock()])
@pytest.mark.parametrize(
    "args", [(False, 1), (True, -2), (True, 1e20), (True, "1"), (1, 2, 3), (False, -2)]
)
def test_acquire_refuses_what_the_real_one_refuses(lock, args):
    with pytest.raises(Exception) as real:
        lock.acquire(*args)
    with patch_time():
        with pytest.raises(type(real.value)):
            lock.acquire(*args)
        assert lock.acquire(False)
        assert lock.acquire(False) == isinstance(lock, RLOCK)
        assert lock.acquire(timeout=0) == isinstance(lock, RLOCK)
        while True:
            try:
                lock.release()
            except RuntimeError:
                break


@pytest.mark.parametrize("args", [(True, -1), (True, "1"), (False, None), (True, 0)])
def test_simple_queue_refuses_what_the_real_one_refuses(args):
    with pytest.raises(Exception) as real:
        queue.SimpleQueue().get(*args)
    with patch_time(), pytest.raises(type(real.value)):
        queue.SimpleQueue().get(*args)


def test_the_replacements_have_the_names_and_docs_of_the_originals():
    with patch_time():
        assert threading.Lock().acquire.__name__ == "acquire"
        assert threading.RLock().acquire.__doc__ == BEFORE[RLOCK]["acquire"].__doc__
        assert threading.Thread.join.__name__ == "join"


def test_a_condition_made_inside_has_nothing_of_the_patch_afterwards():
    with patch_time():
        made_inside = threading.Condition()
    bound = [v for v in vars(made_inside).values() if callable(v)]
    assert bound
    assert all(type(v) is type(len) for v in bound)


def test_moorages_own_locks_are_not_touched():
    assert type(Real.Lock()) is not LOCK
    assert type(Real.RLock()) is not RLOCK
    before = dict(vars(type(Real.Lock())))
    with patch_time():
        assert dict(vars(type(Real.Lock()))) == before


def test_patches_nest_and_two_clocks_have_their_own():
    lock = threading.Lock()
    with patch_time() as clock:
        with clock.patch_time(), VirtualClock().patch_time():
            pass
        with lock:
            assert not lock.acquire(timeout=7)
        assert clock.now() == 7
    with VirtualClock() as clock, VirtualClock().patch_time(), lock:
        assert not lock.acquire(timeout=0.001)  # this clock is not patched
        assert clock.now() == 0


def test_only_the_modules_that_are_given():
    lock = threading.Lock()
    with VirtualClock() as clock, clock.patch_time(moorage), lock:
        assert not lock.acquire(timeout=0.001)
        assert clock.now() == 0
    with VirtualClock() as clock, clock.patch_time(sys.modules[__name__]), lock:
        assert not lock.acquire(timeout=7)
        assert not threading.Event().wait(3)
        assert clock.now() == 10


def test_a_patch_that_fails_half_way_is_undone(monkeypatch):
    def fail(*kinds):
        raise RuntimeError("no")

    monkeypatch.setattr(started, "install", fail)
    with pytest.raises(RuntimeError, match="no"), VirtualClock().patch_time():
        pass
    monkeypatch.undo()


def test_without_types_that_can_be_changed_calls_are_real(monkeypatch):
    monkeypatch.setattr(blocking, "_replaced", {})
    monkeypatch.setattr(blocking, "_make", dict)
    lock = threading.Lock()
    with VirtualClock() as clock, clock.patch_time(), lock:
        assert not lock.acquire(timeout=0.001)
        assert clock.now() == 0
        assert not threading.Event().wait(0.001)
        time.sleep(1)
        assert clock.now() == 1


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_forked_child_leaves_the_patch_too():
    lock = threading.Lock()
    with patch_time():
        child = os.fork()
        if child == 0:
            code = 1
            try:
                with lock:
                    code = 2
                blocking.uninstall()
                code = 0 if dict(vars(LOCK)) == BEFORE[LOCK] else 3
            finally:
                os._exit(code)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_logging_goes_on_working(caplog):
    def run(x):
        with lock:
            time.sleep(1)
            logging.getLogger("users").warning("at %s", time.monotonic())

    lock = threading.Lock()
    with patch_time(), FakeContainer(run, max_inputs=3) as container:
        list(container.map([1, 2, 3]))
    assert [r.getMessage() for r in caplog.records] == ["at 1.0", "at 2.0", "at 3.0"]


# -- cancelling ------------------------------------------------------------------------------


def test_a_timeout_ends_a_blocked_input_at_its_time_and_loses_no_lock():
    lock, ended = threading.Lock(), []

    def run(x):
        try:
            with lock:
                time.sleep(x)
        finally:
            ended.append((x, time.monotonic()))

    with patch_time(), FakeContainer(run, max_inputs=2, timeout=8) as container:
        first, second = container.submit(6), container.submit(7)
        third = None
        first.result()
        third = container.submit(1)
        with pytest.raises(FunctionTimeoutError):
            second.result()
        third.result()
        fourth = container.submit(20)
        fifth = container.submit(1)
        for handle in (fourth, fifth):
            with pytest.raises(FunctionTimeoutError):
                handle.result()
    assert ended == [(6, 6), (7, 8), (1, 9), (20, 17), (1, 17)]
    assert not lock.locked()


def test_a_cancel_ends_a_blocked_input():
    event = threading.Event()

    def run():
        event.wait()

    with patch_time() as clock, FakeContainer(run) as container:
        handle = container.submit()
        time.sleep(3)
        handle.cancel()
        with pytest.raises((InputCancelledError, concurrent.futures.CancelledError)):
            handle.result()
        container.wait_idle()
        assert clock.now() == 3


def test_a_strike_loses_no_lock():
    lock = threading.Lock()

    def run():
        while True:
            with lock:
                pass

    # In real time, while a patch is in force: the strike comes between any two instructions.
    with VirtualClock().patch_time(), FakeContainer(run) as container:
        for _ in range(20):
            handle = container.submit()
            container.wait_running(1)
            handle.cancel()
            container.wait_idle()
            assert handle.exception() is not None
            assert lock.acquire(timeout=5)
            lock.release()


# -- the same on each run ----------------------------------------------------------------------


def a_run():
    lock, box, condition, steps = threading.Lock(), queue.Queue(2), threading.Condition(), []

    def make(number):
        for part in range(3):
            with lock:
                steps.append((number, part, time.monotonic()))
                time.sleep(0.5)
            box.put((number, part))
        return number

    def take(number):
        got = []
        for _ in range(4):
            got.append(box.get())
            with condition:
                steps.append((number, got[-1], time.monotonic()))
                condition.notify()
        return got

    with (
        patch_time(5) as clock,
        FakeContainer(make, max_inputs=4) as makers,
        FakeContainer(take) as takers,
    ):
        made_parts = [makers.submit(n) for n in range(4)]
        taken = [takers.submit(n) for n in range(3)]
        with condition:
            condition.wait_for(lambda: len(steps) > 8)
            steps.append(("test", time.monotonic()))
        results = [h.result() for h in (*made_parts, *taken)]
        return steps, results, clock.now(), str(makers.timeline())


def test_each_run_is_the_same():
    first = a_run()
    for _ in range(30):
        assert a_run() == first


# -- errors -----------------------------------------------------------------------------------


def stuck(function, *args):
    """Run threads that block for ever; return the one error that each of them gets."""
    errors = []
    with patch_time(0.3) as clock:

        def run(arg):
            with clock:
                try:
                    function(arg)
                except ClockStuckError as error:
                    errors.append(str(error))

        threads = [threading.Thread(target=run, args=(arg,)) for arg in args]
        for thread in threads:
            thread.start()
        while len(errors) < len(args):
            with pytest.raises(ClockStuckError):
                queue.SimpleQueue().get()
        for thread in threads:
            thread.join()
    assert len(set(errors)) == 1
    return errors[0]


def test_a_deadlock_names_the_calls_the_lines_and_the_holders():
    first, second = threading.Lock(), threading.RLock()

    def run(x):
        with first if x else second:
            time.sleep(1)
            with second if x else first:
                pass

    text = stuck(run, 0, 1)
    line = run.__code__.co_firstlineno
    assert re.search(
        rf"\(run\) waits for Lock\.acquire of a Lock that Thread-\d+ \(run\) took in "
        rf"run \(\S*:{line + 1}\) in run \(\S*:{line + 3}\)",
        text,
    )
    assert re.search(
        rf"waits for RLock\.acquire of an RLock that Thread-\d+ \(run\) took in "
        rf"run \(\S*:{line + 1}\)",
        text,
    )


def test_an_input_that_times_out_while_it_is_blocked_says_for_what_it_waited():
    lock, box = threading.Lock(), queue.Queue()

    def run(x):
        if x == 0:
            box.get()
        with lock:
            time.sleep(x)

    with patch_time() as clock, FakeContainer(run, max_inputs=3, timeout=20) as container:
        first, second, third = (container.submit(x) for x in (100, 1, 0))
        errors = []
        for handle in (first, second, third):
            with pytest.raises(FunctionTimeoutError) as caught:
                handle.result()
            errors.append(caught.value)
        assert clock.now() == 20
    line = run.__code__.co_firstlineno
    assert not hasattr(errors[0], "__notes__")
    assert re.fullmatch(
        rf"it waited for Lock\.acquire of a Lock that moorage-run-1 took in run \(\S*:{line + 3}\)"
        rf" in run \(\S*:{line + 3}\)",
        "".join(errors[1].__notes__),
    )
    assert re.match(rf"it waited for Queue\.get in run \(\S*:{line + 2}\)", errors[2].__notes__[0])


@pytest.mark.parametrize(
    ("call", "name"),
    [
        (lambda: queue.Queue().get(), "Queue.get"),
        (lambda: queue.SimpleQueue().get(), "SimpleQueue.get"),
        (lambda: threading.Barrier(2).wait(), "Barrier.wait"),
        (lambda: threading.Event().wait(), "Event.wait"),
        (lambda: threading.Semaphore(0).acquire(), "Semaphore.acquire"),
        (lambda: Future().result(), "Future.result"),
    ],
)
def test_a_wait_for_ever_names_the_call(call, name):
    def run(x):
        return call()

    text = stuck(run, 1)
    assert f"waits for {name} in " in text
    assert f"test_blocking.py:{call.__code__.co_firstlineno}" in text


def test_the_waiting_participant_itself_gets_the_error():
    with (
        patch_time(0.3),
        pytest.raises(ClockStuckError, match=r"MainThread waits for Queue\.get in "),
    ):
        queue.Queue().get()


# -- explore -----------------------------------------------------------------------------------


def worker_pool():
    """A correct pool of threads around a Condition."""
    condition, jobs, done = threading.Condition(), [], []

    def work():
        while True:
            with condition:
                while not jobs:
                    condition.wait()
                job = jobs.pop(0)
            if job is None:
                return
            time.sleep(job)
            with condition:
                done.append(job)
                condition.notify_all()

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for job in (3, 1, 2, 1):
        with condition:
            jobs.append(job)
            condition.notify()
    with condition:
        assert condition.wait_for(lambda: len(done) == 4, timeout=100)
        jobs.extend([None] * 3)
        condition.notify_all()
    for thread in threads:
        thread.join()
    assert sorted(done) == [1, 1, 2, 3]


def test_threads_that_an_explored_test_starts_take_part():
    before = set(threading.enumerate())
    assert explore(worker_pool, runs=60).distinct > 10
    explore(worker_pool, runs=20, preempt=2)
    assert new_threads(before) == []


def executors():
    with ThreadPoolExecutor(3) as pool:
        futures = [pool.submit(time.sleep, n) for n in range(5)]
        futures[4].result(timeout=50)
        assert list(pool.map(lambda x: 2 * x, range(4), timeout=5)) == [0, 2, 4, 6]
        done, _ = concurrent.futures.wait(futures, timeout=1)
        assert len(done) == 5
    timer = threading.Timer(5, lambda: None)
    timer.start()
    assert not timer.finished.wait(4)
    timer.join()
    assert time.monotonic() >= 9


def test_executors_and_timers_of_an_explored_test():
    explore(executors, runs=40)


async def users_pool_on_a_loop():
    loop = asyncio.get_running_loop()
    with ThreadPoolExecutor(1) as pool:
        assert await asyncio.wrap_future(pool.submit(int, "3")) == 3
        await loop.run_in_executor(pool, time.sleep, 2)
        await asyncio.gather(*(loop.run_in_executor(pool, time.sleep, 1) for _ in range(3)))
        assert time.monotonic() == 5


def test_a_pool_whose_threads_take_part_works_for_a_loop():
    explore(users_pool_on_a_loop, runs=10)


def test_a_pool_that_outlives_an_explored_test_goes_on_working():
    with ThreadPoolExecutor(2) as pool:
        results = []
        explore(lambda: results.append(list(pool.map(str, range(3)))), runs=3)
        assert results == [["0", "1", "2"]] * 3
        assert pool.submit(int, "7").result(timeout=60) == 7


def lost_update():
    count = [0]

    def add():
        seen = count[0]
        seen += 1
        count[0] = seen

    threads = [threading.Thread(target=add) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert count == [2]


def test_a_race_of_plain_threads_is_found():
    with pytest.raises(AssertionError) as caught:
        explore(lost_update, preempt=2)
    (note,) = caught.value.__notes__
    seed = int(re.search(r"seed=(\d+)", note)[1])
    for _ in range(20):
        with pytest.raises(AssertionError):
            moorage.testing.replay(lost_update, seed=seed, preempt=2)


class Polls(threading.Thread):
    """A thread that works for real, and that the code never ends."""

    def __init__(self, stop):
        super().__init__(daemon=True)
        self.stop = stop

    def run(self):
        os.read(self.stop, 1)


def test_a_started_thread_that_does_real_io_does_not_stop_an_explored_test():
    def test():
        ends = os.pipe()
        try:
            thread = Polls(ends[0])
            thread.start()
            time.sleep(5)
            assert time.monotonic() == 5
        finally:
            os.write(ends[1], b"x")
            thread.join()
            for end in ends:
                os.close(end)

    explore(test, runs=2)


# -- without the patch ------------------------------------------------------------------------


class Account:
    def __init__(self):
        self.lock = threading.Lock()
        self.again = threading.RLock()
        self.condition = threading.Condition()


ACCOUNT = Account()


def hold_lock(clock):
    with ACCOUNT.lock:
        try:
            clock.sleep(5)
        finally:
            pass


def hold_rlock(clock):
    with ACCOUNT.again:
        clock.sleep(5)


def hold_condition(clock):
    with ACCOUNT.condition:
        clock.sleep(5)


def take_lock(clock):
    clock.sleep(1)
    lock = ACCOUNT.lock
    lock.acquire()
    lock.release()


def take_rlock(clock):
    clock.sleep(1)
    with ACCOUNT.again:
        pass


def take_condition(clock):
    clock.sleep(1)
    with ACCOUNT.condition:
        pass


@pytest.mark.parametrize(
    ("hold", "take", "kind", "line"),
    [
        (hold_lock, take_lock, "a Lock", 3),
        (hold_rlock, take_rlock, "an RLock", 2),
        (hold_condition, take_condition, "an RLock", 2),
    ],
)
def test_a_thread_that_is_blocked_for_real_is_named_with_the_holder(hold, take, kind, line):
    with VirtualClock(stuck_after=0.4) as clock:
        inside = threading.Event()

        def other():
            with clock:
                inside.set()
                take(clock)

        thread = threading.Thread(target=other, name="taker")
        thread.start()
        assert inside.wait(30)
        with pytest.raises(ClockStuckError) as caught:
            hold(clock)
        thread.join()
    text = str(caught.value)
    first, at = hold.__code__.co_firstlineno, take.__code__.co_firstlineno
    short = kind.split()[1]
    assert re.search(rf"taker \(in {take.__name__} \(\S*:{at + line}\)", text)
    assert re.search(
        rf"taker is blocked in {short}\.acquire of {kind} that MainThread took in "
        rf"{hold.__name__} \(\S*:{first + 1}\); write `with clock\.patch_time\(\):`",
        text,
    )
