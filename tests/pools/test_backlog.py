"""The backlog alone: two lines in one order, a bound, and who stands outside."""

from __future__ import annotations

import random

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from moorage.runtime.input import Input, InputState, Kind
from moorage.runtime.pools.backlog import SHORT, Backlog

from .stand_ins import StillCall, make_input, make_inputs, settle

KINDS = (Kind.SYNC, Kind.ASYNC)


def is_async(input):
    return input.call.target.is_async


def put(backlog, *kinds):
    inputs = [make_input(kind) for kind in kinds]
    for input in inputs:
        backlog.put([input])
    return inputs


def cancel(backlog, input):
    settle(input)
    backlog.discard(input)
    backlog.returned.discard(input)  # as the pool does


def take_all(backlog):
    taken = []
    while (input := backlog.next()) is not None:
        taken.append(input)
    return taken


def test_inputs_of_both_kinds_come_in_the_order_in_which_they_were_put():
    backlog = Backlog()
    inputs = put(backlog, Kind.ASYNC, Kind.ASYNC, Kind.SYNC, Kind.ASYNC, Kind.SYNC)
    assert backlog.inputs() == inputs
    assert take_all(backlog) == inputs
    assert backlog.queued == 0


def test_a_synchronous_input_goes_around_asynchronous_ones():
    backlog = Backlog()
    first, second, third = put(backlog, Kind.ASYNC, Kind.SYNC, Kind.ASYNC)
    assert backlog.next_sync() is second
    assert backlog.next_sync() is None
    assert take_all(backlog) == [first, third]


def test_inputs_of_one_kind_need_no_tickets():
    backlog = Backlog()
    inputs = put(backlog, Kind.ASYNC, Kind.ASYNC)
    assert not any(hasattr(input, "ticket") for input in inputs)


def test_the_first_input_and_an_overdue_input_are_never_settled_ones():
    backlog = Backlog()
    inputs = put(backlog, Kind.ASYNC, Kind.SYNC, Kind.ASYNC)
    for now, input in zip((1.0, 2.0, 2.0), inputs, strict=True):
        input.queued_at = now
    assert backlog.overdue(6.0, 5.0) == (inputs[:1], 7.0)
    assert backlog.overdue(5.5, 5.0) == ([], 6.0)
    cancel(backlog, inputs[0])
    assert backlog.first() is inputs[1]
    assert backlog.overdue(7.0, 5.0) == (inputs[1:], None)


def test_inputs_that_are_put_back_are_first_in_their_order_and_have_no_deadline():
    backlog = Backlog(most=4)
    inputs = put(backlog, Kind.ASYNC, Kind.SYNC, Kind.ASYNC, Kind.SYNC)
    for input in inputs:
        input.queued_at = 1.0
    back = [backlog.next() for _ in range(3)]
    new = put(backlog, Kind.SYNC, Kind.ASYNC, Kind.SYNC)
    for input in new:
        input.queued_at = 2.0
    backlog.put_back(back)
    assert backlog.inputs() == [*back, inputs[3], *new]
    assert backlog.queued == 7, "beyond the bound"
    assert backlog.room(is_async=True, usable=0) == 0
    assert backlog.overdue(6.0, 5.0) == ([inputs[3]], 7.0), "they hide no input behind them"
    assert take_all(backlog) == [*back, inputs[3], *new]


def test_inputs_of_the_other_kind_are_put_back_into_a_queue_without_tickets():
    backlog = Backlog()
    (first,) = put(backlog, Kind.SYNC)
    assert backlog.next() is first
    others = put(backlog, Kind.ASYNC, Kind.ASYNC)
    assert not any(hasattr(input, "ticket") for input in others)
    backlog.put_back([first])
    assert backlog.inputs() == [first, *others]
    assert backlog.next() is first
    assert backlog.next() is others[0]
    backlog.put_back([first, others[0]])
    assert take_all(backlog) == [first, *others]


def test_a_line_that_is_short_keeps_its_settled_inputs_until_they_come_to_the_front():
    discarded: list[Input] = []
    backlog = Backlog(discarded=discarded)
    first, second = put(backlog, Kind.SYNC, Kind.SYNC)
    cancel(backlog, second)
    assert discarded == []
    assert backlog.next() is first
    assert backlog.next() is None
    assert discarded == [second]


class CountedInput(Input):
    """Counts how often anybody looks at its state."""

    __slots__ = ()
    looks = 0

    @property
    def state(self):
        CountedInput.looks += 1
        return Input.state.__get__(self, CountedInput)

    @state.setter
    def state(self, state):
        Input.state.__set__(self, state)


@pytest.mark.parametrize("order", ["from the front", "from the back", "at random"])
def test_to_cancel_n_queued_inputs_looks_at_each_a_few_times(order):
    count = 5_000
    discarded: list[Input] = []
    backlog, call = Backlog(discarded=discarded), StillCall()
    inputs = [CountedInput(call, index, (), None) for index in range(count)]
    backlog.put(inputs)
    if order == "from the back":
        inputs.reverse()
    elif order == "at random":
        random.Random(1).shuffle(inputs)
    CountedInput.looks = 0
    for input in inputs:
        cancel(backlog, input)
    # Half a line is looked through twice, then half of what is left of it, and so on.
    assert CountedInput.looks < 10 * count
    assert len(discarded) >= count - SHORT


