"""Inputs that end in their first step have one task, one after the other: ``task_lane.py``.

No code can tell, because an input gets the task of another only if nobody has kept or changed it.
Begin at `together`.
"""

import asyncio
import contextvars
import gc
import sys
import threading
import weakref
from pathlib import Path

import pytest

import moorage
from moorage import App
from moorage.exception import InputCancelledError, RemoteError
from moorage.runtime.containers import task_lane
from moorage.runtime.places import place_in_task

app = App("in-turn")
variable = contextvars.ContextVar("variable", default=0)


@app.function(max_containers=1)
@moorage.concurrent(max_inputs=100)
async def call(function, *args):
    return await function(*args)


async def nothing():
    return 0


def begin_together(*inputs):
    """Spawn `inputs`, each a function and its arguments, to begin in one turn of the loop."""
    began, may_go_on = threading.Event(), threading.Event()

    async def hold():
        began.set()
        assert may_go_on.wait(60)

    call.remote(nothing)  # from now on the function is known to end at once
    held = call.spawn(hold)
    assert began.wait(60)
    calls = [call.spawn(*each) for each in inputs]
    may_go_on.set()
    held.get(timeout=60)
    return calls


def together(*inputs):
    with app.run():
        return [each.get(timeout=60) for each in begin_together(*inputs)]


def test_inputs_that_end_at_once_need_few_tasks(monkeypatch):
    made = []

    class Counted(task_lane.InputTask):
        def __init__(self, *args, **kwargs):
            made.append(1)
            super().__init__(*args, **kwargs)

    monkeypatch.setattr(task_lane, "InputTask", Counted)
    assert together(*[(nothing,)] * 90) == [0] * 90
    assert len(made) <= 4


@pytest.mark.parametrize("keep", ["object", "weak", "callback", "name", "attribute", "set"])
def test_a_task_that_code_keeps_or_changes_is_of_one_input(keep):
    kept, ended = [], []
    weak = weakref.WeakKeyDictionary()

    async def look(number):
        task = asyncio.current_task()
        before = getattr(task, "mine", None), len(weak), task in weak, task.cancelling()
        if keep == "object":
            kept.append(task)
        elif keep == "weak":
            weak[task] = number
        elif keep == "callback":
            task.add_done_callback(lambda task: ended.append(number))
        elif keep == "name":
            task.set_name(f"number {number}")
        elif keep == "attribute":
            task.mine = number
        else:
            kept.append(asyncio.all_tasks())
        return before

    async def name():
        return asyncio.current_task().get_name()

    found = together(*[each for number in range(20) for each in ((look, number), (name,))])
    assert all(mine is None and not known for mine, _, known, _ in found[0::2])
    assert all(each.startswith("call-") for each in found[1::2])
    if keep == "object":
        assert len(set(kept)) == 20
        assert all(task.done() for task in kept)
    elif keep == "callback":
        assert ended == list(range(20))


def test_a_task_that_cancels_itself_and_ends_does_not_cancel_the_next():
    async def cancels():
        asyncio.current_task().cancel()
        return "ended"

    async def waits():
        await asyncio.sleep(0)
        return asyncio.current_task().cancelling()

    assert together(*[(cancels,), (waits,)] * 20) == ["ended", 0] * 20


def test_each_input_has_a_context_of_its_own():
    async def change(number):
        before = variable.get()
        variable.set(number)
        if number % 5 == 0:
            await asyncio.sleep(0)
        return before, variable.get(), moorage.current_input_id()

    found = together(*[(change, number) for number in range(1, 60)])
    assert [(before, after) for before, after, _ in found] == [(0, n) for n in range(1, 60)]
    assert len({its_id for _, _, its_id in found}) == 59


def test_an_input_that_waits_keeps_its_task_and_its_context():
    async def child():
        return variable.get(), moorage.current_input_id()

    async def waits(number):
        task, its_id = asyncio.current_task(), moorage.current_input_id()
        variable.set(number)
        seen = []
        for _ in range(3):
            await asyncio.sleep(0)
            seen.append(
                asyncio.current_task() is task
                and variable.get() == number
                and moorage.current_input_id() == its_id
            )
        assert await asyncio.create_task(child()) == (number, its_id)
        async with asyncio.timeout(60):
            assert await asyncio.gather(child(), child()) == [(number, its_id)] * 2
        if sys.version_info >= (3, 12):
            assert task.get_context()[variable] == number
        return seen

    found = together(*[each for number in range(20) for each in ((nothing,), (waits, number))])
    assert found == [0, [True] * 3] * 20


