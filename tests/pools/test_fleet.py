"""The fleet alone: its counts are those of its containers, whatever happened to them."""

from __future__ import annotations

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from moorage.runtime.containers.container import CONTAINER_MOVES, ContainerState
from moorage.runtime.containers.slots import SlotError
from moorage.runtime.input import IllegalMove
from moorage.runtime.pools.fleet import Fleet

from .stand_ins import StillContainer, ready_container

STARTING, READY = ContainerState.STARTING, ContainerState.READY
DRAINING, STOPPING = ContainerState.DRAINING, ContainerState.STOPPING
STOPPED = ContainerState.STOPPED


@pytest.fixture
def fleet():
    return Fleet()


def rest(fleet, now):
    """Count what is idle; return the containers that can stop."""
    ended = []
    while (container := fleet.mark_idle(now)) is not None:
        ended.append(container)
    return ended


def test_an_illegal_move_is_refused_and_changes_nothing(fleet):
    container = ready_container(fleet)
    with pytest.raises(IllegalMove):
        fleet.move(container, STOPPING)
    assert container.state is READY
    assert repr(fleet) == "<Fleet: 1 ready, 0 starting, 0 slots held, 2 free>"


def test_a_grant_without_a_free_slot_is_refused_and_changes_nothing(fleet):
    container = ready_container(fleet, limit=1)
    fleet.grant(container, "a", 0.0)
    with pytest.raises(SlotError):
        fleet.grant(container, "b", 0.0)
    assert repr(fleet) == "<Fleet: 1 ready, 0 starting, 1 slots held, 0 free>"


def test_a_container_is_idle_from_the_rest_after_its_last_slot_came_back(fleet):
    container = ready_container(fleet)
    assert container.idle_since is None
    assert rest(fleet, 1.0) == []
    assert (container.idle_since, fleet.idle, fleet.longest_idle) == (1.0, 1, 1.0)
    assert fleet.grant(container, "a", 2.0)
    assert not fleet.grant(container, "b", 2.0)
    assert (container.idle_since, fleet.idle, fleet.longest_idle) == (None, 0, None)
    fleet.release(container, "a")
    fleet.release(container, "b")
    rest(fleet, 3.0)
    assert (container.idle_since, fleet.idle, fleet.longest_idle) == (3.0, 1, 3.0)


def test_a_container_that_has_an_input_again_before_the_rest_is_not_idle(fleet):
    container = ready_container(fleet)
    fleet.grant(container, "a", 0.0)
    assert rest(fleet, 1.0) == []
    assert (container.idle_since, fleet.idle, fleet.longest_idle) == (None, 0, None)


def test_a_container_emptied_twice_is_idle_since_the_rest_that_first_met_it(fleet):
    idle, drains = ready_container(fleet, 1), ready_container(fleet, 2)
    fleet.grant(drains, "a", 0.0)
    fleet.move(drains, DRAINING)
    rest(fleet, 0.0)
    for _ in range(2):
        fleet.grant(idle, "b", 0.0)
        fleet.release(idle, "b")
        if not drains.slots.held:
            break
        fleet.release(drains, "a")
    # The rest stops at what drains, between the two that are the same container.
    assert fleet.mark_idle(1.0) is drains
    assert fleet.mark_idle(2.0) is None
    assert (idle.idle_since, fleet.idle, fleet.longest_idle) == (1.0, 1, 1.0)


def test_what_drains_can_stop_when_its_last_slot_came_back(fleet):
    container = ready_container(fleet)
    fleet.grant(container, "a", 0.0)
    fleet.move(container, DRAINING)
    assert fleet.free == 0
    assert fleet.warm() == [container]
    assert rest(fleet, 0.0) == []
    fleet.release(container, "a")
    assert rest(fleet, 1.0) == [container]


def test_what_drains_and_takes_no_more_is_not_taken_back(fleet):
    container = ready_container(fleet)
    fleet.grant(container, "a", 0.0)
    fleet.move(container, DRAINING)
    container.takes_no_more = True
    assert fleet.warm() == []


def test_a_resize_below_what_is_held_frees_nothing_until_enough_came_back(fleet):
    container = ready_container(fleet, limit=3)
    for holder in "abc":
        fleet.grant(container, holder, 0.0)
    fleet.resize(container, 1)
    assert (container.target, fleet.free) == (1, 0)
    fleet.release(container, "a")
    fleet.release(container, "b")
    assert fleet.free == 0
    fleet.release(container, "c")
    assert fleet.free == 1


def test_a_blocked_loop_leaves_its_slots_to_synchronous_inputs(fleet):
    blocked, other = ready_container(fleet, 1), ready_container(fleet, 2, limit=3)
    fleet.block(blocked)
    fleet.block(blocked)
    assert (fleet.usable(False), fleet.usable(True)) == (5, 3)
    assert fleet.unblocked() == [other]
    fleet.unblock(blocked)
    assert fleet.usable(True) == 3
    fleet.unblock(blocked)
    assert fleet.usable(True) == 5


