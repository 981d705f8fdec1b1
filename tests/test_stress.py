"""A small stress run, and proof that its comparison would find one lost count."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from stress.balance import compare
from stress.callers import SEEN
from stress.program import FED
from stress.run import Report, stress
from stress.tickets import Fate


@pytest.fixture(scope="module")
def report() -> Iterator[Report]:
    made = stress(3_000, seed=1, tasks=4)
    yield made
    # The tickets of later inputs hold what their callers' frames hold.
    made.tickets.clear()


def again(report: Report, **changed: Any) -> list[str]:
    program = report.program
    assert program is not None
    return compare(
        changed.get("tickets", report.tickets),
        changed.get("statistics", report.statistics),
        program.rules,
        changed.get("most", program.most),
    )


def test_callers_code_and_statistics_agree(report: Report):
    assert report.wrong == []
    assert report.inputs >= 2_900
    # The other fates are matters of luck in a run so small.
    for fate in (Fate.RESULT, Fate.ERROR, Fate.CANCELLED, Fate.UNSEEN, Fate.UNSENT):
        assert report.fates[fate.value], f"nothing was {fate.value}"
    assert min(report.ends["returned"], report.ends["raised"]) > 0


COUNTS = (
    "accepted",
    "succeeded",
    "failed",
    "cancelled",
    "refused",
    "queued",
    "running",
    "abandoned",
)


@pytest.mark.parametrize("by", [1, -1])
@pytest.mark.parametrize("name", COUNTS)
def test_a_count_that_is_one_off_is_found(report: Report, name: str, by: int):
    for pool, s in report.statistics.items():
        if (name, pool) == ("refused", "choosy"):
            continue  # what a feeder had read may have been refused, or not
        wrong = replace(s, **{name: getattr(s, name) + by})
        assert again(report, statistics={**report.statistics, pool: wrong}), pool


@pytest.mark.parametrize("by", [1, -1])
def test_two_counts_that_are_off_together_are_found(report: Report, by: int):
    # As if one input were lost, or counted twice, in all that the pool counts.
    for pool, s in report.statistics.items():
        if pool not in FED:  # where up to so many may have been accepted
            wrong = replace(s, accepted=s.accepted + by, succeeded=s.succeeded + by)
            assert again(report, statistics={**report.statistics, pool: wrong}), pool


def test_an_outcome_that_is_counted_as_another_is_found(report: Report):
    for pool in SEEN:
        s = report.statistics[pool]
        wrong = replace(s, succeeded=s.succeeded - 1, cancelled=s.cancelled + 1)
        assert again(report, statistics={**report.statistics, pool: wrong})


def test_a_retry_that_is_not_counted_is_found(report: Report):
    # Of cancelled inputs one retry each cannot be known: more than these make up for.
    s = report.statistics["again"]
    for by in (s.cancelled + 1, -s.cancelled - 1):
        wrong = replace(s, retries=s.retries + by)
        assert again(report, statistics={**report.statistics, "again": wrong})


def test_a_ticket_that_is_lost_is_found(report: Report):
    for fate in Fate:
        lost = next((t for t in report.tickets if t.fate is fate and t.pool not in FED), None)
        if lost is not None and fate is not Fate.UNSENT:
            assert again(report, tickets=[t for t in report.tickets if t is not lost]), fate


def test_a_caller_that_saw_nothing_or_saw_twice_is_found(report: Report):
    ticket = next(t for t in report.tickets if t.fate is Fate.RESULT and t.pool in SEEN)
    for fate, twice in ((None, False), (Fate.RESULT, True), (Fate.CANCELLED, False)):
        before = ticket.fate
        ticket.fate, ticket.twice = fate, twice
        try:
            assert again(report)
        finally:
            ticket.fate, ticket.twice = before, False


def test_code_that_ran_twice_or_not_at_all_or_did_not_end_is_found(report: Report):
    ticket = next(t for t in report.tickets if t.fate is Fate.RESULT and t.pool == "several")
    (attempt,) = ticket.attempts
    for attempts in ([], [attempt, attempt]):
        ticket.attempts = attempts
        try:
            assert again(report)
        finally:
            ticket.attempts = [attempt]
    for end in (None, "raised", "struck"):
        attempt.end = end
        try:
            assert again(report)
        finally:
            attempt.end = "returned"


def test_one_input_too_many_in_a_container_is_found(report: Report):
    program = report.program
    assert program is not None
    for pool, rule in program.rules.items():
        assert again(report, most={**program.most, pool: rule.max_inputs + 1})
        s = replace(report.statistics[pool], peak_inputs=rule.max_inputs + 1)
        assert again(report, statistics={**report.statistics, pool: s})