def test_what_gets_a_slot_at_once_comes_in_though_the_queue_is_full_of_the_other_kind():
    backlog = Backlog(most=1)
    put(backlog, Kind.ASYNC)
    assert backlog.room(False, usable=2) == 2
    assert backlog.room(True, usable=0) == 0


def test_there_is_no_room_for_a_kind_of_which_some_stand_outside():
    backlog = Backlog(most=1)
    put(backlog, Kind.ASYNC)
    backlog.stand_outside(make_inputs(1, Kind.ASYNC))
    assert backlog.room(True, usable=5) == 0
    assert backlog.room(False, usable=5) == 5


def test_a_batch_that_waits_for_members_has_its_slot_and_needs_no_place():
    backlog = Backlog(most=2, size=4)
    put(backlog, Kind.SYNC)
    assert backlog.room(False, usable=0) == 1
    assert backlog.room(False, usable=1) == 5


def test_who_is_let_in_is_queued_since_then_and_whoever_waits_for_it_is_woken():
    backlog = Backlog(most=1)
    first, second = make_inputs(2)
    woken: list[str] = []
    backlog.stand_outside([first, second])
    assert backlog.when_in(first, lambda: woken.append("never"))
    assert backlog.when_in(first, lambda: woken.append("first"))  # in the place of the other
    came, wakes = backlog.let_in(lambda kind: 0, 7.0)
    assert came == [first]
    assert (first.state, first.queued_at) == (InputState.QUEUED, 7.0)
    assert not backlog.when_in(first, lambda: None)
    for wake in wakes:
        wake()
    assert woken == ["first"]
    assert repr(backlog) == "<Backlog: 1 queued, 1 outside>"


def test_who_leaves_from_outside_hands_out_how_to_wake_its_caller():
    backlog = Backlog(most=0)
    first, second = make_inputs(2)
    backlog.stand_outside([first, second])
    backlog.when_in(second, repr)
    assert backlog.leave(first) is None
    assert backlog.leave(second) is repr
    assert (backlog.outside, backlog.standing()) == (0, [])


def test_who_goes_around_the_other_kind_into_a_slot_leaves_that_in_its_order():
    backlog = Backlog(most=0)
    inputs = [make_input(kind) for kind in (Kind.ASYNC, Kind.SYNC, Kind.ASYNC, Kind.SYNC)]
    backlog.stand_outside(inputs)
    came, _ = backlog.let_in(lambda kind: 0 if kind else 1, 0.0)
    assert came == [inputs[1]]
    assert backlog.standing() == [inputs[0], *inputs[2:]]


def test_a_short_line_that_has_grown_is_compacted_at_the_next_cancel():
    discarded = []
    backlog = Backlog(discarded=discarded)
    inputs = put(backlog, *[Kind.SYNC] * SHORT)
    for input in inputs[1:]:
        cancel(backlog, input)
    assert len(backlog.lines[False]) == SHORT, "it is short"
    more = put(backlog, Kind.SYNC, Kind.SYNC)
    assert len(backlog.lines[False]) == SHORT + 2
    cancel(backlog, more[1])
    assert list(backlog.lines[False]) == [inputs[0], more[0]]
    assert discarded == [*inputs[1:], more[1]]
    assert take_all(backlog) == [inputs[0], more[0]]


