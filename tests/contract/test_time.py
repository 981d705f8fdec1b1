"""Timeouts and retries."""

from __future__ import annotations

import pytest

import moorage
from moorage import Retries
from moorage.exception import FunctionTimeoutError, InputCancelledError, QueueTimeoutError

from .ways import Counts
from .work import ASYNC, Mine, in_every_shape, shaped


@in_every_shape
def test_a_timeout_counts_from_the_grant_of_the_slot(way, shape, world):
    async def body(seconds):
        with world.at_work(seconds):
            await world.sleep(seconds)
        return seconds

    code, options = shaped(shape, body)
    with way.open(code, world.clock, timeout=3, **options) as container:
        handles = [container.submit(seconds) for seconds in (2, 2, 2, 3.5, 2)]
        began = world.clock.now()
        assert [handle.result() for handle in handles[:3]] == [2, 2, 2]
        with pytest.raises(FunctionTimeoutError):
            handles[3].result()
        assert world.clock.now() - began == 9
        assert handles[4].result() == 2
        # An asynchronous input is out of its slot when it is cancelled; a thread
        # works on to its end.
        assert world.clock.now() - began == (11 if shape in ASYNC else 11.5)
        assert container.counts() == Counts(finished=4, failed=1)


@in_every_shape
def test_who_waits_too_long_in_the_queue_never_runs(way, shape, world):
    async def body(x):
        with world.at_work(x):
            await world.sleep(3)
        return x

    code, options = shaped(shape, body)
    with way.open(code, world.clock, queue_timeout=4, **options) as container:
        handles = [container.submit(x) for x in range(3)]
        assert handles[0].result() == 0
        with pytest.raises(QueueTimeoutError):
            handles[2].result()
        assert world.clock.now() == 4
        assert handles[1].result() == 1
        assert world.began == [0, 1]
        assert container.counts() == Counts(finished=2, failed=1)


@in_every_shape
def test_a_retry_has_the_same_ids_and_its_pause_holds_no_slot(way, shape, world):
    ids, at = [], []

    async def body(x):
        with world.at_work(x):
            if x == "other":
                await world.sleep(0.5)
                return x
            ids.append((moorage.current_input_id(), moorage.current_function_call_id()))
            at.append(world.clock.now())
            if len(ids) < 3:
                raise Mine(len(ids), detail=None)
        return x

    code, options = shaped(shape, body)
    policy = Retries(max_retries=2, backoff_coefficient=2.0, initial_delay=1.0)
    with way.open(code, world.clock, retries=policy, **options) as container:
        handles = [container.submit(x) for x in ("flaky", "other", "other")]
        world.sleep_here(0)
        assert container.counts() == Counts(running=1, queued=1, waiting=1)
        assert handles[0].result() == "flaky"
        assert at == [0, 1, 3]
        assert len(set(ids)) == 1
        assert [handle.result() for handle in handles[1:]] == ["other", "other"]
        assert container.counts() == Counts(finished=3)


@in_every_shape
def test_what_was_cancelled_is_not_tried_again(way, shape, world):
    async def body(x):
        with world.at_work(x):
            raise Mine(1, detail=x)

    code, options = shaped(shape, body)
    policy = Retries(max_retries=5, backoff_coefficient=1.0, initial_delay=10.0)
    with way.open(code, world.clock, retries=policy, **options) as container:
        handle = container.submit(1)
        world.sleep_here(1)
        assert container.counts() == Counts(waiting=1)
        handle.cancel()
        with pytest.raises(InputCancelledError):
            handle.result()
        world.sleep_here(100)
        assert len(world.began) == 1
        assert container.counts() == Counts(cancelled=1)
