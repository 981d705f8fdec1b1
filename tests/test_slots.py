"""Slots, alone and against a model: never over the limit, each lease back exactly once."""

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from moorage.runtime.containers.slots import SlotError, Slots


def test_acquire_beyond_the_limit_is_refused_and_changes_nothing():
    slots = Slots(2)
    slots.acquire_nowait("a", 0.0)
    slots.acquire_nowait("b", 1.0)
    with pytest.raises(SlotError):
        slots.acquire_nowait("c", 2.0)
    assert list(slots.held) == ["a", "b"]
    assert repr(slots) == "<Slots 2 of 2 held, peak 2>"


def test_a_second_acquire_by_the_same_holder_is_refused():
    slots = Slots(2)
    slots.acquire_nowait("a", 0.0)
    with pytest.raises(SlotError):
        slots.acquire_nowait("a", 1.0)
    assert slots.held == {"a": 0.0}


def test_a_double_release_is_refused_and_changes_nothing():
    slots = Slots(2)
    slots.acquire_nowait("a", 0.0)
    slots.acquire_nowait("b", 0.0)
    slots.release("a")
    with pytest.raises(SlotError):
        slots.release("a")
    assert list(slots.held) == ["b"]


def test_slots_shrink_below_held_then_grow():
    slots = Slots(4)
    for holder in "abcd":
        slots.acquire_nowait(holder, 0.0)
    slots.set_limit(1)
    slots.set_limit(4)  # the state, not the change, decides: nothing is free
    assert slots.free == 0
    slots.set_limit(2)
    slots.release("a")
    assert slots.free == 0
    slots.release("b")
    slots.release("c")
    assert slots.free == 1


def test_the_limit_stays_between_one_and_the_maximum():
    slots = Slots(3)
    slots.set_limit(99)
    assert slots.limit == 3
    slots.set_limit(0)
    assert slots.limit == 1


class SlotsModel(RuleBasedStateMachine):
    """Drives slots in random order beside a plain list of holders."""

    def __init__(self) -> None:
        super().__init__()
        self.slots = Slots(8)
        self.limit = 8
        self.holders: list[int] = []
        self.peak = 0
        self.serial = 0

    @rule()
    def acquire(self) -> None:
        self.serial += 1
        if len(self.holders) < self.limit:
            self.slots.acquire_nowait(self.serial, float(self.serial))
            self.holders.append(self.serial)
            self.peak = max(self.peak, len(self.holders))
        else:
            with pytest.raises(SlotError):
                self.slots.acquire_nowait(self.serial, float(self.serial))

    @precondition(lambda self: self.holders)
    @rule(index=st.integers(0, 7))
    def release(self, index: int) -> None:
        holder = self.holders.pop(index % len(self.holders))
        self.slots.release(holder)
        with pytest.raises(SlotError):
            self.slots.release(holder)

    @rule(limit=st.integers(-1, 10))
    def resize(self, limit: int) -> None:
        self.slots.set_limit(limit)
        self.limit = max(1, min(8, limit))

    @invariant()
    def agrees(self) -> None:
        assert list(self.slots.held) == self.holders, "in the order of the grants"
        assert self.slots.limit == self.limit
        assert self.slots.free == max(0, self.limit - len(self.holders))
        assert self.slots.peak == self.peak


TestSlotsModel = SlotsModel.TestCase
TestSlotsModel.settings = settings(max_examples=200, stateful_step_count=50, deadline=None)
