"""Scaling alone: what the policy is asked, for how long its answer holds, and the back-off."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moorage.runtime.containers.container import ContainerState
from moorage.runtime.input import Kind
from moorage.runtime.pools.autoscaler import Decision, Fill, Limits, Observation
from moorage.runtime.pools.backlog import Backlog
from moorage.runtime.pools.fleet import Fleet
from moorage.runtime.pools.scaling import BACKOFF_FIRST, BACKOFF_MOST, INFINITE, Scaling, observe
from moorage.runtime.pools.tally import Tally

from .stand_ins import StillContainer, make_inputs, ready_container

LIMITS = Limits(target_inputs=2, max_inputs=3)


class Told:
    """A policy that says what the test told it to, and keeps what it saw."""

    shortest_stay = 10.0

    def __init__(self, decision: Decision) -> None:
        self.limits = LIMITS
        self.decision = decision
        self.seen: list[Observation] = []

    def decide(self, seen: Observation, /) -> Decision:
        self.seen.append(seen)
        return self.decision


def ask(scaling, fleet, backlog=None, now=0.0):
    return scaling.ask(now, fleet, backlog or Backlog(), Tally(), LIMITS)


def two_with_one_idle():
    """Two containers, of which the first holds two slots, and the second is idle since 1."""
    fleet = Fleet()
    busy, idle = ready_container(fleet, 1), ready_container(fleet, 2)
    fleet.grant(busy, "a", 0.0)
    fleet.grant(busy, "b", 0.0)
    while fleet.mark_idle(1.0) is not None:
        pass
    return fleet, busy, idle


# -- the back-off ---------------------------------------------------------------------


def test_the_first_failed_start_waits_for_nothing_and_each_further_one_twice_as_long():
    scaling = Scaling(LIMITS)
    scaling.start_failed(5.0)
    assert not scaling.backs_off(5.0)
    waits = []
    for _ in range(12):
        scaling.start_failed(5.0)
        waits.append(scaling.start_again_at - 5.0)
        assert scaling.backs_off(5.0)
        assert not scaling.backs_off(scaling.start_again_at)
    assert waits == pytest.approx([min(BACKOFF_FIRST * 2**n, BACKOFF_MOST) for n in range(12)])


def test_a_great_many_failed_starts_wait_for_the_longest_back_off():
    scaling = Scaling(LIMITS)
    for _ in range(5_000):
        scaling.start_failed(0.0)
    assert scaling.start_again_at == BACKOFF_MOST


def test_a_start_that_succeeds_ends_the_back_off_and_the_next_failure_is_a_first_one():
    scaling = Scaling(LIMITS)
    for _ in range(10):
        scaling.start_failed(0.0)
    scaling.started()
    assert not scaling.backs_off(0.0)
    scaling.start_failed(0.0)
    assert not scaling.backs_off(0.0)


def test_the_back_off_outlives_the_pool_and_the_answer_does_not():
    scaling = Scaling(LIMITS, Told(Decision(4, fill=Fill.TARGET)))
    ask(scaling, two_with_one_idle()[0])
    for _ in range(3):
        scaling.start_failed(0.0)
    limits = Limits(1, 1)
    scaling.begin(limits)
    assert scaling.backs_off(0.0)
    assert scaling.policy.limits is limits
    assert (scaling.wanted, scaling.bursts) == (0, True)
    assert (scaling.asked_with, scaling.asked_idle) == (INFINITE, 0)


# -- for how long an answer holds -----------------------------------------------------


def test_an_answer_holds_while_no_fewer_slots_are_held_and_no_more_containers_idle():
    scaling = Scaling(LIMITS, Told(Decision(2)))
    fleet, busy, idle = two_with_one_idle()
    ask(scaling, fleet)
    assert not scaling.may_shrink(fleet, None)
    fleet.release(busy, "a")
    assert scaling.may_shrink(fleet, None)
    ask(scaling, fleet)
    assert not scaling.may_shrink(fleet, None)
    fleet.release(busy, "b")
    fleet.grant(busy, "c", 2.0)
    assert not scaling.may_shrink(fleet, None)
    fleet.grant(idle, "d", 2.0)
    fleet.release(busy, "c")
    fleet.mark_idle(2.0)
    assert not scaling.may_shrink(fleet, None)
    fleet.release(idle, "d")
    fleet.mark_idle(3.0)
    assert scaling.may_shrink(fleet, None)


def test_without_an_idle_container_nothing_can_go():
    scaling = Scaling(LIMITS, Told(Decision(1)))
    fleet = Fleet()
    busy = ready_container(fleet)
    fleet.grant(busy, "a", 0.0)
    fleet.grant(busy, "b", 0.0)
    ask(scaling, fleet)
    fleet.release(busy, "a")
    assert not scaling.may_shrink(fleet, None)


def test_a_container_is_not_asked_about_before_its_shortest_stay_if_that_comes_in_any_case():
    scaling = Scaling(LIMITS, Told(Decision(2)))
    fleet, busy, _ = two_with_one_idle()
    ask(scaling, fleet)
    fleet.release(busy, "a")
    assert not scaling.may_shrink(fleet, 11.0)  # it is idle since 1, and stays for 10
    assert scaling.may_shrink(fleet, 11.5)


@pytest.mark.parametrize("was_asked", [True, False])
def test_what_was_answered_with_a_queue_holds_for_that_queue_only(was_asked):
    scaling = Scaling(LIMITS, Told(Decision(2, fill=Fill.TARGET)))
    fleet, _, _ = two_with_one_idle()
    backlog = Backlog()
    backlog.put(make_inputs(1))
    if was_asked:
        ask(scaling, fleet, backlog)
    else:
        scaling.not_asked(fleet, backlog)
    assert scaling.asked_with == INFINITE
    assert scaling.may_shrink(fleet, None)
    assert scaling.bursts is not was_asked


# -- what the policy sees -------------------------------------------------------------


def test_the_policy_sees_batches_and_those_outside_too():
    fleet, _, _ = two_with_one_idle()
    fleet.add(StillContainer(3))
    backlog, tally = Backlog(most=3, size=2), Tally()
    backlog.put(make_inputs(3))
    backlog.stand_outside(make_inputs(2))
    tally.granted, tally.busy_seconds = 6, -4.0
    seen = observe(10.0, fleet, backlog, tally, LIMITS)
    assert (seen.queued, seen.running, seen.ready, seen.starting) == (3, 2, 2, 1)
    assert (seen.arrivals, seen.completions) == (9, 4)
    assert seen.busy_seconds == 16.0
    assert seen.idle_since == (1.0,)


def test_slots_that_a_lowered_limit_or_a_blocked_loop_takes_away_are_withheld():
    fleet, busy, idle = two_with_one_idle()
    fleet.release(busy, "a")
    fleet.resize(busy, 1)
    assert observe(2.0, fleet, Backlog(), Tally(), LIMITS).withheld == 1
    fleet.block(idle)
    backlog = Backlog()
    assert observe(2.0, fleet, backlog, Tally(), LIMITS).withheld == 1
    backlog.put(make_inputs(1, Kind.ASYNC))
    assert observe(2.0, fleet, backlog, Tally(), LIMITS).withheld == 3


def test_what_drains_counts_as_warm_unless_it_takes_no_more():
    fleet, busy, _ = two_with_one_idle()
    fleet.move(busy, ContainerState.DRAINING)
    assert observe(2.0, fleet, Backlog(), Tally(), LIMITS).draining == 1
    busy.takes_no_more = True
    assert observe(2.0, fleet, Backlog(), Tally(), LIMITS).draining == 0


def test_inputs_of_a_container_that_takes_no_more_are_no_load():
    fleet, busy, _ = two_with_one_idle()
    fleet.move(busy, ContainerState.DRAINING)
    assert observe(2.0, fleet, Backlog(), Tally(), LIMITS).running == 2
    busy.takes_no_more = True
    assert observe(2.0, fleet, Backlog(), Tally(), LIMITS).running == 0


@given(outcomes=st.lists(st.tuples(st.booleans(), st.floats(0.0, 60.0)), max_size=30))
def test_the_back_off_depends_on_the_failures_since_the_last_success_only(outcomes):
    scaling, now, failures, again = Scaling(LIMITS), 0.0, 0, 0.0
    for good, seconds in outcomes:
        now += seconds
        if good:
            scaling.started()
            failures, again = 0, 0.0
        else:
            scaling.start_failed(now)
            failures += 1
            if failures > 1:
                again = now + min(BACKOFF_FIRST * 2.0 ** (failures - 2), BACKOFF_MOST)
        assert scaling.backs_off(now) == (again > now)
        assert not scaling.backs_off(max(again, now))
