"""Alarms alone: at most one timer each, and no time that was asked for is lost."""

from __future__ import annotations

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from moorage.runtime.clocks.timekeeper import Callback, Timer
from moorage.runtime.pools.alarms import Alarm, Alarms, Cause


class ByHand:
    """A clock whose timers fire when the test says so."""

    def __init__(self) -> None:
        self.timers: list[Timer] = []

    def call_at(self, when: float, callback: Callback) -> Timer:
        self.timers.append(Timer(when, callback))
        return self.timers[-1]

    def live(self) -> list[Timer]:
        return [timer for timer in self.timers if timer.callback is not None]

    def fire(self) -> Callback:
        """Take the ring out of the first timer; whoever has it may be heard much later."""
        timer = min(self.live(), key=lambda timer: timer.when)
        ring, timer.callback = timer.callback, None
        assert ring is not None
        return ring


def never_rings() -> None:
    raise AssertionError("a ring is taken out, and heard by hand")


@pytest.fixture
def clock():
    return ByHand()


@pytest.fixture
def alarm(clock):
    return Alarm(clock.call_at, never_rings)


def whens(clock):
    return [timer.when for timer in clock.live()]


def test_an_alarm_rings_at_the_earliest_time_that_was_asked_for(clock, alarm):
    alarm.at(5.0)
    alarm.at(7.0)
    assert whens(clock) == [5.0]
    alarm.at(3.0)
    assert whens(clock) == [3.0]


def test_a_time_that_replaces_all_others_may_be_later(clock, alarm):
    alarm.at(5.0)
    alarm.only_at(7.0)
    assert whens(clock) == [7.0]
    alarm.only_at(None)
    assert whens(clock) == []
    assert alarm.timer is None


def test_to_ask_for_the_same_time_sets_no_further_timer(clock, alarm):
    alarm.at(5.0)
    alarm.at(5.0)
    alarm.only_at(5.0)
    assert len(clock.timers) == 1


def test_a_ring_that_is_heard_late_leaves_the_timer_that_was_set_meanwhile(clock, alarm):
    alarm.at(5.0)
    clock.fire()  # 1. the timer fires, and its ring waits for the pool's lock
    alarm.at(3.0)  # 2. who has the lock asks for an earlier time, and sets a new timer
    alarm.rang()  # 3. the ring of the old timer is heard
    assert whens(clock) == [3.0]
    alarm.at(4.0)
    assert whens(clock) == [3.0]
    clock.fire()
    alarm.rang()
    assert alarm.timer is None


def test_while_a_ring_is_on_its_way_a_later_time_needs_no_timer(clock, alarm):
    alarm.at(5.0)
    clock.fire()
    alarm.at(6.0)  # whoever hears the ring asks again for what is not due
    assert whens(clock) == []
    alarm.rang()
    alarm.at(6.0)
    assert whens(clock) == [6.0]


def test_each_cause_rings_as_itself_and_forgets_its_own_timer(clock):
    heard = []
    alarms = Alarms(clock.call_at, heard.append)
    for number, cause in enumerate(Cause):
        getattr(alarms, cause.value).at(float(number))
    for cause in Cause:
        clock.fire()()
        assert heard.pop() is cause
        alarms.heard(cause)
        assert getattr(alarms, cause.value).timer is None
    assert not clock.live()


def test_silenced_alarms_ring_again_only_if_they_are_asked_to(clock):
    alarms = Alarms(clock.call_at, lambda cause: None)
    for cause in Cause:
        getattr(alarms, cause.value).at(1.0)
    alarms.silence()
    assert whens(clock) == []
    alarms.retry.at(2.0)
    assert whens(clock) == [2.0]


class AlarmMachine(RuleBasedStateMachine):
    """Times are asked for, timers fire, and rings are heard, in any order.

    Whoever hears a ring acts on all times that have come, and asks again for the others, as
    the pool does.
    """

    def __init__(self) -> None:
        super().__init__()
        self.clock = ByHand()
        self.alarm = Alarm(self.clock.call_at, never_rings)
        self.now = 0.0
        self.asked: set[float] = set()
        self.on_their_way = 0

    @rule(when=st.integers(0, 20))
    def ask(self, when: int) -> None:
        self.asked.add(when)
        self.alarm.at(when)

    @rule(when=st.one_of(st.none(), st.integers(0, 20)))
    def ask_for_this_only(self, when: int | None) -> None:
        self.asked = set() if when is None else {when}
        self.alarm.only_at(when)

    @precondition(lambda self: self.clock.live())
    @rule()
    def fire(self) -> None:
        self.now = max([self.now, *(timer.when for timer in self.clock.live())])
        self.clock.fire()
        self.on_their_way += 1

    @precondition(lambda self: self.on_their_way)
    @rule()
    def hear(self) -> None:
        self.on_their_way -= 1
        self.alarm.rang()
        self.asked = {when for when in self.asked if when > self.now}
        if self.asked:
            self.alarm.at(min(self.asked))

    @invariant()
    def no_time_is_lost(self) -> None:
        live = self.clock.live()
        assert len(live) <= 1
        assert not live or live == [self.alarm.timer]
        if live and live[0].when > self.now:
            assert live[0].when == min(self.asked)
        if self.asked and not live:
            assert self.on_their_way, "nothing will ring"


TestAlarmMachine = AlarmMachine.TestCase
