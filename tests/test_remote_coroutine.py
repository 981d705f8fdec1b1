"""``remote.aio(...)``: a coroutine for all that take one, and a future for ``asyncio.gather``.

See ``calling/remote_coroutine.py``.
"""

import asyncio
import collections.abc
import contextvars
import gc
import inspect
import threading
import traceback
import weakref

import anyio
import pytest

import moorage
from moorage import App
from moorage.exception import InvalidError, ResourceExhaustedError
from moorage.runtime.thread_state import thread_state
from onlooker import wait_until

app = App("remote-coroutine")
variable = contextvars.ContextVar("variable", default="unset")


@app.function(max_containers=1)
@moorage.concurrent(max_inputs=3)
async def wait(event, result=None):
    await event()
    return result


@app.function(max_containers=1)
@moorage.concurrent(max_inputs=3)
def double(x):
    return 2 * x


@app.function(max_containers=1)
@moorage.concurrent(max_inputs=3)
async def fail(text):
    raise ValueError(text)


@app.function()
def items():
    yield 1


async def nothing():
    pass


async def never():
    await asyncio.Event().wait()


async def awaited(call):
    return await call


async def in_a_group(call):
    async with asyncio.TaskGroup() as group:
        task = group.create_task(call)
    return task.result()


async def as_completed(call):
    (first,) = asyncio.as_completed([call])
    return await first


async def waited(call):
    (done,), _ = await asyncio.wait([asyncio.ensure_future(call)])
    return done.result()


async def gathered(call):
    (result,) = await asyncio.gather(call)
    return result


async def in_anyio(call):
    results = []

    async def keep():
        results.append(await call)

    async with anyio.create_task_group() as group:
        group.start_soon(keep)
    return results[0]


WAYS = {
    "await": awaited,
    "create_task": lambda call: asyncio.create_task(call),
    "ensure_future": lambda call: asyncio.ensure_future(call),
    "wait_for": lambda call: asyncio.wait_for(call, 60),
    "shield": lambda call: asyncio.shield(call),
    "TaskGroup": in_a_group,
    "as_completed": as_completed,
    "wait": waited,
    "gather": gathered,
    "a gathered task": lambda call: gathered(asyncio.create_task(call)),
    "a nested gather": lambda call: gathered(asyncio.shield(asyncio.gather(call))),
    "anyio": in_anyio,
}


@pytest.mark.parametrize("way", WAYS)
def test_all_that_take_a_coroutine_take_it(way):
    async def main():
        result = await WAYS[way](double.remote.aio(21))
        with pytest.raises((ValueError, ExceptionGroup)) as raised:
            await WAYS[way](fail.remote.aio("for the caller"))
        error = raised.value
        if isinstance(error, ExceptionGroup):
            (error,) = error.exceptions
        assert type(error) is ValueError
        assert str(error) == "for the caller"
        return result

    with app.run():
        assert asyncio.run(main()) in (42, [42])
        assert double.statistics().succeeded == 1


def test_functions_that_start_tasks_take_the_function():
    async def main():
        async with anyio.create_task_group() as group:
            group.start_soon(double.remote.aio, 1)
            group.start_soon(double.remote.aio, 2)

    with app.run():
        asyncio.run(main())
        assert double.statistics().succeeded == 2


def test_what_it_is():
    async def main():
        call = double.remote.aio(1)
        assert inspect.isawaitable(call)
        assert asyncio.iscoroutine(call)
        assert isinstance(call, collections.abc.Coroutine)
        assert not asyncio.isfuture(call)
        assert inspect.getcoroutinestate(call) == inspect.CORO_CREATED
        assert await call == 2
        assert inspect.getcoroutinestate(call) == inspect.CORO_CLOSED
        with pytest.raises(RuntimeError, match="cannot reuse already awaited coroutine"):
            await call
        with pytest.raises(RuntimeError, match="cannot reuse already awaited coroutine"):
            await asyncio.gather(call)

    assert inspect.iscoroutinefunction(double.remote.aio)
    assert asyncio.iscoroutinefunction(double.remote.aio)
    with app.run():
        asyncio.run(main())
        assert inspect.iscoroutine(outside := double.remote.aio(1))
        assert asyncio.run(outside) == 2


def test_gather_needs_no_task_for_a_call():
    async def main():
        calls = [wait.remote.aio(never) for _ in range(5)]
        gathering = asyncio.gather(*calls)
        (stands_for_all,) = asyncio.all_tasks() - {asyncio.current_task()}
        wait_until(lambda: wait.statistics().running == 3)
        assert wait.statistics().queued == 2
        gathering.cancel()
        with pytest.raises(asyncio.CancelledError):
            await gathering
        assert all(call.cancelled() for call in calls)
        await asyncio.wait([stands_for_all], timeout=60)
        assert asyncio.all_tasks() == {asyncio.current_task()}

    with app.run():
        asyncio.run(main())
        wait_until(lambda: wait.statistics().running == 0)
        assert wait.statistics().cancelled == 5


def test_the_end_of_the_loop_cancels_what_was_gathered():
    async def main():
        asyncio.gather(wait.remote.aio(never), wait.remote.aio(never))
        with pytest.raises(ValueError, match="of another"):
            await asyncio.gather(fail.remote.aio("of another"), wait.remote.aio(never))
        wait_until(lambda: wait.statistics().running == 3)

    with app.run():
        asyncio.run(main())
        wait_until(lambda: wait.statistics().cancelled == 3)


