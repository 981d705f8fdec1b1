"""Scaling: what a pool asks the policy, the policy's last answer, and the back-off.

Owns the policy of one key, its last answer, and the back-off after failed starts.  The run
keeps it for each key, so that it outlives the pools of that key: what the policy learned, and
a back-off, remain after the last container has stopped.  Pure: time is an argument; the pool
calls it under the pool's lock, and carries the answers out.

Begin at `Scaling.ask`, then `Scaling.start_failed`: from the second failed container start in a
row, the next start waits, and `Pool._scale` sets the alarm for it.
"""

from __future__ import annotations

import sys
from typing import Final

from .autoscaler import Decision, Fill, Limits, Observation, Policy, TargetPolicy
from .backlog import Backlog
from .fleet import Fleet
from .tally import Tally

# Seconds of back-off after failed starts.  After the second failure in a row the next start
# waits for the first figure; after each further failure twice as long, up to the last figure.
BACKOFF_FIRST: Final = 0.1
BACKOFF_MOST: Final = 30.0

INFINITE: Final = sys.maxsize  # infinitely many slots, as an int


class Scaling:
    """How many containers a pool should have, and when it may start more.

    Args:
        limits: the limits that the user set.
        policy: the policy that decides; a `TargetPolicy` if None.
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
        self.failed_starts: int = 0  # in a row: since the last start that succeeded
        # No container starts before this time.  Invariant: 0 unless two starts failed in a row.
        self.start_again_at: float = 0.0
        self.begin(limits)

    def begin(self, limits: Limits) -> None:
        """Prepare for a new pool, which has no containers and no queue."""
        self.policy.limits = limits
        self.wanted: int = 0  # containers, by the policy's last answer
        self.bursts: bool = True  # true if slots above the target are granted
        # The number of held slots, and of idle containers, when the policy was last asked.
        # Invariant: the policy's answer holds until the time that it named, as long as the
        # held slots do not become fewer and the idle containers do not become more.  If
        # inputs were queued, the answer does not hold after the queue is empty, so
        # `asked_with` is INFINITE then.
        self.asked_with: int = INFINITE
        self.asked_idle: int = 0
        # Invariant: true only if the latest call of `ask` or `not_asked` was `not_asked`, with
        # inputs queued and no container idle: the same call again would change nothing.
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
        """Note that the policy was not asked, because no container can be added or stopped."""
        self.asked_with = INFINITE if backlog.queued else fleet.running
        self.asked_idle = fleet.idle
        self.bursts = True
        self.is_spared = backlog.queued > 0 and not fleet.idle

    def may_shrink(self, fleet: Fleet, wakes_at: float | None) -> bool:
        """Return true if the policy may want fewer containers than at the last question.

        That is so if a container became idle.  It is also so if an idle container was kept
        beyond its window because it was needed, and may not be needed any more.

        Args:
            wakes_at: when the pool will ask the policy in any case; None for never.
        """
        idle = fleet.longest_idle
        return (
            idle is not None
            and (fleet.running < self.asked_with or fleet.idle > self.asked_idle)
            and (wakes_at is None or wakes_at > idle + self.policy.shortest_stay)
        )

    def start_failed(self, now: float) -> None:
        """Count a failed start, and delay further starts."""
        self.failed_starts += 1
        if self.failed_starts > 1:
            wait = BACKOFF_FIRST * 2.0 ** min(self.failed_starts - 2, 32)
            self.start_again_at = now + min(wait, BACKOFF_MOST)

    def started(self) -> None:
        """Note that a start succeeded: end the back-off."""
        self.failed_starts = 0
        self.start_again_at = 0.0

    def backs_off(self, now: float) -> bool:
        """Return true if the next start has to wait."""
        return self.failed_starts > 0 and now < self.start_again_at


def observe(
    now: float, fleet: Fleet, backlog: Backlog, tally: Tally, limits: Limits
) -> Observation:
    """Return what the policy sees of a pool with these leaves."""
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
