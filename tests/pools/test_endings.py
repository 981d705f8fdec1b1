"""Endings alone: who is late, and when a container is given up."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moorage.runtime.input import InputState
from moorage.runtime.outcome import Cancelled
from moorage.runtime.pools.endings import ALL_ABANDONED, Endings

from .stand_ins import StillContainer, make_input, make_inputs, run, settle

CANCELLED = Cancelled("by hand")
PATIENCE = 30.0


def tell(endings, input, when, outcome=CANCELLED, **options):
    input.cancellation = outcome
    endings.expect(input, outcome, when, **options)


@pytest.fixture
def endings():
    return Endings()


def test_an_input_that_still_runs_is_late_when_its_time_is_over(endings):
    input = run(make_input())
    tell(endings, input, 5.0)
    assert endings.next_overdue() == 5.0
    assert endings.overdue(4.9) == ([], [])
    late, passed = endings.overdue(5.0)
    assert late == [(input, CANCELLED, False)]
    assert len(passed) == 1
    assert endings.next_overdue() is None


def test_an_input_that_has_ended_is_not_late_and_is_handed_out(endings):
    input = run(make_input())
    tell(endings, input, 5.0)
    settle(input)
    late, passed = endings.overdue(5.0)
    assert late == []
    assert input in passed[0]


def test_an_input_that_is_tried_again_by_now_is_not_late(endings):
    input = run(make_input())
    tell(endings, input, 5.0)
    input.state = InputState.WAITING
    input.cancellation = None
    input.state = InputState.QUEUED
    run(input)
    assert endings.overdue(5.0)[0] == []


def test_an_input_that_was_told_twice_is_late_with_the_last_outcome(endings):
    input, last = run(make_input()), Cancelled("again")
    tell(endings, input, 5.0)
    tell(endings, input, 5.0, last, extended=True)
    assert endings.overdue(5.0)[0] == [(input, last, True)]


@given(times=st.lists(st.sampled_from([1.0, 2.0, 3.0, 4.0]), max_size=12))
def test_late_inputs_come_by_their_times_and_then_in_the_order_in_which_they_were_told(times):
    endings = Endings()
    told = [(when, run(input)) for when, input in zip(times, make_inputs(len(times)), strict=True)]
    for when, input in told:
        tell(endings, input, when)
    for now in (2.0, 4.0):
        due = sorted((pair for pair in told if pair[0] <= now), key=lambda pair: pair[0])
        assert [input for input, _, _ in endings.overdue(now)[0]] == [input for _, input in due]
        told = [pair for pair in told if pair[0] > now]


def abandon(endings, container, times):
    for now, input in zip(times, make_inputs(len(times)), strict=True):
        container.slots.acquire_nowait(run(input), now)
        input.state = InputState.ABANDONED
        endings.abandon(input, now)


def test_a_container_without_abandoned_inputs_is_not_given_up(endings):
    container = StillContainer(limit=2)
    container.slots.acquire_nowait(run(make_input()), 0.0)
    assert endings.give_up_at(container, PATIENCE) is None
    assert endings.abandoned_in(container) == 0


def test_a_container_is_given_up_when_its_first_abandoned_input_has_had_its_time(endings):
    container = StillContainer(limit=3)
    abandon(endings, container, [1.0, 2.0])
    assert endings.give_up_at(container, PATIENCE) == 1.0 + PATIENCE
    assert endings.abandoned_in(container) == 2


def test_a_container_full_of_abandoned_inputs_is_given_up_soon_after_the_last(endings):
    container = StillContainer(limit=2)
    abandon(endings, container, [1.0, 2.0])
    assert endings.give_up_at(container, PATIENCE) == 2.0 + ALL_ABANDONED
    assert endings.give_up_at(container, 0.5) == 1.5


def test_a_container_whose_limit_is_lowered_may_be_full_of_abandoned_inputs(endings):
    container = StillContainer(limit=3)
    abandon(endings, container, [1.0])
    container.slots.set_limit(1)
    assert endings.give_up_at(container, PATIENCE) == 1.0 + ALL_ABANDONED


def test_an_abandoned_input_that_has_ended_counts_no_more(endings):
    container = StillContainer(limit=2)
    abandon(endings, container, [1.0])
    [input] = container.slots.held
    endings.ended(input)
    assert endings.abandoned == {}
    assert endings.give_up_at(container, PATIENCE) is None