def test_of_containers_idle_for_equally_long_the_youngest_comes_first(fleet):
    first = ready_container(fleet, 1)
    rest(fleet, 1.0)
    others = [ready_container(fleet, number) for number in (2, 3)]
    rest(fleet, 2.0)
    assert fleet.longest_idle_first() == [first, others[1], others[0]]


class FleetMachine(RuleBasedStateMachine):
    """Any legal moves, grants, returns, resizes and blocked loops; all is counted again."""

    def __init__(self) -> None:
        super().__init__()
        self.fleet = Fleet()
        self.all: list[StillContainer] = []
        self.blocked: list[StillContainer] = []
        self.holders = 0
        self.now = 0.0
        self.became_ready: list[StillContainer] = []

    def held(self) -> list[tuple[StillContainer, int]]:
        return [(container, holder) for container in self.all for holder in container.slots.held]

    @rule(limit=st.integers(1, 3))
    def add(self, limit: int) -> None:
        container = StillContainer(len(self.all) + 1, limit)
        self.all.append(container)
        self.fleet.add(container)

    @precondition(lambda self: self.all)
    @rule(index=st.integers(0, 20), state=st.sampled_from(list(ContainerState)))
    def move(self, index: int, state: ContainerState) -> None:
        container = self.all[index % len(self.all)]
        if state not in CONTAINER_MOVES[container.state]:
            with pytest.raises(IllegalMove):
                self.fleet.move(container, state)
            return
        self.fleet.move(container, state)
        if container in self.became_ready:
            self.became_ready.remove(container)
        if state is READY:
            self.became_ready.append(container)

    @precondition(lambda self: any(c.slots.free for c in self.fleet.ready))
    @rule(index=st.integers(0, 20))
    def grant(self, index: int) -> None:
        free = [container for container in self.fleet.ready if container.slots.free]
        container = free[index % len(free)]
        was_idle = container.idle_since is not None
        self.holders += 1
        assert self.fleet.grant(container, self.holders, self.now) == was_idle

    @precondition(lambda self: self.held())
    @rule(index=st.integers(0, 20))
    def give_back(self, index: int) -> None:
        found = self.held()
        self.fleet.release(*found[index % len(found)])

    @precondition(lambda self: self.all)
    @rule(index=st.integers(0, 20), limit=st.integers(0, 4))
    def resize(self, index: int, limit: int) -> None:
        self.fleet.resize(self.all[index % len(self.all)], limit)

    @precondition(lambda self: self.all)
    @rule(index=st.integers(0, 20))
    def block(self, index: int) -> None:
        self.blocked.append(self.all[index % len(self.all)])
        self.fleet.block(self.blocked[-1])

    @precondition(lambda self: self.blocked)
    @rule(index=st.integers(0, 20))
    def unblock(self, index: int) -> None:
        self.fleet.unblock(self.blocked.pop(index % len(self.blocked)))

    @rule(seconds=st.sampled_from([0.0, 1.0]))
    def rest(self, seconds: float) -> None:
        self.now += seconds
        while (container := self.fleet.mark_idle(self.now)) is not None:
            assert container.state is DRAINING
            assert not container.slots.held
            self.fleet.move(container, STOPPING)
            self.now += seconds  # time goes on between two of them
        assert not self.fleet.emptied

    @invariant()
    def all_counts_are_those_of_a_recount(self) -> None:
        fleet = self.fleet
        there = [c for c in self.all if c.state is not STOPPED]
        assert fleet.containers == there
        assert [c for c in self.all if c not in fleet.stopped] == there
        assert fleet.ready == self.became_ready
        assert fleet.starting == sum(c.state is STARTING for c in there)
        assert fleet.count == fleet.starting + len(fleet.ready)
        assert fleet.running == len(self.held())
        assert fleet.free == fleet.usable(False) == sum(c.slots.free for c in fleet.ready)
        unblocked = [c for c in fleet.ready if c not in self.blocked]
        assert fleet.usable(True) == sum(c.slots.free for c in unblocked)
        assert fleet.blocked == {c: self.blocked.count(c) for c in self.blocked}
        assert list(fleet.holders()) == [holder for c in there for holder in c.slots.held]
        assert fleet.warm() == [c for c in there if c.state is DRAINING]

    @invariant()
    def who_is_idle_is_ready_and_empty_and_was_looked_at(self) -> None:
        fleet = self.fleet
        for container in self.all:
            idle = container.state is READY and not container.slots.held
            assert (container.idle_since is not None) == (idle and container not in fleet.emptied)
        since = [c.idle_since for c in self.all if c.idle_since is not None]
        assert fleet.idle == len(since)
        assert fleet.longest_idle == min(since, default=None)
        assert [c.idle_since for c in fleet.longest_idle_first()] == sorted(since)


TestFleetMachine = FleetMachine.TestCase
