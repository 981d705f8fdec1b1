"""Slots: how many inputs one container may run, and which inputs hold a slot now.

Owns the slots of one container.  Pure: no lock, clock or thread.  The pool calls `Slots`
under the pool's lock.  A *lease* is one entry of :attr:`Slots.held`, for one granted slot,
with its holder as the key; a lease is released exactly once.

Begin at `acquire_nowait`, then `release`, then `hand_over`.
"""

from __future__ import annotations

from collections.abc import Hashable


class SlotError(AssertionError):
    """A bug in the engine: a slot was granted twice or above the limit, or released twice."""


class Slots:
    """The slots of one container.

    A limit below the number of held slots interrupts no input: no slot is granted
    until enough slots are released.  Every decision reads the current state, never
    the last change, so a limit that is lowered and raised again cannot grant too
    many slots.
    """

    __slots__ = ("held", "limit", "maximum", "peak")

    def __init__(self, maximum: int) -> None:
        self.maximum: int = maximum
        self.limit: int = maximum  # changed by set_limit only
        # Holder -> when its slot was granted.  Insertion order is the order of the
        # grants, so the first holder is the first to reach its deadline.
        # Invariant: len(held) never grows while it is >= limit.
        self.held: dict[Hashable, float] = {}
        self.peak: int = 0

    def set_limit(self, limit: int) -> None:
        """Set the limit to `limit`, but at least 1 and at most `maximum`."""
        self.limit = max(1, min(limit, self.maximum))

    @property
    def free(self) -> int:
        """The number of slots that may be granted now."""
        return max(0, self.limit - len(self.held))

    def acquire_nowait(self, holder: Hashable, now: float) -> None:
        """Grant a slot to `holder`.

        Raises:
            SlotError: if no slot is free or `holder` has one; nothing changes then.
        """
        held = self.held
        count = len(held)
        if count >= self.limit or holder in held:
            raise SlotError(f"cannot grant {holder!r} a slot of {self!r}")
        held[holder] = now
        if count >= self.peak:
            self.peak = count + 1

    def release(self, holder: Hashable) -> None:
        """Release the slot of `holder`.

        Raises:
            SlotError: if `holder` holds no slot; nothing changes then.
        """
        try:
            del self.held[holder]
        except KeyError:
            raise SlotError(f"{holder!r} holds no slot of {self!r}") from None

    def hand_over(self, holder: Hashable, following: Hashable, now: float) -> None:
        """Release the slot of `holder` and grant it to `following`, in one step.

        The number of held slots stays the same, so the limit is not checked.
        `following` must not hold a slot of any container; this is not checked either.

        Raises:
            SlotError: if `holder` holds no slot; nothing changes then.
        """
        held = self.held
        try:
            del held[holder]
        except KeyError:
            raise SlotError(f"{holder!r} holds no slot of {self!r}") from None
        held[following] = now

    def __repr__(self) -> str:
        return f"<Slots {len(self.held)} of {self.limit} held, peak {self.peak}>"
