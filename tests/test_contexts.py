"""Contexts and ids: what one input sets, no other and no hook sees."""

import asyncio
import contextvars
import threading

import pytest

import moorage
from moorage import App
from moorage.exception import DeprecationError

variable = contextvars.ContextVar("variable", default="unset")


def test_each_input_runs_in_a_copy_of_its_callers_context():
    app = App()

    @app.function(max_containers=1)
    def swap(value):
        before = variable.get()
        variable.set(value)
        return before

    @app.function(max_containers=1)
    async def swap_async(value):
        before = variable.get()
        variable.set(value)
        await asyncio.sleep(0)
        assert variable.get() == value
        return before

    def main():
        for function in (swap, swap_async):
            assert function.remote("in one") == "unset"
            assert function.remote("in the next") == "unset"
            token = variable.set("the caller's")
            assert function.remote("in a third") == "the caller's"
            assert function.spawn("in a fourth").get() == "the caller's"
            assert variable.get() == "the caller's", "nothing comes back"
            variable.reset(token)

    with app.run():
        contextvars.copy_context().run(main)


def test_an_awaited_call_captures_the_context_of_its_task(run_async):
    app = App()

    @app.function()
    async def read():
        return variable.get()

    async def main():
        variable.set("the task's")
        return await read.remote.aio()

    with app.run():
        assert run_async(main) == "the task's"


def test_hooks_run_in_an_empty_context():
    app = App()
    seen = []

    def look(hook):
        seen.append((hook, variable.get(), moorage.current_input_id(), moorage.is_local()))

    with pytest.warns(DeprecationError, match="__init__"):

        @app.cls()
        class Work:
            def __init__(self):
                look("construct")

            @moorage.enter()
            def enter(self):
                look("enter")
                variable.set("set by enter")

            @moorage.enter()
            async def enter_async(self):
                look("enter async")
                variable.set("set by enter async")

            @moorage.method()
            async def work(self):
                return variable.get()

            @moorage.exit()
            def exit(self):
                look("exit")

            @moorage.exit()
            async def exit_async(self):
                look("exit async")

    def main():
        variable.set("the caller's")
        with app.run():
            assert Work().work.remote() == "the caller's"

    contextvars.copy_context().run(main)
    hooks = ["construct", "enter", "enter async", "exit", "exit async"]
    assert seen == [(hook, "unset", None, False) for hook in hooks]


def test_a_task_made_in_enter_inherits_no_callers_context():
    app = App()

    @app.cls()
    class Work:
        @moorage.enter()
        async def enter(self):
            self.asked = asyncio.Event()
            self.answer = asyncio.get_running_loop().create_future()
            self.task = asyncio.create_task(self.background())

        async def background(self):
            await self.asked.wait()
            self.answer.set_result((variable.get(), moorage.current_input_id()))

        @moorage.method()
        async def work(self):
            self.asked.set()
            return await self.answer

    def main():
        variable.set("the caller's")
        with app.run():
            assert Work().work.remote() == ("unset", None)

    contextvars.copy_context().run(main)


def test_outside_of_inputs_there_are_no_ids():
    assert moorage.current_input_id() is None
    assert moorage.current_function_call_id() is None
    assert moorage.is_local() is True


@pytest.mark.parametrize("kind", ["sync", "async"])
def test_inputs_that_run_at_once_see_their_own_ids(kind):
    app = App()
    if kind == "sync":
        barrier = threading.Barrier(8)

        @app.function(max_containers=1)
        @moorage.concurrent(max_inputs=8)
        def ids():
            before = moorage.current_input_id()
            barrier.wait(10)  # all eight are between the two looks
            return before, moorage.current_input_id(), moorage.current_function_call_id()

    else:
        arrived = []
        all_there = asyncio.Event()

        @app.function(max_containers=1)
        @moorage.concurrent(max_inputs=8)
        async def ids():
            before = moorage.current_input_id()
            arrived.append(before)
            if len(arrived) == 8:
                all_there.set()
            await asyncio.wait_for(all_there.wait(), 10)
            return before, moorage.current_input_id(), moorage.current_function_call_id()

    with app.run():
        calls = [ids.spawn() for _ in range(8)]
        seen = [call.get() for call in calls]
    assert all(before == after for before, after, _ in seen)
    assert len({before for before, _, _ in seen}) == 8
    assert [call_id for _, _, call_id in seen] == [call.object_id for call in calls]
    assert all(input_id.startswith("in-") for input_id, _, _ in seen)


def test_inputs_of_a_map_share_the_call_id():
    app = App()

    @app.function()
    @moorage.concurrent(max_inputs=3)
    async def ids(_):
        return moorage.current_input_id(), moorage.current_function_call_id()

    with app.run():
        first, second = list(ids.map(range(10))), list(ids.map(range(10)))
    assert len({input_id for input_id, _ in first + second}) == 20
    assert len({call_id for _, call_id in first}) == 1
    assert len({call_id for _, call_id in first + second}) == 2


def test_is_local_is_false_in_a_container_and_true_again_after():
    app = App()

    @app.function()
    def here():
        return moorage.is_local()

    @app.function()
    async def here_async():
        return moorage.is_local()

    with app.run():
        assert here.remote() is False
        assert here_async.remote() is False
        assert here.local() is True
        assert moorage.is_local() is True


def test_a_thread_and_a_task_of_an_input_carry_its_id():
    app = App()

    @app.function()
    async def ids():
        async def child():
            return moorage.current_input_id()

        return (
            moorage.current_input_id(),
            await asyncio.create_task(child()),
            await asyncio.to_thread(moorage.current_input_id),
        )

    with app.run():
        own, in_task, in_thread = ids.remote()
    assert own == in_task == in_thread
    assert own is not None


def test_a_worker_keeps_neither_arguments_nor_context_of_what_it_ran():
    import gc
    import weakref

    app = App()

    class Thing:
        pass

    @app.function(max_containers=1)
    def take(thing):
        return None

    @app.function(max_containers=1)
    async def take_async(thing):
        return None

    def call(function):
        thing, other = Thing(), Thing()
        variable.set(other)
        function.remote(thing)
        return [weakref.ref(thing), weakref.ref(other)]

    with app.run():
        for function in (take, take_async):
            references = contextvars.copy_context().run(call, function)
            contextvars.copy_context().run(function.remote, None)  # the worker has gone on
            gc.collect()
            assert [reference() for reference in references] == [None, None]
