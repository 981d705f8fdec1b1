"""The sources of choice, each with a race that no other source finds.

Owns `SOURCES`: for each, what takes it away (with pytest's `monkeypatch`), and the race that is
lost then.  Begin at `SOURCES`.
"""

from __future__ import annotations

import asyncio

from moorage.runtime.clocks import clock_thread, numbered, preemption, turns
from moorage.runtime.clocks.choices import Choices
from moorage.runtime.clocks.participants import Participants
from moorage.runtime.containers import task_lane, thread_lane
from moorage.runtime.waiting import async_waiters

from . import racy


def which_participant_is_next(monkeypatch):
    init = turns.Turns.__init__
    monkeypatch.setattr(turns.Turns, "__init__", lambda self, e, c, _=None: init(self, e, c))


def whether_a_loop_goes_on(monkeypatch):
    monkeypatch.setattr(Participants, "may_switch", lambda self, key: None)


def which_timer_of_the_clock_is_first(monkeypatch):
    def first(self, choices):
        callback = self.clock._timers.pop_due(self.clock._now)
        return [] if callback is None else [callback]

    monkeypatch.setattr(clock_thread.ClockThread, "_choose_timers", first)


def whether_timers_fire_together(monkeypatch):
    monkeypatch.setattr(Choices, "also", lambda self: False)


def which_timer_of_a_loop_is_first(monkeypatch):
    monkeypatch.setattr(numbered.ChosenTimer, "__lt__", asyncio.TimerHandle.__lt__)


def whether_a_timer_comes_later(monkeypatch):
    monkeypatch.setattr(numbered.ChosenTimer, "put_off", 3)


def which_start_on_a_loop_is_first(monkeypatch):
    monkeypatch.setattr(task_lane, "move_to_front", lambda inputs, index: None)


def which_start_on_threads_is_first(monkeypatch):
    monkeypatch.setattr(thread_lane, "move_to_front", lambda inputs, index: None)


def which_result_is_first(monkeypatch):
    shuffle = Choices.shuffle

    def only_others(self, things):
        if not (things and isinstance(things[0], asyncio.Future)):
            shuffle(self, things)

    monkeypatch.setattr(async_waiters.Choices, "shuffle", only_others)


def the_order_of_a_set(monkeypatch):
    for module in (numbered, task_lane):
        monkeypatch.setattr(module, "in_set", lambda number, loop: number)


def the_lines(monkeypatch):
    monkeypatch.setattr(preemption.Preemption, "at_line", lambda self, code, line: None)


SOURCES = {
    which_participant_is_next: racy.threads_in_order,
    which_timer_of_the_clock_is_first: racy.spawned_in_order,
    which_timer_of_a_loop_is_first: racy.who_wins,
    which_start_on_a_loop_is_first: racy.starts_on_one_loop,
    which_start_on_threads_is_first: racy.starts_on_threads,
    which_result_is_first: racy.told_in_the_order_of_their_ends,
    the_order_of_a_set: racy.the_first_of_those_that_are_done,
    the_lines: racy.lost_update_of_threads,
    whether_a_loop_goes_on: racy.members_of_a_batch,
    whether_timers_fire_together: racy.first_container_first,
    whether_a_timer_comes_later: racy.all_are_done_at_the_first,
}
