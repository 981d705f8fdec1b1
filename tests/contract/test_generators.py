"""Generators: their items, and what becomes of one whose reader goes."""

from __future__ import annotations

import pytest

from .ways import Counts
from .work import Mine, both_kinds, in_both_times


def generator(kind, world, log, count=100):
    if kind == "sync":

        def run(x):
            try:
                with world.at_work(x):
                    for item in range(count):
                        yield (x, item)
            finally:
                log.append(f"closed {x}")

    else:

        async def run(x):
            try:
                with world.at_work(x):
                    for item in range(count):
                        yield (x, item)
            finally:
                log.append(f"closed {x}")

    return run


@pytest.mark.elsewhere
@in_both_times
@both_kinds
def test_the_items_of_a_generator_come_in_order_and_it_holds_one_slot(way, kind, world):
    log = world.notes()
    with way.open(generator(kind, world, log, 40), world.clock) as container:
        for x in range(3):
            assert list(container.stream(x)) == [(x, item) for item in range(40)]
            assert log[-1] == f"closed {x}"
            assert container.counts() == Counts(finished=x + 1)
        assert world.peak == 1


@pytest.mark.elsewhere
@in_both_times
@both_kinds
@pytest.mark.parametrize("ends", ["close", "drop"])
def test_closing_or_dropping_the_reader_closes_the_generator_and_gives_back_the_slot(
    way, kind, world, ends
):
    log = world.notes()
    with way.open(generator(kind, world, log), world.clock, max_inputs=2) as container:
        readers = [container.stream(x) for x in range(2)]
        assert [next(reader) for reader in readers] == [(0, 0), (1, 0)]
        assert container.counts() == Counts(running=2)
        if ends == "close":
            readers[0].close()
        readers[0] = None
        # Waits in the queue until the slot is back.
        third = container.stream(2)
        assert next(third) == (2, 0)
        assert log == ["closed 0"]
        assert next(readers[1]) == (1, 1)
        readers[1].close()
        third.close()
        world.wait_until(lambda: container.counts() == Counts(cancelled=3))
    assert sorted(log) == ["closed 0", "closed 1", "closed 2"]


@both_kinds
def test_an_error_of_a_generator_comes_after_its_items(way, kind, world):
    def fail():
        raise Mine(1, detail="late")

    if kind == "sync":

        def run(x):
            yield x
            fail()

    else:

        async def run(x):
            yield x
            fail()

    with way.open(run, world.clock) as container:
        items = container.stream(5)
        assert next(items) == 5
        with pytest.raises(Mine, match="late") as caught:
            next(items)
        assert caught.traceback[-1].name == "fail"
        assert container.counts() == Counts(failed=1)
