"""The balance: whether what callers saw, what code counted and `statistics()` are one.

Owns the comparison, as a function of plain values.  What must equal what:

- Every ticket that was sent met exactly one fate.  UNSEEN is one: its caller went
  away, so its outcome shows in the statistics only.
- ``accepted`` is the number of tickets that were not refused.  A ticket PERHAPS
  accepted counts as 0 or 1: the last one that the feeder of a map had read when the
  map was closed, which it may have kept, or the pool may have refused.
- ``succeeded``, ``failed``, ``cancelled`` are the numbers of tickets that met such a
  fate, and what is beyond these is, over all three, exactly the number of UNSEEN.  No
  more of them succeeded than unseen code returned.  In some pools nobody goes away
  (`callers.SEEN`): there each of the three is exact.
- What code did fits each fate: a result was returned by the last attempt, an error
  raised by it; what was refused or late never ran; without retries nothing ran twice;
  every attempt that began has ended.
- ``retries`` is the number of attempts that were not the first.  One more may be, for
  each ticket that was cancelled after its last attempt raised; and in pools with a
  short timeout, those that were over before they began are not seen by the code.
- No container ever held more code than `max_inputs`, as code counted, and as the
  pool says; at the end all gauges are 0.  In a batched pool these are batches.
- A batched pool has granted slots to as many members as code began for, or more: some
  left before it began.  None of its batches was empty, or too large.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from moorage.runtime.pools.statistics import PoolStatistics

from .tickets import FAILED, Fate, Ticket

RAISING = frozenset({"error", "exit"})
NEVER_RAN = frozenset({Fate.REFUSED, Fate.LATE, Fate.NO_CONTAINER, Fate.UNSENT})


@dataclass
class Rules:
    """What is special about a pool."""

    max_inputs: int
    max_retries: int = 0
    timed: bool = False  # has a timeout so short that attempts may end before they begin
    perhaps: bool = False  # may have tickets PERHAPS accepted
    refuses: bool = False  # has a backlog that refuses: then these may have been refused
    most_in_a_batch: int | None = None  # None unless it is batched


def compare(
    tickets: Iterable[Ticket],
    statistics: Mapping[str, PoolStatistics],
    rules: Mapping[str, Rules],
    most: Mapping[str, int],
) -> list[str]:
    """What does not agree, one line each; nothing if all is well."""
    wrong: list[str] = []
    by_pool: defaultdict[str, list[Ticket]] = defaultdict(list)
    for ticket in tickets:
        by_pool[ticket.pool].append(ticket)
        if (what := _unfit(ticket, rules[ticket.pool])) is not None:
            wrong.append(f"{ticket!r}: {what}")
    for name, stats in statistics.items():
        wrong += [
            f"{name}: {what}"
            for what in _pool_unfit(by_pool[name], stats, rules[name], most.get(name, 0))
        ]
    return wrong


def _unfit(ticket: Ticket, rule: Rules) -> str | None:
    fate, ends = ticket.fate, [attempt.end for attempt in ticket.attempts]
    if fate is None:
        return "nobody saw its end"
    if ticket.twice:
        return "it ended twice for its caller"
    if fate is Fate.PERHAPS and not rule.perhaps:
        return "whether it was accepted should be known"
    if None in ends:
        return "its code began and did not end"
    if fate in NEVER_RAN and ends and not rule.max_retries:
        return "its code ran"
    if len(ends) > 1 + rule.max_retries:
        return "its code ran too often"
    if "returned" in ends[:-1] and not rule.timed:  # there it may have returned too late
        return "it was tried again after it had returned"
    if fate is Fate.RESULT and ends[-1:] != ["returned"]:
        return "a result that its code did not return"
    if fate is Fate.ERROR and ends[-1:] != ["raised"]:
        return "an error that its code did not raise"
    tries = 1 + rule.max_retries
    if fate is Fate.ERROR and ticket.plan in RAISING and len(ends) != tries and not rule.timed:
        return "it was not tried again"
    return None


def _pool_unfit(
    tickets: list[Ticket], stats: PoolStatistics, rule: Rules, most: int
) -> Iterable[str]:
    fates = Counter(ticket.fate for ticket in tickets)
    unseen, perhaps = fates[Fate.UNSEEN], fates[Fate.PERHAPS]
    failed = sum(fates[fate] for fate in FAILED)
    seen = fates[Fate.RESULT] + failed + fates[Fate.CANCELLED]

    gauges = {
        name: getattr(stats, name)
        for name in ("outside", "queued", "waiting", "running", "abandoned", "abandoned_threads")
    }
    if any(gauges.values()):
        yield f"gauges that are not 0: {gauges}"
    if stats.accepted != stats.succeeded + stats.failed + stats.cancelled:
        yield f"accepted is not the sum of the ends: {stats}"
    refused = fates[Fate.REFUSED]
    most_refused = refused + (perhaps if rule.refuses else 0)
    if not refused <= stats.refused <= most_refused:
        yield f"callers were refused {refused} to {most_refused} times, counted {stats.refused}"
    sure = seen + unseen
    if not 0 <= stats.accepted - sure <= perhaps:
        yield f"callers sent {sure} to {sure + perhaps} inputs, the pool accepted {stats.accepted}"

    gone = [ticket for ticket in tickets if ticket.fate in (Fate.UNSEEN, Fate.PERHAPS)]
    ended = Counter(ticket.attempts[-1].end for ticket in gone if ticket.attempts)
    for name, count, mine, at_most in (
        ("succeeded", stats.succeeded, fates[Fate.RESULT], ended["returned"]),
        ("failed", stats.failed, failed, len(gone)),
        ("cancelled", stats.cancelled, fates[Fate.CANCELLED], len(gone)),
    ):
        if not 0 <= count - mine <= at_most:
            yield f"callers saw {mine} {name}, the pool counts {count}, {at_most} were unseen"

    surely = maybe = 0
    for ticket in tickets if rule.max_retries else ():
        begun = len(ticket.attempts)
        again = max(0, begun - 1)  # each attempt after the first is a retry
        surely += again
        if rule.timed:
            maybe += rule.max_retries - again
        elif ticket.fate not in (Fate.RESULT, Fate.ERROR) and begun <= rule.max_retries:
            # Cancelled while it waited for one more, or while its last one ended.
            maybe += begun > 0 and ticket.attempts[-1].end == "raised"
    if not surely <= stats.retries <= surely + maybe:
        yield f"code was retried {surely} to {surely + maybe} times, the pool says {stats.retries}"

    if rule.most_in_a_batch is not None:
        batches = stats.batches
        assert batches is not None
        begun = sum(len(ticket.attempts) for ticket in tickets)
        granted = sum(size * count for size, count in batches.sizes)
        if granted < begun:
            yield f"code began for {begun} members of batches, the pool says {granted}"
        if not all(1 <= size <= rule.most_in_a_batch for size, _ in batches.sizes):
            yield f"batches of {batches.sizes}, of at most {rule.most_in_a_batch}"
        if batches.granted != sum(count for _, count in batches.sizes) or batches.running:
            yield f"batches that do not add up: {batches}"

    if most > rule.max_inputs:
        yield f"{most} inputs ran at once in one container, of at most {rule.max_inputs}"
    if not most <= stats.peak_inputs <= rule.max_inputs:
        yield f"{most} ran at once in one container, the pool says {stats.peak_inputs}"
