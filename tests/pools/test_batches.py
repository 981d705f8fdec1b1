"""Batches alone: when they are due, and who goes in which."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moorage.runtime.input import Kind, Target
from moorage.runtime.pools.backlog import Backlog
from moorage.runtime.pools.batches import Batches
from moorage.runtime.pools.batching import BatchOptions, members_of

from .stand_ins import make_inputs, settle

TARGET = Target("f", lambda: None, Kind.SYNC)


def make_batches(size=3, wait=2.0):
    return Batches(BatchOptions(TARGET, size, wait)), Backlog(size=size)


def put(backlog, count, now):
    inputs = make_inputs(count)
    for input in inputs:
        input.queued_at = now
    backlog.put(inputs)
    return inputs


def test_a_batch_is_due_when_its_first_member_has_waited():
    batches, backlog = make_batches()
    assert batches.due_at(backlog) is None
    put(backlog, 1, 5.0)
    put(backlog, 1, 6.0)
    assert batches.due_at(backlog) == 7.0


def test_a_full_batch_is_due_at_once():
    batches, backlog = make_batches()
    put(backlog, 3, 5.0)
    assert batches.due_at(backlog) == float("-inf")


def test_a_first_member_that_is_cancelled_gives_its_time_to_the_next():
    batches, backlog = make_batches()
    first, second = *put(backlog, 1, 5.0), *put(backlog, 1, 6.0)
    settle(first)
    backlog.discard(first)
    assert batches.due_at(backlog) == 8.0
    assert batches.form(backlog)[1] == [second]
    assert batches.due_at(backlog) is None


def test_a_batch_has_the_target_and_the_members_in_the_order_of_their_coming():
    batches, backlog = make_batches()
    inputs = put(backlog, 2, 0.0)
    batch, members = batches.form(backlog)
    assert batch.call.target is TARGET
    assert members_of(batch) == members == inputs


@pytest.mark.parametrize("kind", [Kind.SYNC, Kind.ASYNC])
def test_batches_say_of_which_kind_they_are(kind):
    target = Target("f", lambda: None, kind)
    assert Batches(BatchOptions(target, 3, 0.0)).is_async is kind.is_async


@given(size=st.integers(1, 4), cancelled=st.lists(st.booleans(), max_size=20))
def test_batches_take_the_whole_queue_in_order_and_only_the_last_is_not_full(size, cancelled):
    batches, backlog = make_batches(size)
    inputs = put(backlog, len(cancelled), 0.0)
    for input, is_cancelled in zip(inputs, cancelled, strict=True):
        if is_cancelled:
            settle(input)
            backlog.discard(input)
    left = [i for i, is_cancelled in zip(inputs, cancelled, strict=True) if not is_cancelled]
    formed = []
    while batches.due_at(backlog) is not None:
        formed.append(batches.form(backlog)[1])
    assert [member for members in formed for member in members] == left
    assert [len(members) for members in formed[:-1]] == [size] * (len(formed) - 1)
    assert all(formed)