def test_what_is_thrown_into_an_input_that_waits_arrives_in_its_context():
    async def waits(number):
        variable.set(number)
        future = asyncio.get_running_loop().create_future()
        asyncio.get_running_loop().call_soon(future.set_exception, KeyError(number))
        try:
            await future
        except KeyError:
            try:
                async with asyncio.timeout(0.001):
                    await asyncio.Event().wait()
            except TimeoutError:
                return variable.get()

    found = together(*[each for number in range(10) for each in ((nothing,), (waits, number))])
    assert found[1::2] == list(range(10))


def test_an_error_after_a_wait_has_the_lines_of_the_user_only():
    async def fails():
        await asyncio.sleep(0)
        raise ValueError("after a wait")

    with app.run():
        failing = begin_together((nothing,), (nothing,), (fails,))[-1]
        with pytest.raises(ValueError, match="after a wait") as caught:
            failing.get(timeout=60)
    files = [str(entry.path) for entry in caught.traceback]
    assert [file == __file__ for file in files[-2:]] == [True, True]
    assert not any(file.endswith("task_lane.py") for file in files)


def test_the_place_where_an_input_waits_is_known():
    waiting = threading.Event()
    may_end = []

    async def waits():
        may_end.append((asyncio.get_running_loop(), asyncio.Event()))
        asyncio.get_running_loop().call_soon(waiting.set)
        await may_end[0][1].wait()  # the place

    with app.run():
        *_, last = begin_together((nothing,), (nothing,), (waits,))
        assert waiting.wait(60)
        task = last._first.runner
        place = place_in_task(task.get_coro(), None)
        loop, event = may_end[0]
        loop.call_soon_threadsafe(event.set)
        last.get(timeout=60)
    number = next(
        number
        for number, line in enumerate(Path(__file__).read_text().splitlines(), 1)
        if line.endswith("# the place")
    )
    assert f"{Path(__file__).name}:{number}" in place


def test_a_cancel_reaches_an_input_that_waits_after_others_ended():
    waiting, cancelled = threading.Event(), threading.Event()

    async def waits():
        waiting.set()
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    with app.run():
        *_, last = begin_together((nothing,), (nothing,), (waits,))
        assert waiting.wait(60)
        last.cancel()
        with pytest.raises(InputCancelledError):
            last.get(timeout=60)
        assert cancelled.wait(60)


def test_a_cancel_that_comes_late_does_not_reach_the_next_input():
    """The cancel of an input in its first step comes to the loop after that input has ended."""
    computing, may_end = threading.Event(), threading.Event()

    async def computes():
        computing.set()
        assert may_end.wait(60)

    async def waits():
        for _ in range(10):
            await asyncio.sleep(0)
        return "not cancelled"

    with app.run():
        call.remote(nothing)
        first = call.spawn(computes)
        assert computing.wait(60)
        following = [call.spawn(waits) for _ in range(20)]
        first.cancel()
        may_end.set()
        assert [each.get(timeout=60) for each in following] == ["not cancelled"] * 20
        with pytest.raises(InputCancelledError):
            first.get(timeout=60)


def test_all_tasks_of_the_loop_are_cancelled_without_harm():
    async def cancel_all():
        for task in asyncio.all_tasks():
            task.cancel()
        return "ended"

    async def waits():
        await asyncio.sleep(0)
        return "went on"

    found = together((nothing,), (cancel_all,), (nothing,), (waits,), (nothing,))
    assert found == [0, "ended", 0, "went on", 0]


def test_nothing_of_an_input_that_has_ended_is_kept():
    class Thing:
        pass

    things, freed = [], threading.Semaphore(0)

    async def makes(wait):
        thing = Thing()
        things.append(weakref.ref(thing, lambda _: freed.release()))
        variable.set(thing)
        if wait:
            await asyncio.sleep(0)

    async def fails(wait):
        thing = Thing()
        things.append(weakref.ref(thing, lambda _: freed.release()))
        if wait:
            await asyncio.sleep(0)
        raise ValueError

    async def waits():
        future = asyncio.get_running_loop().create_future()
        thing = Thing()
        things.append(weakref.ref(thing, lambda _: freed.release()))
        asyncio.get_running_loop().call_soon(future.set_result, thing)
        del thing
        await future
        del future
        await asyncio.sleep(0)
        return things[-1]() is None

    with app.run():
        gc.collect()
        gc.disable()
        try:
            calls = begin_together(
                (nothing,), (makes, False), (makes, True), (fails, False), (fails, True), (waits,)
            )
            for each in calls:
                try:
                    each.get(timeout=60)
                except ValueError:
                    pass
            assert each.get()
            del each, calls
            # Not at once: the last step of a task may still be on its way out.
            assert all(freed.acquire(timeout=60) for _ in range(5))
        finally:
            gc.enable()


