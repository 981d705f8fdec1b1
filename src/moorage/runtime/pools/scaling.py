"""Scaling: what the policy of one function is asked, what it said, and what it learned.

Owns the policy, its last answer, and the back-off after failed starts.  A run keeps it for
each key, so that it outlives the pools of that key: what was learned, and a back-off, stay
though the last container has gone.  Pure: time is an argument; the pool calls it under its
own lock, and carries the answers out.

Start at `Scaling.ask`, then `Scaling.start_failed`.
"""

from __future__ import annotations

import sys
from typing import Final

from .autoscaler import Decision, Fill, Limits, Observation, Policy, TargetPolicy
from .backlog import Backlog
from .fleet import Fleet
from .tally import Tally

# Back-off after failed starts: the second waits this many seconds, each further one twice
# as long, up to the last figure.
BACKOFF_FIRST: Final = 0.1
BACKOFF_MOST: Final = 30.0

INFINITE: Final = sys.maxsize  # as a number of slots


class Scaling:
    """How many containers there should be, and when more may start.

    Args:
        limits: what the user set.
        policy: decides; `TargetPolicy` if None.
    """

    __slots__ = (
        "asked_idle",
        "asked_with",
        "bursts",
        "failed_starts",
        "is_spared",
        "policy",
        "start_again_at",
        "wanted",
    )

    def __init__(self, limits: Limits, policy: Policy | None = None) -> None:
        self.policy: Policy = TargetPolicy(limits) if policy is None else policy
        self.failed_starts: int = 0  # since the last start that succeeded
        # No container starts before.  Invariant: 0 unless two starts failed in a row.
        self.start_again_at: float = 0.0
        self.begin(limits)

    def begin(self, limits: Limits) -> None:
        """A pool begins, which has no containers and no queue."""
        self.policy.limits = limits
        self.wanted: int = 0  # containers, by the last answer
        self.bursts: bool = True  # whether slots above the target are granted
        # The slots held, and the idle containers, when the policy was asked last.
        # Invariant: while no fewer slots are held, and no more containers idle, its answer
        # holds until the time that it named.  With somebody queued it does not hold once
        # the queue is empty: `asked_with` is INFINITE then.
        self.asked_with: int = INFINITE
        self.asked_idle: int = 0
        # Invariant: true only if the last call of `ask` or `not_asked` was the latter, with
        # inputs queued and no container idle: the same call once more would change nothing.
        self.is_spared: bool = False

    def ask(
        self, now: float, fleet: Fleet, backlog: Backlog, tally: Tally, limits: Limits
    ) -> Decision:
        """Ask the policy how many containers there should be."""
        self.asked_with = INFINITE if backlog.queued else fleet.running
        self.asked_idle = fleet.idle
        self.is_spared = False
        decision = self.policy.decide(observe(now, fleet, backlog, tally, limits))
        self.bursts = decision.fill is Fill.MAX
        self.wanted = decision.wanted
        return decision

    def not_asked(self, fleet: Fleet, backlog: Backlog) -> None:
        """The policy was not asked, as nothing can be added and nothing can go."""
        self.asked_with = INFINITE if backlog.queued else fleet.running
        self.asked_idle = fleet.idle
        self.bursts = True
        self.is_spared = backlog.queued > 0 and not fleet.idle

    def may_shrink(self, fleet: Fleet, wakes_at: float | None) -> bool:
        """Whether the policy may want fewer containers than when it was asked last.

        That is so if a container became idle, or if one that was kept beyond its window,
        because it was needed, may be needed no more.

        Args:
            wakes_at: when the policy will be asked in any case.
        """
        idle = fleet.longest_idle
        return (
            idle is not None
            and (fleet.running < self.asked_with or fleet.idle > self.asked_idle)
            and (wakes_at is None or wakes_at > idle + self.policy.shortest_stay)
        )

    def start_failed(self, now: float) -> None:
        """A start failed: let further ones wait."""
        self.failed_starts += 1
        if self.failed_starts > 1:
            wait = BACKOFF_FIRST * 2.0 ** min(self.failed_starts - 2, 32)
            self.start_again_at = now + min(wait, BACKOFF_MOST)

    def started(self) -> None:
        """A start succeeded."""
        self.failed_starts = 0
        self.start_again_at = 0.0

    def backs_off(self, now: float) -> bool:
        """Whether the next start has to wait."""
        return self.failed_starts > 0 and now < self.start_again_at


def observe(
    now: float, fleet: Fleet, backlog: Backlog, tally: Tally, limits: Limits
) -> Observation:
    """What the policy sees."""
    idle: list[float] = []
    withheld = 0
    target = limits.target_inputs
    for container in fleet.ready:
        slots = container.slots
        if fleet.blocked and backlog.queued and container in fleet.blocked:
            withheld += max(0, target - len(slots.held))
        if container.idle_since is not None:
            idle.append(container.idle_since)
        elif slots.limit < target:
            withheld += max(0, target - max(slots.limit, len(slots.held)))
    idle.sort()
    queued = -(-(backlog.queued + backlog.outside) // backlog.size)
    return Observation(
        now=now,
        running=fleet.running - fleet.lost(),
        queued=queued,
        ready=len(fleet.ready),
        starting=fleet.starting,
        idle_since=tuple(idle),
        arrivals=tally.granted + queued,
        completions=tally.granted - fleet.running,
        busy_seconds=tally.busy_seconds + fleet.running * now,
        starts=tally.starts,
        start_seconds=tally.start_seconds,
        draining=len(fleet.warm()),
        withheld=withheld,
    )
