"""Cancelling: who never runs, who is told, who is not harmed."""

from __future__ import annotations

import asyncio

import pytest

import moorage
from moorage.exception import InputCancellation, InputCancelledError

from .ways import Counts
from .work import (
    ASYNC,
    SYNC,
    in_both_times,
    in_every_shape,
    in_every_shape_and_both_times,
    shaped,
)


@pytest.mark.elsewhere
@in_every_shape_and_both_times
def test_what_is_cancelled_in_the_queue_never_runs(way, shape, world):
    door = world.door()

    async def body(x):
        with world.at_work(x):
            await door.wait()
        return x

    code, options = shaped(shape, body)
    with way.open(code, world.clock, **options) as container:
        handles = [container.submit(x) for x in range(5)]
        world.wait_for(lambda: world.running == 1)
        for x in (1, 3):
            handles[x].cancel()
            assert handles[x].done()
            with pytest.raises(InputCancelledError):
                handles[x].result()
        assert container.counts() == Counts(running=1, queued=2, cancelled=2)
        door.open()
        assert [handles[x].result() for x in (0, 2, 4)] == [0, 2, 4]
        assert world.began == [0, 2, 4]
        assert container.counts() == Counts(finished=3, cancelled=2)


@pytest.mark.elsewhere
@in_both_times
@pytest.mark.parametrize("shape", ASYNC)
def test_a_cancelled_async_input_sees_cancelled_error_in_its_task_and_its_neighbours_nothing(
    way, shape, world
):
    door = world.door()
    seen = world.notes()

    async def body(x):
        with world.at_work(x):
            try:
                await door.wait()
            except BaseException as error:
                seen.append((x, type(error)))
                raise
        return x

    code, options = shaped(shape, body)
    with way.open(code, world.clock, max_inputs=3, **options) as container:
        handles = [container.submit(x) for x in range(4)]
        world.wait_for(lambda: world.running == 3)
        handles[1].cancel()
        with pytest.raises(InputCancelledError):
            handles[1].result()
        world.wait_until(lambda: seen == [(1, asyncio.CancelledError)])
        world.wait_for(lambda: 3 in world.began)  # its slot went on
        assert container.counts() == Counts(running=3, cancelled=1)
        door.open()
        assert [handles[x].result() for x in (0, 2, 3)] == [0, 2, 3]


@pytest.mark.elsewhere
@in_both_times
@pytest.mark.parametrize("shape", SYNC)
def test_a_cancelled_sync_input_frees_its_caller_at_once_and_its_slot_when_it_has_ended(
    way, shape, world
):
    doors = [world.door() for _ in range(3)]
    seen = world.notes()

    async def body(x):
        with world.at_work(x):
            await doors[x].wait()
            try:
                moorage.check_cancelled()
                while way.by_value and x == 0:  # the cancel is on its way
                    await world.turn()
                    moorage.check_cancelled()
            except BaseException as error:
                seen.append((x, type(error)))
                raise
        return x

    code, options = shaped(shape, body)
    with way.open(code, world.clock, max_inputs=2, **options) as container:
        handles = [container.submit(x) for x in range(3)]
        world.wait_for(lambda: world.running == 2)
        handles[0].cancel()
        assert handles[0].done()
        with pytest.raises(InputCancelledError):
            handles[0].result()
        assert container.counts() == Counts(running=2, queued=1, cancelled=1, abandoned=1)
        assert world.running == 2
        if way.by_value and world.virtual:
            world.sleep_here(0)  # the cancel arrives
        doors[0].open()
        world.wait_for(lambda: 2 in world.began)
        doors[1].open()
        doors[2].open()
        assert [handle.result() for handle in handles[1:]] == [1, 2]
        assert seen == [(0, InputCancellation)]
        assert container.counts() == Counts(finished=2, cancelled=1)


@pytest.mark.elsewhere
@in_every_shape_and_both_times
def test_a_cancel_after_the_end_changes_nothing(way, shape, world):
    async def body(x):
        return x

    code, options = shaped(shape, body)
    with way.open(code, world.clock, **options) as container:
        handle = container.submit(1)
        assert handle.result() == 1
        handle.cancel()
        assert handle.result() == 1
        assert container.submit(2).result() == 2
        assert container.counts() == Counts(finished=2)


@in_every_shape
def test_a_batch_mate_or_neighbour_that_swallows_its_cancel_is_cancelled_all_the_same(
    way, shape, world
):
    async def body(x):
        try:
            await world.sleep(1)
            moorage.check_cancelled()
        except (asyncio.CancelledError, InputCancellation):
            return "swallowed"
        return x

    code, options = shaped(shape, body)
    with way.open(code, world.clock, max_inputs=2, **options) as container:
        first, second = container.submit(1), container.submit(2)
        world.sleep_here(0)
        first.cancel()
        with pytest.raises(InputCancelledError):
            first.result()
        assert second.result() == 2
        world.sleep_here(0)
        assert container.counts() == Counts(finished=1, cancelled=1)


@pytest.mark.elsewhere
@in_both_times
@pytest.mark.parametrize("shape", SYNC)
def test_a_stuck_sync_input_holds_up_nobody_else(way, shape, world):
    stuck = world.door()

    async def body(x):
        with world.at_work(x):
            if x == "stuck":
                await stuck.wait()
        return x

    code, options = shaped(shape, body)
    with way.open(code, world.clock, max_inputs=2, **options) as container:
        handle = container.submit("stuck")
        world.wait_for(lambda: world.running == 1)
        for x in range(20):
            assert container.submit(x).result() == x
        assert container.counts() == Counts(running=1, finished=20)
        stuck.open()
        assert handle.result() == "stuck"