def test_inputs_that_first_end_and_then_wait_are_all_settled():
    async def now_and_then(number):
        if number % 3 == 0:
            await asyncio.sleep(0)
        if number % 7 == 0:
            raise ValueError(number)
        return number

    with app.run():
        found = list(call.starmap([(now_and_then, n) for n in range(3000)], return_exceptions=True))
    assert [each for each in found if type(each) is int] == [n for n in range(3000) if n % 7]
    assert sum(type(each) is ValueError for each in found) == 429


def test_a_generator_exit_that_is_awaited_ends_the_input():
    async def fails():
        future = asyncio.get_running_loop().create_future()
        asyncio.get_running_loop().call_soon(future.set_exception, GeneratorExit())
        await future

    with app.run():
        for inputs in ([(fails,)], [(nothing,), (nothing,), (fails,)]):
            with pytest.raises(RemoteError, match="GeneratorExit"):
                begin_together(*inputs)[-1].get(timeout=60)
        assert call.remote(nothing) == 0


def test_an_error_that_is_awaited_has_the_lines_of_the_user_only():
    async def fails():
        await asyncio.to_thread(int, "no number")

    with app.run():
        failing = begin_together((nothing,), (nothing,), (fails,))[-1]
        with pytest.raises(ValueError, match="no number") as caught:
            failing.get(timeout=60)
    assert not any(
        str(entry.path).endswith(("task_lane.py", "by_hand.py")) for entry in caught.traceback
    )


def test_an_error_that_is_awaited_leaves_no_cycle():
    class Thing:
        pass

    things, freed = [], threading.Semaphore(0)

    def failing_soon():
        future = asyncio.get_running_loop().create_future()
        asyncio.get_running_loop().call_soon(future.set_exception, ValueError("awaited"))
        return future

    async def fails():
        thing = Thing()
        things.append(weakref.ref(thing, lambda _: freed.release()))
        await failing_soon()

    with app.run():
        gc.collect()
        gc.disable()
        try:
            failing = begin_together((nothing,), (nothing,), (fails,))
            with pytest.raises(ValueError, match="awaited"):
                failing[-1].get(timeout=60)
            del failing
            # Not at once: the last step of its task may still be on its way out.
            assert freed.acquire(timeout=60)
        finally:
            gc.enable()


def test_a_result_is_not_kept_while_the_next_inputs_run():
    computing, may_end = threading.Event(), threading.Event()

    class Thing:
        pass

    async def makes():
        return Thing()

    async def computes():
        computing.set()
        assert may_end.wait(60)

    with app.run():
        made, last = begin_together((makes,), (computes,))
        assert computing.wait(60)
        thing = weakref.ref(made.get(timeout=60))
        del made
        assert thing() is None
        may_end.set()
        last.get(timeout=60)


@pytest.mark.skipif(sys.version_info < (3, 12), reason="new in 3.12")
def test_the_context_of_the_task_is_that_of_the_code_from_its_first_step_on():
    async def look(number):
        variable.set(number)
        before = asyncio.current_task().get_context()
        seen = before.get(variable)
        if number % 2:
            await asyncio.sleep(0)
            assert asyncio.current_task().get_context() is before
        return seen

    assert together(*[(look, number) for number in range(20)]) == list(range(20))


def test_a_method_has_a_task_of_its_own_name():
    local = App("in-turn-methods")
    began, may_go_on = threading.Event(), threading.Event()

    @local.cls(max_containers=1)
    @moorage.concurrent(max_inputs=100)
    class Model:
        @moorage.method()
        async def hold(self):
            began.set()
            assert may_go_on.wait(60)

        @moorage.method()
        async def one(self):
            pass

        @moorage.method()
        async def two(self):
            return asyncio.current_task().get_name().rpartition("-")[0]

    with local.run():
        model = Model()
        model.one.remote()
        model.two.remote()
        held = model.hold.spawn()
        assert began.wait(60)
        calls = [each.spawn() for _ in range(10) for each in (model.one, model.two)]
        may_go_on.set()
        held.get(timeout=60)
        names = {each.get(timeout=60) for each in calls[1::2]}
    assert len(names) == 1
    assert names.pop().endswith("two")
