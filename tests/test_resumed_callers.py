"""How the task that awaits a call goes on: see `AsyncioWaiter` in ``runtime/waiting``.

Results that come together are delivered together: `deliver_together` holds the loop until they
are there.
"""

import asyncio
import contextvars
import gc
import logging
import threading
import weakref

import pytest

from moorage import App
from onlooker import wait_until

app = App("resumed-callers")
variable = contextvars.ContextVar("variable", default="unset")


@app.function(max_containers=1)  # one at a time, in order
def give(x, go_on=None):
    if go_on is not None:
        assert go_on.wait(60)
    return x


async def deliver_together(*steps):
    """Run the coroutine functions, each of which awaits what it is given, as tasks."""
    go_on = threading.Event()
    tasks = [
        asyncio.ensure_future(step(give.remote.aio(at, go_on))) for at, step in enumerate(steps)
    ]
    await asyncio.sleep(0)  # they have called
    before = give.statistics().succeeded
    go_on.set()
    wait_until(lambda: give.statistics().succeeded == before + len(steps))
    return tasks


def run_on(loop, task, until):
    """As ``nest_asyncio`` does it: the loop runs on within the step of `task`."""
    asyncio._leave_task(loop, task)
    try:
        while not until():
            loop._run_once()
    finally:
        asyncio._enter_task(loop, task)


def test_a_task_may_run_the_loop_until_another_that_was_delivered_with_it_has_ended():
    said = []

    async def main():
        async def first(call):
            said.append(await call)
            run_on(asyncio.get_running_loop(), asyncio.current_task(), tasks[1].done)
            said.append("first goes on")

        async def second(call):
            said.append(await call)

        tasks = await deliver_together(first, second)
        await asyncio.wait_for(asyncio.gather(*tasks), 60)

    with app.run():
        asyncio.run(main())
    assert said == [0, 1, "first goes on"]


def test_a_task_that_runs_the_loop_gets_what_comes_meanwhile():
    async def main():
        assert await give.remote.aio(1) == 1  # is delivered alone
        other = asyncio.ensure_future(give.remote.aio(2))
        run_on(asyncio.get_running_loop(), asyncio.current_task(), other.done)
        return other.result()

    with app.run():
        assert asyncio.run(asyncio.wait_for(main(), 60)) == 2


@pytest.mark.parametrize("count", [1, 3])
def test_a_task_that_ends_the_loop_takes_no_result_from_others(count):
    ended = []

    async def quits(call):
        await call
        raise SystemExit(3)

    async def ends(call):
        ended.append(await call)

    with app.run():
        loop = asyncio.new_event_loop()

        async def main():
            tasks.extend(await deliver_together(quits, *[ends] * (count - 1)))
            await asyncio.wait(tasks)

        tasks = []
        with pytest.raises(SystemExit):
            loop.run_until_complete(main())
        with pytest.raises(SystemExit):
            tasks[0].result()
        for task in tasks[1:]:
            loop.run_until_complete(task)
        loop.close()
    assert ended == list(range(1, count))


def test_a_callback_of_a_gathered_call_has_the_context_of_who_adds_it():
    async def main():
        call = give.remote.aio(1)
        gathered = asyncio.gather(call)
        variable.set("of who adds it")
        seen = []
        call.add_done_callback(lambda _: seen.append(variable.get()))
        call.add_done_callback(seen.append)
        call.remove_done_callback(seen.append)
        await gathered
        await asyncio.sleep(0)
        return seen

    with app.run():
        assert asyncio.run(main()) == ["of who adds it"]


def test_gather_knows_of_a_cancelled_call_before_callbacks_that_were_added_later():
    go_on = threading.Event()

    async def main():
        call = give.remote.aio(1, go_on)
        gathered = asyncio.gather(call, return_exceptions=True)
        order = []
        call.add_done_callback(lambda _: order.append(gathered.done()))
        assert call.cancel()
        assert not call.cancel()
        assert [type(error) for error in await gathered] == [asyncio.CancelledError]
        return order

    with app.run():
        assert asyncio.run(main()) == [True]
        go_on.set()


def test_a_callback_that_was_removed_is_not_called():
    async def main():
        call = give.remote.aio(1)
        gathered = asyncio.gather(call)
        of_gather = call.resume[0]
        assert call.remove_done_callback(of_gather) == 1
        assert call.remove_done_callback(of_gather) == 0
        seen = []
        call.add_done_callback(lambda _: seen.append("first"))
        call.add_done_callback(lambda _: seen.append("second"))
        while len(seen) < 2:
            await asyncio.sleep(0)
        assert not gathered.done()
        gathered.cancel()
        return seen

    with app.run():
        assert asyncio.run(main()) == ["first", "second"]


def test_a_loop_that_counts_its_callbacks_sees_each_step():
    class Counting(asyncio.SelectorEventLoop):
        steps = 0

        def call_soon(self, callback, *args, context=None):
            self.steps += "TaskWakeup" in type(callback).__name__ or "wakeup" in repr(callback)
            return super().call_soon(callback, *args, context=context)

    async def main():
        for number in range(5):
            assert await give.remote.aio(number) == number

    with app.run():
        loop = Counting()
        loop.run_until_complete(main())
        loop.close()
    assert loop.steps >= 5


def test_a_loop_in_debug_mode_names_the_task_that_takes_long(caplog):
    async def takes_long():
        await give.remote.aio(1)
        asyncio.get_running_loop().slow_callback_duration = 0.0  # all that follows takes long

    async def main():
        assert await give.remote.aio(0) == 0
        asyncio.get_running_loop().set_debug(True)
        await asyncio.create_task(takes_long(), name="the task")
        asyncio.get_running_loop().slow_callback_duration = 60.0

    with app.run(), caplog.at_level(logging.WARNING, "asyncio"):
        asyncio.run(main())
    assert any("the task" in record.getMessage() for record in caplog.records)


def test_what_an_input_returned_is_not_kept_while_its_worker_runs_the_next_one():
    held, begun, go_on = threading.Event(), threading.Event(), threading.Event()
    alive = []

    class Big:
        pass

    @app.function(max_containers=1, name="one at a time")
    def work(what):
        if what == "hold":
            assert held.wait(60)
        if what == "next":
            begun.set()
            assert go_on.wait(60)
        return make() if what == "make" else None

    def make():
        big = Big()
        alive.append(weakref.ref(big))

        class Row:  # its type is the input's own, too
            source = big

        return Row()

    with app.run():
        calls = [work.spawn(what) for what in ("hold", "make", "next")]
        held.set()  # one worker runs all three
        assert begun.wait(60)
        calls[1].get(timeout=60)
        del calls[1]
        gc.collect()
        assert alive[0]() is None
        go_on.set()
