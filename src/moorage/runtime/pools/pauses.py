"""Pauses: how long it has paid, so far, to keep a container that is idle.

Owns what the autoscaler's policy learns about keeping containers; only ``autoscaler.py`` calls
it.  Pure: time is an argument.  All times are in seconds.

A *level* is a number of containers.  Level k is in use while the inputs of the pool need at least k
containers, each filled to `max_inputs`.  A *pause* of a level is the time from the end of one use
to the begin of the next.  A *stay* is how long a container stays idle.  A stay that is longer than
the pause costs the pause; a shorter stay costs the stay and a start-up, and inputs wait.

Nobody knows the next pause, but the past ones are known.  For each level and each of five stays,
`Pauses` notes what that stay would have cost in the past pauses: container-seconds, and inputs
that wait.  Older pauses count less.  The stay with the least product of cost and waiting is chosen.
This is the ski rental problem with observed periods, and the rule is to do what would have been
best so far.

Begin at `Levels.see`, then `Levels.stay`, then `Pauses.note`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from .autoscaler import Limits, Observation, Tuning

# The stays that are compared, as shares of the longest one.  The last one is the shortest stay.
SHARES: Final = (1.0, 0.5, 0.25, 0.125, 0.0)


class Pauses:
    """The uses and the pauses of one level."""

    __slots__ = (
        "began",
        "best",
        "came",
        "came_at",
        "costs",
        "count",
        "ended",
        "gone",
        "lasting",
        "missed",
        "peak",
        "used",
        "waiting",
        "waits",
    )

    def __init__(self) -> None:
        # The latest use.  While the level is in use, `ended` and `used` are of the use before.
        self.began: float = -math.inf
        self.ended: float = -math.inf
        self.used: float = 0.0  # seconds
        self.came_at: int = 0  # the arrivals before the latest use
        self.peak: float = (
            0.0  # the most inputs at once in that use, beyond those of the lower levels
        )
        # True if inputs kept coming during the latest use for longer than the shortest stay.
        self.lasting: bool = False
        self.gone: bool = False  # true if the container was stopped since the latest use
        # How many inputs of the latest use would have had to wait without the container.
        self.waiting: float = 1.0
        self.count: int = 0  # the pauses that were noted
        self.missed: int = 0  # the pauses that were longer than the longest stay
        # By stay, over the past pauses: container-seconds, and inputs that wait.
        self.costs: list[float] = [0.0] * len(SHARES)
        self.waits: list[float] = [0.0] * len(SHARES)
        self.came: float = 0.0  # the inputs that came in the same time
        self.best: int = 0  # the place of the best stay; only valid if `count` is not 0

    def note(
        self, pause: float, came: int, start: float, stays: Sequence[float], tuning: Tuning
    ) -> None:
        """Note a pause of `pause` seconds.

        Args:
            came: the inputs that came since the begin of the use before the pause.
            start: the seconds of a start-up.
            stays: the stays in seconds, one for each of SHARES.
        """
        used, waiting = self.used, min(self.waiting, came)
        self.missed += pause > stays[0]
        found = [
            (used + pause, 0.0) if pause <= stay else (used + stay + start, waiting)
            for stay in stays
        ]
        self._add(found, came, 1, start, tuning)

    def note_unseen(
        self, pause: float, times: int, start: float, stays: Sequence[float], tuning: Tuning
    ) -> None:
        """Note `times` pauses of `pause` seconds on average, of uses by one input each.

        Takes the pauses as random (their law as exponential), but none as longer than the stay of
        the container, which was there all the time.
        """
        kept = stays[self.best if self.count else 0]
        found: list[tuple[float, float]] = []
        for stay in stays:
            longer = math.exp(-stay / pause) if stay < kept else 0.0
            found.append((pause * (1.0 - longer) + start * longer, longer))
        self._add(found, times, times, start, tuning)

    def _add(
        self,
        found: Sequence[tuple[float, float]],
        came: int,
        times: int,
        start: float,
        tuning: Tuning,
    ) -> None:
        """Add pairs (container-seconds, inputs that wait), by stay, `times` times; choose anew."""
        memory = tuning.memory
        faded = memory**times
        # The sum of `times` pauses, each of which has faded since the one before.
        new = 1.0 if times == 1 or memory >= 1.0 else (1.0 - faded) / (1.0 - memory)
        self.count += times
        self.came = self.came * faded + came / times * new
        least = math.inf
        for place, (cost, waits) in enumerate(found):
            self.costs[place] = cost = self.costs[place] * faded + cost * new
            self.waits[place] = waits = self.waits[place] * faded + waits * new
            share = waits / max(1.0, self.came)
            worth = cost * min(tuning.wait_costs(start), 1.0 + tuning.wait_weight * share)
            if worth < least:
                least, self.best = worth, place


class Levels:
    """The levels of one pool: which of them are in use, and how long containers stay idle.

    `see` may be called rarely: an input that finds a free slot does not ask the policy.  A use
    between two calls is not noticed, with one exception.  Every input uses the first level, so the
    count of arrivals shows the uses of that level.
    """

    __slots__ = (
        "_arrivals",
        "_arrived_at",
        "_in_use",
        "_levels",
        "_load",
        "_seen_at",
        "_tuning",
    )

    def __init__(self, tuning: Tuning) -> None:
        self._tuning = tuning
        self._levels: list[Pauses] = []  # of level 1, 2, ...; up to the highest level so far
        # When `see` was last called: the levels in use, the time, and the arrivals.
        self._in_use = 0
        self._seen_at = 0.0
        self._arrivals = 0
        self._arrived_at = -math.inf  # when `see` last found new arrivals
        # How many inputs would run then if no input ever had to wait.
        self._load = 0.0

    def __len__(self) -> int:
        return len(self._levels)

    def see(
        self,
        seen: Observation,
        limits: Limits,
        service: float | None,
        start: float,
        stays: Sequence[float],
    ) -> None:
        """Note which levels are in use, and the pauses that have ended.

        Args:
            service: the mean service time; None if it is not known.
            start: the seconds of a start-up.
            stays: the stays in seconds, one for each of SHARES, the longest first.
        """
        now, arrivals, most = seen.now, seen.arrivals, limits.max_inputs
        load = self._loaded(seen, service)
        if arrivals > self._arrivals:
            self._arrived_at = now
        in_use = math.ceil(load / most - 1e-9)
        if limits.max_containers is not None:
            in_use = min(in_use, limits.max_containers)
        levels, before = self._levels, self._in_use
        while len(levels) < in_use:
            levels.append(Pauses())
        if not before and levels and seen.ready and arrivals > self._arrivals:
            self._note_unseen(seen, start, stays, in_use > 0)
        for place in range(before, in_use):
            own = levels[place]
            own.peak = 0.0 if place == in_use - 1 else most
            pause = now - own.ended
            if pause <= stays[-1]:
                continue  # any stay is longer: the level counts as never out of use
            # A longest stay that outlasted the pause shows only that there were uses between.
            if own.ended > -math.inf and (own.gone or pause <= stays[0]):
                own.note(pause, self._arrivals - own.came_at, start, stays, self._tuning)
            own.began, own.came_at, own.gone = now, self._arrivals, False
        for place in range(in_use, before):
            own = levels[place]
            own.ended, own.used = now, max(0.0, now - own.began)
            own.lasting = self._arrived_at - own.began > stays[-1]
            # Without the container, inputs would wait for a start-up, in which each slot serves
            # so many inputs one after the other.
            turns = min(start, own.used) / service if service else 0.0
            own.waiting = max(1.0, min(own.peak, most) * (1.0 + turns))
        if in_use:
            highest = levels[in_use - 1]
            highest.peak = max(highest.peak, load - (in_use - 1) * most)
            if in_use > 1:
                levels[in_use - 2].peak = most
        self._in_use, self._seen_at, self._arrivals = in_use, now, arrivals

    def _loaded(self, seen: Observation, service: float | None) -> float:
        """Return how many inputs would run now if no input ever had to wait.

        A queue that grew during a start-up is longer than that.  So an input counts from its
        arrival, and fades with the mean service time, but counts as long as it runs.
        """
        demand = float(seen.running + seen.queued)
        if service is None:
            self._load = demand
        else:
            faded = math.exp((self._seen_at - seen.now) / service) if service > 0.0 else 0.0
            came = max(0, seen.arrivals - self._arrivals)
            self._load = min(self._load * faded + came, demand)
        return max(self._load, float(seen.running))

    def _note_unseen(
        self, seen: Observation, start: float, stays: Sequence[float], in_use: bool
    ) -> None:
        """Note the pauses of the first level since `see` was last called.

        Takes each arrival since then as one use.
        """
        first = self._levels[0]
        if in_use:
            until = seen.now
        elif seen.idle_since:
            until = seen.idle_since[-1]
        else:
            return
        if first.ended == -math.inf or until - first.ended <= stays[-1]:
            return
        count = seen.arrivals - self._arrivals
        pause = (until - first.ended) / count
        if pause > stays[-1]:
            first.note_unseen(pause, count, start, stays, self._tuning)
        first.began = first.ended = until
        first.came_at = seen.arrivals - seen.running
        first.used, first.waiting = 0.0, 1.0

    def stay(self, level: int, stays: Sequence[float]) -> float:
        """Return how long the container of `level` should stay idle, in seconds."""
        tuning = self._tuning
        if level > len(self._levels):
            return stays[0] if level == 1 else stays[-1]
        own = self._levels[level - 1]
        if level == 1 and own.missed < tuning.proof:
            return stays[0]
        if own.count:
            return stays[own.best]
        return stays[0] if own.lasting else stays[-1]

    def leave(self, level: int, since: float) -> None:
        """Note that the container of `level`, idle since `since`, is not kept any longer."""
        if level <= len(self._levels):
            own = self._levels[level - 1]
            own.gone = True
            own.ended = max(own.ended, since)
