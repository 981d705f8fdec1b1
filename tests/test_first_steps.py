"""The first step of an async input's task, which the lane runs itself: see ``task_lane.py``."""

import asyncio
import contextvars
import sys
import threading

import pytest

import moorage
from moorage import App
from moorage.exception import InputCancelledError

app = App("first-steps")
variable = contextvars.ContextVar("variable", default=0)


@app.function(max_containers=1)
@moorage.concurrent(max_inputs=10)
async def call(function, *args):
    return await function(*args)


def depth():
    frame, count = sys._getframe(), 0
    while frame is not None:
        frame, count = frame.f_back, count + 1
    return count


def test_inputs_that_await_nothing_follow_each_other_without_recursion():
    async def deep(number):
        return depth()

    with app.run():
        depths = list(call.starmap((deep, number) for number in range(2000)))
    assert max(depths) < 60


def test_other_tasks_of_the_loop_get_turns_between_inputs_that_await_nothing():
    turns = 0

    async def tick():
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    ticking = []

    async def start():
        ticking.append(asyncio.create_task(tick()))

    async def stop():
        ticking.pop().cancel()

    async def nothing(number):
        return turns

    with app.run():
        call.remote(start)
        seen = list(call.starmap([(nothing, number) for number in range(3000)]))
        call.remote(stop)
    assert len(set(seen)) > 3000 // 200


def test_each_first_step_is_in_its_own_task_and_context():
    async def look(number):
        variable.set(number)
        return [asyncio.current_task()], variable.get()

    async def first(number):
        before = asyncio.current_task(), variable.get()
        await asyncio.sleep(0)
        return before[0] is asyncio.current_task(), before[1]

    async def both(number):
        return await look(number) if number % 2 else await first(number)

    with app.run():
        found = list(call.starmap([(both, number) for number in range(200)]))
    tasks = [task for [task], _ in found[1::2]]
    assert len(set(tasks)) == 100
    assert all(task.done() for task in tasks)
    assert [value for _, value in found[1::2]] == list(range(1, 200, 2))
    assert found[0::2] == [(True, 0)] * 100


def test_a_cancel_from_another_thread_reaches_an_input_in_its_first_step():
    began, cancelled = threading.Event(), threading.Event()

    async def computes():
        began.set()
        assert cancelled.wait(60)
        await asyncio.Event().wait()

    with app.run():
        spawned = call.spawn(computes)
        assert began.wait(60)
        spawned.cancel()
        cancelled.set()
        with pytest.raises(InputCancelledError):
            spawned.get(timeout=60)


def test_an_error_of_a_first_step_is_that_of_its_input_alone():
    async def fails(number):
        if number % 3 == 0:
            raise [ValueError, SystemExit, asyncio.CancelledError][number // 3 % 3](number)
        return number

    with app.run():
        results = list(
            call.starmap([(fails, number) for number in range(30)], return_exceptions=True)
        )
    assert [each for each in results if type(each) is int] == [n for n in range(30) if n % 3]
    assert sum(isinstance(each, BaseException) for each in results) == 10


def test_what_user_code_sets_on_the_loop_in_place_of_call_soon_gets_each_first_step():
    seen = []

    async def watch(is_watched):
        loop = asyncio.get_running_loop()
        if not is_watched:
            del loop.call_soon
            return
        soon = loop.call_soon

        def call_soon(callback, *args, context=None):
            seen.append(callback)
            return soon(callback, *args, context=context)

        loop.call_soon = call_soon

    async def nothing():
        return 7

    with app.run():
        call.remote(watch, True)
        assert list(call.starmap([(nothing,)] * 20)) == [7] * 20
        call.remote(watch, False)
        count = len(seen)
        assert list(call.starmap([(nothing,)] * 20)) == [7] * 20
    assert count >= 20
    assert len(seen) == count


def test_a_loop_that_runs_within_an_input_starts_further_inputs():
    """As ``nest_asyncio`` does it: the loop runs on within the step of a task."""
    started = threading.Event()

    async def within():
        loop, task = asyncio.get_running_loop(), asyncio.current_task()
        started.set()
        asyncio._leave_task(loop, task)
        try:
            while not done.is_set():
                loop._run_once()
        finally:
            asyncio._enter_task(loop, task)
        return "outer"

    done = threading.Event()

    async def inner(number):
        await asyncio.sleep(0)
        return number

    with app.run():
        outer = call.spawn(within)
        assert started.wait(60)
        assert list(call.starmap([(inner, number) for number in range(100)])) == list(range(100))
        done.set()
        call.remote(inner, 1)  # wakes the loop
        assert outer.get(timeout=60) == "outer"


def test_the_task_of_an_input_has_the_name_of_the_function_and_a_number():
    async def ask():
        task = asyncio.current_task()
        assert task.get_name() == task.get_name()
        return task.get_name()

    async def rename():
        task = asyncio.current_task()
        task.set_name("mine")
        return task.get_name(), repr(task)

    async def show():
        return repr(asyncio.current_task())

    with app.run():
        names = [call.remote(ask) for _ in range(3)]
        renamed, shown = call.remote(rename)
        assert "name='call-" in call.remote(show)
    assert len(set(names)) == 3
    assert all(name.rpartition("-")[0] == "call" and name[5:].isdigit() for name in names)
    assert renamed == "mine"
    assert "name='mine'" in shown