class BacklogMachine(RuleBasedStateMachine):
    """Two plain lists, in the order of coming, against two lines and two doors."""

    @initialize(most=st.integers(0, 6), size=st.sampled_from([1, 1, 3]), kind=st.booleans())
    def begin(self, most: int, size: int, kind: bool) -> None:
        self.size = size
        self.kinds = [KINDS[kind]] if size > 1 else list(KINDS)
        self.discarded: list[Input] = []
        self.backlog = Backlog(most, size, self.discarded)
        self.now = 0.0
        self.queue: list[Input] = []
        self.outside: list[Input] = []
        self.cancelled: list[Input] = []
        self.taken: list[Input] = []
        self.returned: list[Input] = []

    def queue_up(self, inputs: list[Input]) -> None:
        for input in inputs:
            input.queued_at = self.now
        self.queue += inputs
        self.backlog.put(inputs)

    @rule(count=st.integers(0, 4), which=st.integers(0, 1), seconds=st.sampled_from([0.0, 1.0]))
    def put(self, count: int, which: int, seconds: float) -> None:
        self.now += seconds
        self.queue_up(make_inputs(count, self.kinds[which % len(self.kinds)]))

    @rule(which=st.integers(0, 1))
    def put_more_than_a_short_line(self, which: int) -> None:
        self.queue_up(make_inputs(SHORT + 10, self.kinds[which % len(self.kinds)]))

    @rule(count=st.integers(1, 40))
    def take(self, count: int) -> None:
        for _ in range(count):
            expected = self.queue.pop(0) if self.queue else None
            assert self.backlog.first() is expected
            assert self.backlog.next() is expected
            if expected is not None:
                expected.state = InputState.GRANTED
                self.taken.append(expected)

    @precondition(lambda self: self.taken)
    @rule(indices=st.lists(st.integers(0, 200), min_size=1, max_size=6))
    def put_back(self, indices: list[int]) -> None:
        inputs = list(dict.fromkeys(self.taken[index % len(self.taken)] for index in indices))
        for input in inputs:
            self.taken.remove(input)
            input.state = InputState.QUEUED
            input.queued_at = self.now
        self.backlog.put_back(inputs)
        self.queue = inputs + self.queue
        self.returned += inputs

    @rule()
    def take_a_synchronous_one(self) -> None:
        expected = next((input for input in self.queue if not is_async(input)), None)
        assert self.backlog.next_sync() is expected
        if expected is not None:
            self.queue.remove(expected)
            expected.state = InputState.GRANTED
            self.taken.append(expected)

    @precondition(lambda self: self.queue)
    @rule(indices=st.lists(st.integers(0, 200), min_size=1, max_size=60))
    def cancel_queued_ones(self, indices: list[int]) -> None:
        for index in indices:
            if self.queue:
                input = self.queue.pop(index % len(self.queue))
                self.cancelled.append(input)
                cancel(self.backlog, input)
                # Till the next cancel a short line may grow, and a long one shrink.
                kind = is_async(input)
                line, settled = self.backlog.lines[kind], self.backlog._settled[kind]
                assert settled < len(line) or not settled
                assert len(line) <= SHORT or settled * 2 <= len(line)

    @rule(count=st.integers(1, 3), which=st.integers(0, 1))
    def stand_outside(self, count: int, which: int) -> None:
        inputs = make_inputs(count, self.kinds[which % len(self.kinds)])
        self.outside += inputs
        self.backlog.stand_outside(inputs)
        for input in inputs:
            assert self.backlog.when_in(input, lambda input=input: input)

    @precondition(lambda self: self.outside)
    @rule(index=st.integers(0, 20))
    def leave(self, index: int) -> None:
        input = self.outside.pop(index % len(self.outside))
        wake = self.backlog.leave(input)
        assert wake is not None
        assert wake() is input
        settle(input)

    @rule(free=st.integers(0, 2), with_blocked_loops=st.integers(0, 2))
    def let_in(self, free: int, with_blocked_loops: int) -> None:
        usable = {True: free, False: free + with_blocked_loops}
        expected = self.those_who_come_in(usable)
        came, wakes = self.backlog.let_in(usable.__getitem__, self.now)
        assert came == expected
        assert [wake() for wake in wakes] == expected
        self.queue += came

    def those_who_come_in(self, usable: dict[bool, int]) -> list[Input]:
        """One after the other, the first that has a place, or a slot that it can use."""
        places = self.backlog.most - len(self.queue)
        slots = dict(usable)
        if self.size > 1:
            places += usable[self.kinds[0].is_async] * self.size
            slots = {True: 0, False: 0}
        came: list[Input] = []
        for _ in list(self.outside):
            for input in self.outside:
                if places > 0 or slots[is_async(input)] > 0:
                    break
            else:
                break
            if slots[is_async(input)] > 0:
                slots = {kind: count - 1 for kind, count in slots.items()}
            else:
                places -= 1
            self.outside.remove(input)
            came.append(input)
        return came

    @rule(usable=st.integers(0, 3))
    def ask_for_room(self, usable: int) -> None:
        for kind in self.kinds:
            room = self.backlog.room(kind.is_async, usable)
            if any(is_async(input) is kind.is_async for input in self.outside):
                assert room == 0
            elif self.size > 1:
                assert room == max(0, self.backlog.most - len(self.queue) + usable * self.size)
            else:
                assert room == max(0, self.backlog.most - len(self.queue)) + usable

    @invariant()
    def both_orders_are_those_of_coming(self) -> None:
        backlog = self.backlog
        assert backlog.inputs() == self.queue
        assert backlog.standing() == self.outside
        assert (backlog.queued, backlog.outside) == (len(self.queue), len(self.outside))
        assert backlog.first() is (self.queue[0] if self.queue else None)
        times = [input.queued_at + 1.5 for input in self.queue if input not in self.returned]
        late, following = backlog.overdue(self.now, 1.5)
        assert [input.queued_at + 1.5 for input in late] == sorted(
            when for when in times if when <= self.now
        )
        assert following == min((when for when in times if when > self.now), default=None)

    @invariant()
    def settled_inputs_are_in_a_line_or_handed_out(self) -> None:
        kept = [i for line in self.backlog.lines for i in line if i.state is InputState.SETTLED]
        assert sorted(map(id, [*kept, *self.discarded])) == sorted(map(id, self.cancelled))
        for line, settled in zip(self.backlog.lines, self.backlog._settled, strict=True):
            assert settled == sum(i.state is InputState.SETTLED for i in line)


TestBacklogMachine = BacklogMachine.TestCase