@pytest.mark.parametrize("error", [AttributeError("of the pool"), KeyboardInterrupt()])
def test_an_error_after_the_submission_cancels_the_input(monkeypatch, error):
    class Interrupts:
        """The guard of this thread: what interrupts the submission is raised when that ends."""

        depth = 0

        def enter(self):
            self.depth += 1

        def exit(self):
            self.depth -= 1
            if not self.depth:
                patching.undo()
                raise error

    async def main():
        calls.append(wait.remote.aio(never))
        patching.setattr(thread_state, "guard", Interrupts())
        results = await asyncio.gather(*calls, return_exceptions=True)
        assert results == [error]

    calls = []
    with app.run(), monkeypatch.context() as patching:
        if isinstance(error, Exception):
            asyncio.run(main())
        else:
            with pytest.raises(KeyboardInterrupt):
                asyncio.run(main())
        assert calls[0].done()
        wait_until(lambda: wait.statistics().cancelled == 1)


def test_a_call_that_was_gathered_may_be_closed_and_shown():
    async def main():
        call = double.remote.aio(1)
        assert await asyncio.gather(call) == [2]
        call.close()
        assert "result=2" in repr(call)
        other = double.remote.aio(2)
        other.close()
        with pytest.raises(RuntimeError, match="cannot reuse already awaited coroutine"):
            await other

    with app.run():
        asyncio.run(main())


def test_a_call_that_was_gathered_has_its_result():
    async def main():
        call = double.remote.aio(1)
        assert await asyncio.gather(call, call) == [2, 2]
        assert call.done()
        assert await call == 2
        assert await asyncio.gather(call) == [2]

    with app.run():
        asyncio.run(main())
        assert double.statistics().succeeded == 1


def test_errors_of_gathered_calls_show_the_code_of_the_user_alone():
    async def main():
        one, other = await asyncio.gather(
            fail.remote.aio("one"), fail.remote.aio("other"), return_exceptions=True
        )
        assert (str(one), str(other)) == ("one", "other")
        assert one is not other
        return one

    with app.run():
        error = asyncio.run(main())
    assert [frame.name for frame in traceback.extract_tb(error.__traceback__)] == ["fail"]


def test_a_gathered_call_that_is_refused_raises_where_it_is_awaited():
    full = App("full")

    @full.function(max_containers=1, max_backlog=1)
    async def one_more(event):
        await event()

    async def main():
        running = one_more.spawn(never)
        wait_until(lambda: one_more.statistics().running == 1)
        # The first one waits for the slot, and leaves no room.
        first, second = one_more.remote.aio(never), one_more.remote.aio(never)
        gathering = asyncio.gather(first, second, items.remote.aio(), return_exceptions=True)
        first.cancel()
        running.cancel()
        return await gathering

    with full.run(), app.run():
        first, second, of_generator = asyncio.run(main())
    assert isinstance(first, asyncio.CancelledError)
    assert isinstance(second, ResourceExhaustedError)
    assert isinstance(of_generator, InvalidError)
    assert "remote_gen.aio" in str(of_generator)


def test_the_function_sees_the_context_of_who_gathers():
    @app.function(name="see")
    def see():
        seen = variable.get()
        variable.set("changed by the function")
        return seen

    async def main():
        variable.set("when it is made")
        calls = [see.remote.aio(), see.remote.aio()]
        variable.set("when it is gathered")
        assert await asyncio.gather(*calls) == ["when it is gathered"] * 2
        assert variable.get() == "when it is gathered"

    with app.run():
        asyncio.run(main())


def test_a_call_that_nobody_awaits_is_reported_at_the_users_line():
    async def main():
        double.remote.aio(1)

    with app.run():
        with pytest.warns(RuntimeWarning, match="'Remote.aio' was never awaited") as warned:
            asyncio.run(main())
        assert warned[0].filename == __file__
        assert double.statistics() is None


def test_a_call_that_was_closed_is_not_reported(recwarn):
    async def main():
        double.remote.aio(1).close()

    with app.run():
        asyncio.run(main())
    assert [str(one.message) for one in recwarn] == []


def test_a_call_made_on_one_loop_runs_on_another():
    async def main():
        call = double.remote.aio(3)
        answers = []

        def other():
            loop = asyncio.new_event_loop()
            answers.append(loop.run_until_complete(gathered(call)))
            loop.close()

        thread = threading.Thread(target=other)
        thread.start()
        thread.join()
        loop = asyncio.get_running_loop()
        of_thread = await asyncio.to_thread(
            asyncio.run_coroutine_threadsafe, double.remote.aio(4), loop
        )
        answers.append(await asyncio.wrap_future(of_thread))
        return answers

    with app.run():
        assert asyncio.run(main()) == [6, 8]


class Argument:
    pass


@pytest.mark.parametrize("way", ["create_task", "gather"])
def test_arguments_and_results_are_kept_by_nobody_else(way):
    async def main():
        argument = Argument()
        kept = weakref.ref(argument)
        call = wait.remote.aio(nothing, argument)
        result = await WAYS[way](call)
        assert result is argument
        del argument, result
        if way == "gather":
            call = None  # the future keeps its result
        # Both loops end their tasks a moment after the caller has the result.
        async with asyncio.timeout(60):
            while kept() is not None:
                await asyncio.sleep(0)
        assert call is None or inspect.getcoroutinestate(call) == inspect.CORO_CLOSED

    gc.disable()
    try:
        with app.run():
            asyncio.run(main())
    finally:
        gc.enable()


def test_gathering_within_an_input_makes_tasks():
    @app.function(name="outer", max_containers=1)
    async def outer():
        calls = [double.remote.aio(x) for x in range(3)]
        assert all(inspect.iscoroutine(call) for call in calls)
        return await asyncio.gather(*calls)

    with app.run():
        assert outer.remote() == [0, 2, 4]
