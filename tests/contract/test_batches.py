"""Batches: one slot for several inputs."""

from __future__ import annotations

import pytest

from moorage.exception import InputCancelledError

from .ways import Counts
from .work import Mine, both_kinds, drive


def batches(kind, work):
    if kind == "sync":

        def run(xs):
            return drive(work(xs))

    else:

        async def run(xs):
            return await work(xs)

    return run


@both_kinds
def test_a_batch_takes_one_slot_and_its_members_their_own_results(way, kind, world):
    sizes = []

    async def work(xs):
        with world.at_work(tuple(xs)):
            sizes.append(len(xs))
            await world.sleep(1)
        return [10 * x for x in xs]

    with way.open(batches(kind, work), world.clock, max_inputs=2, batch=(3, 500)) as container:
        handles = [container.submit(x) for x in range(10)]
        world.sleep_here(0)
        assert (world.running, container.counts().running) == (2, 6)
        assert [handle.result() for handle in handles] == [10 * x for x in range(10)]
        assert (world.peak, container.counts().peak) == (2, 2)
        assert sorted(sizes) == [1, 3, 3, 3]
        assert world.clock.now() == 2
        assert [x for batch in sorted(world.began) for x in batch] == list(range(10))


@both_kinds
def test_members_of_a_failed_batch_get_errors_that_can_be_raised_independently(way, kind, world):
    async def work(xs):
        raise Mine(7, detail=list(xs))

    with way.open(batches(kind, work), world.clock, batch=(3, 500)) as container:
        handles = [container.submit(x) for x in range(3)]
        errors = []
        for handle in handles:
            with pytest.raises(Mine) as caught:
                handle.result()
            errors.append(caught.value)
        assert [error.code for error in errors] == [7, 7, 7]
        assert len({id(error) for error in errors}) == 3
        assert container.counts() == Counts(failed=3)


@both_kinds
def test_a_member_that_is_cancelled_leaves_its_batch_to_the_others(way, kind, world):
    async def work(xs):
        with world.at_work(tuple(xs)):
            await world.sleep(1)
        return xs

    with way.open(batches(kind, work), world.clock, batch=(3, 500)) as container:
        handles = [container.submit(x) for x in range(5)]
        world.sleep_here(0)
        handles[1].cancel()
        handles[4].cancel()
        for x in (1, 4):
            assert handles[x].done()
        assert container.counts() == Counts(running=3, queued=1, cancelled=2, abandoned=1)
        assert [handles[x].result() for x in (0, 2, 3)] == [0, 2, 3]
        assert world.began == [(0, 1, 2), (3,)]
        assert container.counts() == Counts(finished=3, cancelled=2)


@both_kinds
def test_a_batch_of_which_all_are_cancelled_gives_its_slot_to_the_next(way, kind, world):
    async def work(xs):
        with world.at_work(tuple(xs)):
            await world.sleep(1)
        return xs

    with way.open(batches(kind, work), world.clock, batch=(2, 0)) as container:
        handles = [container.submit(x) for x in range(3)]
        world.sleep_here(0)
        for handle in handles[:2]:
            handle.cancel()
        assert handles[2].result() == 2
        assert world.clock.now() == (1 if kind == "async" else 2)
        for handle in handles[:2]:
            with pytest.raises(InputCancelledError):
                handle.result()
        assert container.counts() == Counts(finished=1, cancelled=2)
