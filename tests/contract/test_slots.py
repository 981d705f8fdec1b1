"""Slots: how many inputs run at once, in which order, and when a slot is free again."""

from __future__ import annotations

import pytest

from moorage.experimental import set_local_input_concurrency

from .ways import Counts
from .work import in_every_shape, in_every_shape_and_both_times, shaped


@in_every_shape
def test_never_more_than_max_inputs_run_and_always_as_many_as_can(way, shape, world):
    """Looked at whenever virtual time rests: then the counts are exact."""
    lengths = [1.5, 3, 0.5, 2, 4, 1, 1, 2.5, 0.5, 3, 1, 2]
    limit = 3

    async def body(seconds):
        with world.at_work(seconds):
            await world.sleep(seconds)

    code, options = shaped(shape, body)
    with way.open(code, world.clock, max_inputs=limit, **options) as container:
        handles = []
        for seconds in lengths:
            handles.append(container.submit(seconds))
            if len(handles) % 4 == 0:
                world.sleep_here(0.25)
        while not all(handle.done() for handle in handles):
            world.sleep_here(0)
            left = len(lengths) - len(world.ended)
            running = min(limit, left)
            assert world.running == running
            seen = container.counts()
            assert seen == Counts(running=running, queued=left - running, finished=len(world.ended))
            assert sum(handle.done() for handle in handles) == len(world.ended)
            world.sleep_here(0.25)
        assert world.peak == container.counts().peak == limit
        assert container.containers_started() == 1


@pytest.mark.elsewhere
@in_every_shape_and_both_times
def test_as_many_as_can_start_before_any_ends(way, shape, world):
    door = world.door()

    async def body(x):
        with world.at_work(x):
            await door.wait()
        return x

    code, options = shaped(shape, body)
    with way.open(code, world.clock, max_inputs=4, **options) as container:
        handles = [container.submit(x) for x in range(7)]
        world.wait_for(lambda: world.running == 4)
        assert container.counts() == Counts(running=4, queued=3)
        door.open()
        assert [handle.result() for handle in handles] == list(range(7))
        assert world.peak == 4


@pytest.mark.elsewhere
@in_every_shape_and_both_times
def test_slots_are_granted_in_the_order_of_coming(way, shape, world):
    door = world.door()

    async def body(x):
        with world.at_work(x):
            await door.wait()

    code, options = shaped(shape, body)
    with way.open(code, world.clock, **options) as container:
        handles = [container.submit(x) for x in range(8)]
        world.wait_for(lambda: world.running == 1)
        door.open()
        for handle in handles:
            handle.result()
        assert world.began == world.ended == list(range(8))
        events = container.events()
        if events is not None:
            assert events.inputs("granted") == events.inputs("queued")


@in_every_shape
def test_a_slot_that_comes_free_goes_to_the_first_in_line_in_the_same_step(way, shape, world):
    async def body(seconds):
        await world.sleep(seconds)

    code, options = shaped(shape, body)
    with way.open(code, world.clock, max_inputs=2, **options) as container:
        handles = [container.submit(seconds) for seconds in (1, 2, 3, 1, 2)]
        for handle in handles:
            handle.result()
        events = container.events()
        if events is None:
            return
        held, line = set(), []
        for event in events.of("queued", "granted", "settled"):
            if event.kind == "queued":
                line.append(event.input)
            elif event.kind == "granted":
                assert event.input == line.pop(0)
                held.add(event.input)
                assert len(held) <= 2
            else:
                held.discard(event.input)
        ends = [event.at for event in events.of("settled")]
        assert [event.at for event in events.of("granted")] == [0, 0, *ends[:3]]


@pytest.mark.elsewhere
@in_every_shape_and_both_times
def test_a_caller_that_submits_again_at_once_finds_the_slot_free(way, shape, world):
    async def body(x):
        return x

    code, options = shaped(shape, body)
    with way.open(code, world.clock, **options) as container:
        for x in range(50):
            assert container.submit(x).result() == x
            assert container.counts() == Counts(finished=x + 1)
        assert container.containers_started() == 1


@pytest.mark.parametrize("shape", ["function", "async function", "method", "async method"])
def test_a_lowered_limit_interrupts_nothing_and_a_raised_one_does_not_over_grant(way, shape, world):
    async def body(task):
        seconds, limit = task
        with world.at_work(task):
            if limit is not None:
                set_local_input_concurrency(limit)
            await world.sleep(seconds)
        return seconds

    code, options = shaped(shape, body)
    with way.open(code, world.clock, max_inputs=4, **options) as container:
        tasks = [(2, None), (3, None), (4, None), (5, 1), (1, None), (1, 3), (1, None), (1, None)]
        handles = [container.submit(task) for task in tasks]
        seen = []
        for _ in range(9):
            world.sleep_here(0)
            seen.append(world.running)
            assert container.counts().running == world.running
            world.sleep_here(1)
        # 4 run on under a limit of 1; when they have ended one runs, and one that
        # raises the limit to 3.
        assert seen == [4, 4, 3, 2, 1, 1, 3, 0, 0]
        assert [handle.result() for handle in handles] == [seconds for seconds, _ in tasks]
