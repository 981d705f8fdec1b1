"""Attempts alone: who is tried again, when, and in which order."""

from __future__ import annotations

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from moorage.runtime.input import Input, InputState, Kind
from moorage.runtime.outcome import Cancelled, Failure, Value
from moorage.runtime.pools.attempts import Attempts

from .stand_ins import make_input, make_inputs, run, settle

FAILURE = Failure(ValueError("no"))


class EachTimeLonger:
    """Pauses of 1, 2 and 3 seconds."""

    max_retries = 3

    def delay(self, attempt: int, /) -> float:
        return float(attempt)


@pytest.fixture
def attempts():
    return Attempts(EachTimeLonger())


def fail(attempts, input, now=0.0):
    return attempts.failed(run(input), ValueError(str(now)), now)


def test_without_a_policy_nothing_is_tried_again():
    assert not Attempts(None).may_follow(make_input(), FAILURE)


@pytest.mark.parametrize("outcome", [Value(1), Cancelled("by hand")])
def test_only_a_failure_is_tried_again(attempts, outcome):
    assert not attempts.may_follow(make_input(), outcome)
    assert attempts.may_follow(make_input(), FAILURE)


@pytest.mark.parametrize("kind", [Kind.SYNC_GENERATOR, Kind.ASYNC_GENERATOR])
def test_a_generator_is_not_tried_again(attempts, kind):
    assert not attempts.may_follow(make_input(kind), FAILURE)


def test_an_input_is_tried_again_as_often_as_the_policy_says(attempts):
    input, pauses, now = make_input(), [], 0.0
    while attempts.may_follow(input, FAILURE):
        when = fail(attempts, input, now)
        pauses.append(when - now)
        now = when
        assert attempts.due(now) == [input]
        input.state = InputState.QUEUED
    assert pauses == [1.0, 2.0, 3.0]
    assert [str(error) for error in attempts.with_earlier(input, FAILURE).earlier] == [
        "0.0",
        "1.0",
        "3.0",
    ]


def test_inputs_due_at_one_time_come_in_the_order_of_their_calls(attempts):
    first, second = make_inputs(2), make_inputs(2)
    for input in (second[1], first[1], second[0], first[0]):
        fail(attempts, input)
    assert attempts.due(1.0) == [*first, *second]


def test_an_input_that_is_not_due_stays(attempts):
    early, late = make_inputs(2)
    fail(attempts, late, 5.0)
    fail(attempts, early, 0.0)
    assert attempts.next_due() == 1.0
    assert attempts.due(1.0) == [early]
    assert (attempts.waiting, attempts.next_due()) == (1, 6.0)


def test_an_input_that_is_settled_while_it_waits_is_handed_out_and_not_dropped():
    """It may be the last that keeps users' objects: they must not die under the lock."""
    discarded: list[Input] = []
    attempts = Attempts(EachTimeLonger(), discarded)
    inputs = make_inputs(3)
    for now, input in enumerate(inputs):
        fail(attempts, input, float(now))
    for input in inputs[:2]:
        attempts.leave(input)
        settle(input)
    assert attempts.waiting == 1
    assert attempts.due(1.0) == []
    assert discarded == inputs[:1]
    assert attempts.next_due() == 3.0
    assert discarded == inputs[:2]


def test_the_errors_of_a_settled_input_are_handed_out(attempts):
    input = make_input()
    fail(attempts, input)
    assert [str(error) for error in attempts.ended(input)] == ["0.0"]
    assert attempts.with_earlier(input, FAILURE) is FAILURE
    assert attempts.ended(input) is None


class AttemptsMachine(RuleBasedStateMachine):
    """Inputs fail, are tried again, and are settled, as time goes on."""

    def __init__(self) -> None:
        super().__init__()
        self.discarded: list[Input] = []
        self.attempts = Attempts(EachTimeLonger(), self.discarded)
        self.now = 0.0
        self.run: list[Input] = []
        self.wait: dict[Input, float] = {}
        self.failures: dict[Input, int] = {}
        self.settled: set[Input] = set()

    @rule(count=st.integers(1, 3))
    def begin(self, count: int) -> None:
        self.run += [run(input) for input in make_inputs(count)]

    @precondition(lambda self: self.run)
    @rule(index=st.integers(0, 20))
    def fail(self, index: int) -> None:
        input = self.run.pop(index % len(self.run))
        again = self.attempts.may_follow(input, FAILURE)
        assert again == (self.failures.get(input, 0) < 3)
        if again:
            self.failures[input] = self.failures.get(input, 0) + 1
            self.wait[input] = self.attempts.failed(input, FAILURE.error, self.now)
            assert self.wait[input] == self.now + self.failures[input]
        else:
            self.end(input)

    @precondition(lambda self: self.run)
    @rule(index=st.integers(0, 20))
    def succeed(self, index: int) -> None:
        self.end(self.run.pop(index % len(self.run)))

    @precondition(lambda self: self.wait)
    @rule(index=st.integers(0, 20))
    def cancel(self, index: int) -> None:
        input = list(self.wait)[index % len(self.wait)]
        del self.wait[input]
        self.attempts.leave(input)
        self.end(input)

    def end(self, input: Input) -> None:
        settle(input)
        self.settled.add(input)
        errors = self.attempts.ended(input)
        assert len(errors or ()) == self.failures.pop(input, 0)

    @rule(seconds=st.sampled_from([0.0, 0.5, 1.0, 4.0]))
    def pass_time(self, seconds: float) -> None:
        self.now += seconds
        due = [input for input in self.wait if self.wait[input] <= self.now]
        due.sort(key=lambda input: (self.wait[input], input.call.number, input.index))
        assert self.attempts.due(self.now) == due
        for input in due:
            del self.wait[input]
            input.state = InputState.QUEUED
            self.run.append(run(input))

    @rule()
    def ask_when_the_next_is_due(self) -> None:
        assert self.attempts.next_due() == min(self.wait.values(), default=None)

    @invariant()
    def the_counts_are_those_of_the_inputs(self) -> None:
        assert self.attempts.waiting == len(self.wait)
        assert set(self.attempts.inputs()) == set(self.wait)
        assert {i: len(errors) for i, errors in self.attempts.errors.items()} == self.failures
        assert len(self.discarded) == len(set(self.discarded))
        assert set(self.discarded) <= self.settled


TestAttemptsMachine = AttemptsMachine.TestCase
