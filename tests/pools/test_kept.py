"""What is kept of the pools of one run, alone: by whom, for how long, and in the totals."""

from __future__ import annotations

import gc

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from moorage.runtime.pools.autoscaler import Limits
from moorage.runtime.pools.kept import LOOKED_AT, Kept, Memory
from moorage.runtime.pools.tally import Tally

LIMITS = Limits(1, 1)


class Key:
    """The key of a pool, for as long as somebody has a handle."""

    def __init__(self, family: str = "f") -> None:
        self.family = family


def accepted(kept, count):
    kept.tally.accepted += count


def total(memory: Memory, family: object) -> Tally:
    """The counts of all keys of a family, those that fell out too."""
    counted = memory.fallen(family)
    for _, kept in memory.of_family(family):
        counted.add(kept.tally)
    return counted


def test_a_key_has_one_memory_from_pool_to_pool():
    memory, key = Memory(), Key()
    kept = memory.of(key, LIMITS, "f", 0.0)
    assert memory.of(key, LIMITS, "f", 0.0) is memory.find(key) is kept
    assert memory.find(Key()) is None


def test_the_memory_that_was_used_longest_ago_falls_out():
    memory = Memory(most=2)
    kept = {key: memory.of(key, LIMITS, "f", 0.0) for key in "ab"}
    memory.of("a", LIMITS, "f", 0.0)
    memory.of("c", LIMITS, "f", 0.0)
    assert memory.find("a") is kept["a"]
    assert memory.find("b") is None


def test_a_memory_that_a_pool_uses_stays():
    memory = Memory(most=1)
    kept = memory.of("a", LIMITS, "f", 0.0)
    kept.in_use = True
    for key in "bcd":
        found = memory.of(key, LIMITS, "f", 0.0)
        assert memory.find(key) is found, "a new one does not fall out for itself"
    assert memory.find("a") is kept


def test_a_memory_whose_starts_are_backed_off_stays_until_they_are_not():
    memory = Memory(most=1)
    kept = memory.of("a", LIMITS, "f", 0.0)
    kept.scaling.start_failed(0.0)
    kept.scaling.start_failed(0.0)
    again = kept.scaling.start_again_at
    memory.of("b", LIMITS, "f", again / 2)
    assert memory.find("a") is kept
    memory.of("c", LIMITS, "f", again)
    memory.of("d", LIMITS, "f", again)
    assert memory.find("a") is None


def test_a_memory_is_found_again_while_somebody_has_a_handle():
    memory, key = Memory(most=1), Key()
    kept = memory.of(key, LIMITS, "f", 0.0)
    memory.of("b", LIMITS, "f", 0.0)
    assert memory.find(key) is kept
    assert memory.of(key, LIMITS, "f", 0.0) is kept


def test_a_memory_without_handle_is_gone_and_its_counts_are_not():
    memory, key = Memory(most=1), Key()
    accepted(memory.of(key, LIMITS, "f", 0.0), 3)
    memory.of("b", LIMITS, "g", 0.0)
    del key
    gc.collect()
    assert total(memory, "f").accepted == 3
    assert len(memory._of_handles) == 0


def test_a_memory_that_is_taken_back_counts_once():
    memory, key = Memory(most=1), Key()
    accepted(memory.of(key, LIMITS, "f", 0.0), 3)
    memory.of("b", LIMITS, "f", 0.0)
    accepted(memory.of(key, LIMITS, "f", 0.0), 1)
    assert total(memory, "f").accepted == 4


def test_one_new_key_looks_at_a_few_others_however_many_are_in_use():
    memory = Memory(most=1)
    looks = 0

    class Watched(Kept):
        @property
        def in_use(self):
            nonlocal looks
            looks += 1
            return True

        @in_use.setter
        def in_use(self, in_use):
            pass

    for key in range(100):
        memory._kept[key] = Watched(LIMITS)
    memory.of("new", LIMITS, "f", 0.0)
    assert looks <= LOOKED_AT


class MemoryMachine(RuleBasedStateMachine):
    """Pools come and go, handles too, and every count stays in the totals."""

    @initialize(most=st.integers(1, 3))
    def begin(self, most: int) -> None:
        self.most = most
        self.most_kept = 0  # after the last use; only a new key makes room
        self.memory = Memory(most)
        self.handles: list[Key] = []
        self.used: dict[Key, Kept] = {}
        self.counted = {"f": 0, "g": 0}
        # What must be found as long as there is a handle: the memory of each key.
        self.known: dict[Key, Kept] = {}

    # So few that one new key looks at all of them: see `LOOKED_AT`.
    @precondition(lambda self: len(self.handles) < 8)
    @rule(family=st.sampled_from("fg"))
    def make_handle(self, family: str) -> None:
        self.handles.append(Key(family))

    @precondition(lambda self: self.handles)
    @rule(index=st.integers(0, 20), count=st.integers(0, 3))
    def use(self, index: int, count: int) -> None:
        key = self.handles[index % len(self.handles)]
        kept = self.memory.of(key, LIMITS, key.family, 0.0)
        others = {other for other in self.used if other is not key}
        assert len(self.memory._kept) <= max(self.most, len(others) + 1, self.most_kept)
        self.most_kept = len(self.memory._kept)
        assert self.known.setdefault(key, kept) is kept
        kept.in_use = True
        self.used[key] = kept
        accepted(kept, count)
        kept.tally.batch_granted(1 + count, 0.0)
        self.counted[key.family] += count

    @precondition(lambda self: self.used)
    @rule(index=st.integers(0, 20))
    def retire(self, index: int) -> None:
        key = list(self.used)[index % len(self.used)]
        self.used.pop(key).in_use = False

    @precondition(lambda self: self.handles)
    @rule(index=st.integers(0, 20))
    def drop_handle(self, index: int) -> None:
        key = self.handles[index % len(self.handles)]
        if key not in self.used:
            self.handles.remove(key)
            self.known.pop(key, None)

    @invariant()
    def what_is_used_or_has_a_handle_is_found(self) -> None:
        for key, kept in self.known.items():
            assert self.memory.find(key) is kept

    @invariant()
    def no_count_is_lost(self) -> None:
        for family, count in self.counted.items():
            counted = total(self.memory, family)
            assert counted.accepted == count
            assert all(counted.batches.values())


TestMemoryMachine = MemoryMachine.TestCase
