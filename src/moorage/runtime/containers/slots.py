"""Slots: how many inputs one container may run, and who runs now.

Owns the count.  Pure: no lock, clock or thread; the pool calls it under its
own lock.  A *lease* is an entry in :attr:`Slots.held`: there is one for each
granted slot, under its holder, and it is released exactly once.
"""

from __future__ import annotations

from collections.abc import Hashable


class SlotError(AssertionError):
    """A fault in the engine: a slot was granted twice, released twice, or over the limit."""


class Slots:
    """The slots of one container.

    Lowering the limit below what is held interrupts nothing: no slot is granted
    until enough are released.  Every decision reads the state as it is, never
    the change just made, so that a limit lowered and raised again cannot
    over-grant.
    """

    __slots__ = ("held", "limit", "maximum", "peak")

    def __init__(self, maximum: int) -> None:
        self.maximum: int = maximum
        self.limit: int = maximum  # changed by set_limit only
        # Holder -> when it was granted.  Insertion order is the order of the
        # grants, so the first entry is the first to reach its deadline.
        # Invariant: len(held) never grows while it is >= limit.
        self.held: dict[Hashable, float] = {}
        self.peak: int = 0

    def set_limit(self, limit: int) -> None:
        """Allow `limit` inputs from now on, at most `maximum`, at least 1."""
        self.limit = max(1, min(limit, self.maximum))

    @property
    def free(self) -> int:
        """How many may be granted now."""
        return max(0, self.limit - len(self.held))

    def acquire_nowait(self, holder: Hashable, now: float) -> None:
        """Grant a slot to `holder`.

        Raises:
            SlotError: if none is free or `holder` has one; nothing is changed.
        """
        held = self.held
        count = len(held)
        if count >= self.limit or holder in held:
            raise SlotError(f"cannot grant {holder!r} a slot of {self!r}")
        held[holder] = now
        if count >= self.peak:
            self.peak = count + 1

    def release(self, holder: Hashable) -> None:
        """Take back the slot of `holder`.

        Raises:
            SlotError: if it holds none; nothing is changed.
        """
        try:
            del self.held[holder]
        except KeyError:
            raise SlotError(f"{holder!r} holds no slot of {self!r}") from None

    def hand_over(self, holder: Hashable, following: Hashable, now: float) -> None:
        """Release the slot of `holder` and grant it to `following`, in one step.

        `following` is new: it holds no slot of any container.

        Raises:
            SlotError: if `holder` holds none; nothing is changed.
        """
        held = self.held
        try:
            del held[holder]
        except KeyError:
            raise SlotError(f"{holder!r} holds no slot of {self!r}") from None
        held[following] = now

    def __repr__(self) -> str:
        return f"<Slots {len(self.held)} of {self.limit} held, peak {self.peak}>"
