"""From a suspended task to what may wake it, on a plain loop: no pool, no wait of ours."""

from __future__ import annotations

import asyncio
import contextvars
import sys

import pytest

from moorage.runtime.context import running_input
from moorage.runtime.input import Input
from moorage.runtime.waiting.awaited import Peers, find_movers, input_of

INPUT = Input(None, 0, (), None)


def run(way):
    """What `find_movers` says of `way` while it is suspended, with `ours` as a wait of ours."""

    async def main():
        loop = asyncio.get_running_loop()
        ours = loop.create_future()
        context = contextvars.copy_context()
        context.run(running_input.set, INPUT)
        task = loop.create_task(way(ours), context=context)
        # Until nothing of it is due any more: no way here has more steps than that.
        for _ in range(10):
            await asyncio.sleep(0)
        found = find_movers(loop, {INPUT}, lambda _, future: future is ours).get(INPUT)
        peers = Peers(INPUT, loop)
        assert task in peers
        assert set(peers) == {t for t in asyncio.all_tasks() if input_of(t) is INPUT}
        left = asyncio.all_tasks() - {asyncio.current_task()}
        for one in left:
            one.cancel()
        await asyncio.wait(left)
        return found, task

    return asyncio.run(main())


async def waits(ours):
    await ours


async def gathers(ours):
    await asyncio.gather(waits(ours), asyncio.gather(waits(ours)))


async def groups(ours):
    async with asyncio.TaskGroup() as group:
        group.create_task(gathers(ours))


async def waits_for_all(ours):
    await asyncio.wait([asyncio.create_task(groups(ours))])


async def shields(ours):
    await asyncio.shield(asyncio.create_task(waits(ours)))


async def shields_a_gather(ours):
    await asyncio.shield(asyncio.gather(waits(ours)))


async def takes_as_completed(ours):
    for result in asyncio.as_completed([waits(ours), waits(ours)]):
        await result


async def takes_as_completed_in_a_loop(ours):
    async for _ in asyncio.as_completed([waits(ours), waits(ours)]):
        pass


class Awaitable:
    def __init__(self, coroutine):
        self.coroutine = coroutine

    def __await__(self):
        return (yield from self.coroutine.__await__())


async def through_an_awaitable(ours):
    await Awaitable(waits_for_all(ours))


async def through_generators(ours):
    async def items():
        await waits_for_all(ours)
        yield 0

    async for _ in items():
        pass


BLOCKED = [
    waits,
    gathers,
    groups,
    waits_for_all,
    shields,
    shields_a_gather,
    takes_as_completed,
    pytest.param(
        takes_as_completed_in_a_loop,
        marks=pytest.mark.skipif(sys.version_info < (3, 13), reason="new in 3.13"),
    ),
    through_an_awaitable,
    through_generators,
]


@pytest.mark.parametrize("way", BLOCKED)
def test_a_task_that_only_waits_of_ours_wake_is_blocked(way):
    assert run(way)[0] is None


async def sleeps(ours):
    await asyncio.sleep(3600)


async def gets(ours):
    await asyncio.Queue().get()


async def acquires(ours):
    lock = asyncio.Lock()
    await lock.acquire()
    await lock.acquire()


async def gathers_a_future(ours):
    await asyncio.gather(waits(ours), asyncio.get_running_loop().create_future())


async def waits_for_a_future(ours):
    future = asyncio.get_running_loop().create_future()
    await asyncio.wait([asyncio.create_task(waits(ours)), future])


async def has_a_sleeper(ours):
    sleeper = asyncio.create_task(sleeps(ours))
    await waits(ours)
    del sleeper


async def awaits_one_of_another_context(ours):
    await asyncio.create_task(waits(ours), context=contextvars.Context())


async def steps(ours):
    while True:
        await asyncio.sleep(0)


@pytest.mark.parametrize(
    "way",
    [
        gets,
        acquires,
        gathers_a_future,
        waits_for_a_future,
        has_a_sleeper,
        awaits_one_of_another_context,
        sleeps,
    ],
)
def test_a_task_that_something_else_may_wake_is_not(way):
    mover, _ = run(way)
    assert mover.future is not None
    assert input_of(mover.task) is INPUT


def test_a_task_that_is_due_is_about_to_run():
    mover, task = run(steps)
    assert (mover.task, mover.future, mover.when) == (task, None, None)


async def has_a_limit(ours):
    async with asyncio.timeout(3600):
        await gathers(ours)


async def has_a_timer(ours):
    asyncio.get_running_loop().call_later(3600, ours.cancel)
    await waits(ours)


async def waits_with_a_limit(ours):
    await asyncio.wait([asyncio.create_task(waits(ours))], timeout=3600)


@pytest.mark.parametrize("way", [has_a_limit, has_a_timer])
def test_a_timer_of_the_inputs_context_may_end_a_wait(way):
    mover, _ = run(way)
    assert mover.task is mover.future is None
    assert mover.when > 3600


def test_a_limit_of_wait_is_a_timer_too():
    assert run(waits_with_a_limit)[0].when > 3600


def test_the_context_of_a_task_is_not_that_of_its_callbacks():
    async def main():
        context = contextvars.copy_context()
        context.run(running_input.set, INPUT)
        task = asyncio.create_task(asyncio.sleep(0))
        task.add_done_callback(lambda _: None, context=context)
        assert input_of(task) is None
        await task

    asyncio.run(main())
