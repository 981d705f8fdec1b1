"""Patched dates: ``datetime.now()`` and its like in virtual time.

Owns the methods that replace `datetime.now`, `datetime.utcnow` and `date.today` while any
``clock.patch_time()`` block is open.  ``patched_time.py`` makes `Dates`, and installs and
uninstalls them.

`datetime` and `date` are immutable types.  Another class in their place would not be the class that
programs have imported, subclassed and pickled.  So the replacements are written to the dicts of the
types themselves, as ``blocking.py`` does with locks.  A method that was bound before the patch,
such as ``field(default_factory=datetime.now)``, stays real.

If the interpreter does not let the types be changed, `Dates.install` changes nothing.

Begin at `Dates`, then `Dates.install`.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable
from datetime import UTC, date, datetime, tzinfo
from types import FrameType
from typing import Any, Final

from .blocking import change_types

# Returns the wall time for a call in this frame, in seconds since 1970; None for real time.
WallOf = Callable[[FrameType], float | None]

# As the interpreter says it, since Python 3.12.
_UTCNOW: Final = (
    "datetime.datetime.utcnow() is deprecated and scheduled for removal in a future version. "
    "Use timezone-aware objects to represent datetimes in UTC: datetime.datetime.now(datetime.UTC)."
)


class Dates:
    """The replacements of the methods that read the time."""

    def __init__(self, wall_of: WallOf, real_wall: Callable[[], float]) -> None:
        """Make the replacements.

        Args:
            wall_of: returns the virtual wall time for a call.
            real_wall: ``time.time`` as it is outside of all patches.
        """
        real_now: Any = vars(datetime)["now"]
        # Not the method of `cls`, which may be the user's own.
        from_timestamp: Any = vars(datetime)["fromtimestamp"]

        def now(cls: type[datetime], tz: tzinfo | None = None) -> datetime:
            wall = wall_of(sys._getframe(1))
            found: datetime = (
                real_now.__get__(None, cls)(tz)
                if wall is None
                else from_timestamp.__get__(None, cls)(wall, tz)
            )
            return found

        def utcnow(cls: type[datetime]) -> datetime:
            if sys.version_info >= (3, 12):
                warnings.warn(_UTCNOW, DeprecationWarning, stacklevel=2)
            wall = wall_of(sys._getframe(1))
            seconds = real_wall() if wall is None else wall
            found: datetime = from_timestamp.__get__(None, cls)(seconds, UTC)
            return datetime.replace(found, tzinfo=None)

        def today(cls: type[date]) -> date:
            wall = wall_of(sys._getframe(1))
            # As the original does it.
            return cls.fromtimestamp(real_wall() if wall is None else wall)

        self._replaced: dict[type, dict[str, Any]] = {datetime: {}, date: {}}
        self._originals: dict[type, dict[str, Any]] = {datetime: {}, date: {}}
        for kind, function in ((datetime, now), (datetime, utcnow), (date, today)):
            name = function.__name__
            original: Any = vars(kind)[name]
            function.__qualname__ = f"{kind.__name__}.{name}"
            function.__doc__ = original.__doc__
            self._replaced[kind][name] = classmethod(function)
            self._originals[kind][name] = original

    def install(self) -> None:
        """Put the replacements in place."""
        change_types(self._originals, self._replaced)

    def uninstall(self) -> None:
        """Undo `install`, where no other tool has put in something else meanwhile."""
        change_types(self._replaced, self._originals)
