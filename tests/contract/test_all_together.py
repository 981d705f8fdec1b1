"""Everything at once, by chance and by many threads: the counts add up."""

from __future__ import annotations

import random
from collections import Counter

import pytest

import moorage
from moorage.exception import FunctionTimeoutError, InputCancelledError

from .ways import Counts
from .work import Mine, in_every_shape, shaped


@in_every_shape
@pytest.mark.parametrize("seed", range(3))
def test_every_input_ends_in_exactly_one_way_and_every_slot_comes_back(way, shape, world, seed):
    """200 inputs that return, raise, run out of time or are cancelled at any moment."""
    chance = random.Random(seed)
    limit = chance.choice([1, 2, 5])
    fates = Counter()

    async def body(task):
        _, seconds, fails = task
        with world.at_work(task):
            for _ in range(3):
                await world.sleep(seconds / 3)
                moorage.check_cancelled()
            if fails:
                raise Mine(1, detail=None)
        return task[0]

    code, options = shaped(shape, body)
    if "batch" in options:
        options["batch"] = (chance.choice([1, 1, 4]), 100)
    with way.open(code, world.clock, max_inputs=limit, timeout=5, **options) as container:
        handles = []
        for number in range(200):
            seconds = chance.choice([0, 0, 0.3, 0.6, 3, 9])
            handles.append(container.submit((number, seconds, chance.random() < 0.2)))
            if chance.random() < 0.4:
                world.sleep_here(chance.choice([0, 0.1, 1]))
            if chance.random() < 0.3:
                chance.choice(handles).cancel()
            if chance.random() < 0.1:
                for handle in chance.sample(handles, min(5, len(handles))):
                    handle.cancel()
            seen = container.counts()
            assert seen.running + seen.queued + seen.settled - seen.abandoned == len(handles)
            assert seen.peak <= limit
        for number, handle in enumerate(handles):
            try:
                assert handle.result() == number
                fates["finished"] += 1
            except InputCancelledError:
                fates["cancelled"] += 1
            except (Mine, FunctionTimeoutError):
                fates["failed"] += 1
        world.sleep_here(10)  # for threads whose callers were answered
        assert container.counts() == Counts(**fates)
        assert sum(fates.values()) == 200
        assert min(fates.values()) > 5
        assert world.running == 0
        if "batch" not in options:
            assert len(set(world.began)) == len(world.began) == len(world.ended)
        events = container.events()
        if events is not None:
            assert Counter(events.inputs("settled")).most_common(1)[0][1] == 1
            assert len(events.of("settled")) == 200
            if "batch" not in options:
                by_fate = Counter(event.detail for event in events.of("settled"))
                assert by_fate["result"] == fates["finished"]
                assert by_fate["cancelled"] == fates["cancelled"]
        # All slots are there: as many run at once as ever.
        again = [container.submit((x, 1, False)) for x in range(limit)]
        world.sleep_here(0)
        if "batch" not in options:
            assert world.running == limit
        for handle in again:
            handle.result()


@pytest.mark.elsewhere
@pytest.mark.parametrize("world", ["real"], indirect=True)
@in_every_shape
def test_many_threads_may_submit_and_cancel_at_once(way, shape, world, in_threads, often_switching):
    async def body(x):
        with world.at_work(x):
            if x % 5 == 0:
                raise Mine(x, detail=None)
        return x

    code, options = shaped(shape, body)
    with way.open(code, world.clock, max_inputs=4, **options) as container:

        def call(first):
            fates = Counter()
            for x in range(first, first + 40):
                handle = container.submit(x)
                if x % 3 == 0:
                    handle.cancel()
                try:
                    assert handle.result() == x
                    fates["finished"] += 1
                except InputCancelledError:
                    fates["cancelled"] += 1
                except Mine:
                    fates["failed"] += 1
            return fates

        callers = [in_threads(call, 1000 * number) for number in range(4)]
        fates = sum((caller.result() for caller in callers), Counter())
        world.wait_until(lambda: container.counts().running == 0)
        assert container.counts() == Counts(**fates)
        assert world.peak <= 4
        assert container.containers_started() == 1
