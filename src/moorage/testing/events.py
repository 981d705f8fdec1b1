"""Events: what happened in the pools of a run, for assertions and for reading.

Owns `Event`, `Events` (a tuple of events) and `Timeline` (a picture of events, as text).
`Probe` (``probe.py``) records the events.  Everything here is pure: values in, text out;
no lock and no clock.

Begin at `Event`, then `Events`, then `Timeline` and `_drawn`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Literal, overload

EventKind = Literal[
    "outside",
    "queued",
    "granted",
    "started",
    "waiting",
    "settled",
    "ended",
    "starting",
    "ready",
    "draining",
    "stopping",
    "stopped",
]
"""What can happen: to an input (``outside`` to ``ended``), to a container (the others)."""

OF_INPUTS: Final[frozenset[EventKind]] = frozenset(
    {"outside", "queued", "granted", "started", "waiting", "settled", "ended"}
)


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that happened.

    Attributes:
        at: the time of the event, in seconds of the run's clock; in real time, in seconds
            since the first event.
        kind: for an input, ``outside`` (the backlog is full), ``queued``, ``granted`` (the
            input got a slot), ``started`` (the input's code begins), ``waiting`` (the input
            failed and will be tried again), ``settled`` (the input has its outcome) or
            ``ended`` (an abandoned input's code ended, after its caller was answered).  For
            a container, ``starting``, ``ready``, ``draining``, ``stopping`` or ``stopped``.
        input: the input, as it was called: ``fetch(1)``; the second input with the same
            text is ``fetch(1) #2``.  Empty for a container's event.
        container: the container's pool and number: ``fetch-1``.  Empty while the input has
            no container.
        detail: for ``settled``, ``result``, ``cancelled`` or the name of the error; for
            ``waiting``, the name of the error; otherwise empty.
    """

    at: float
    kind: EventKind
    input: str = ""
    container: str = ""
    detail: str = ""

    def __str__(self) -> str:
        what = " ".join(part for part in (self.kind, self.detail) if part)
        return " ".join(
            part for part in (f"{seconds(self.at)} s", self.input, what, self.container) if part
        )


class Events(tuple[Event, ...]):
    """A tuple of events, in the order in which they happened.  Its text has a line for each.

    In virtual time, the events are the same on every run, with one exception: within one
    instant, the order in which code in different threads starts and settles, and the order
    in which containers stop, may differ.
    """

    __slots__ = ()

    def of(self, *kinds: EventKind, input: str | None = None) -> Events:
        """Return the events of these kinds (default: all kinds) and of `input`, if given."""
        return Events(
            event
            for event in self
            if (not kinds or event.kind in kinds) and (input is None or event.input == input)
        )

    def inputs(self, kind: EventKind) -> list[str]:
        """Return the inputs of the events of `kind`, in order: ``events.inputs("granted")``."""
        return [event.input for event in self if event.kind == kind]

    def __str__(self) -> str:
        rows = [
            (
                f"{seconds(event.at)} s",
                event.input or event.container,
                " ".join(part for part in (event.kind, event.detail) if part),
                event.container if event.input else "",
            )
            for event in self
        ]
        if not rows:
            return "nothing happened"
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        return "\n".join(
            f"{at:>{widths[0]}}  {who:<{widths[1]}}  {what:<{widths[2]}}  {where}".rstrip()
            for at, who, what, where in rows
        )

    def __repr__(self) -> str:
        return f"Events({list(self)!r})"


# The mark that a row shows from an event of this kind until the row's next event.
_MARK_AFTER: Final[dict[EventKind, str]] = {
    "outside": ",",
    "queued": ".",
    "granted": "-",
    "started": "#",
    "waiting": "~",
    "starting": ".",
    "ready": "=",
    "draining": "-",
    "stopping": "-",
}

LEGEND: Final = (
    ", outside  . queued, starts  - slot, no code; draining, stops  # runs  ~ waits for a retry  "
    "+ answered, still runs  = ready"
)
"""The meaning of a `Timeline`'s marks."""


class Timeline(Sequence[str]):
    """A picture of events: a row for each input, in the order of the inputs' first events,
    then a row for each container.

    In virtual time, the text is the same on every run: a test can compare
    ``str(timeline)`` with an expected text.  A timeline is also the sequence of its lines.

    Args:
        events: the events to draw.
        width: the largest number of characters for the time axis.
    """

    def __init__(self, events: Iterable[Event], *, width: int = 60) -> None:
        if width < 10:
            raise ValueError(f"a timeline needs a width of 10 or more, got {width}; write width=60")
        self._lines = _drawn(list(events), width)

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> list[str]: ...
    def __getitem__(self, index: int | slice) -> str | list[str]:
        return self._lines[index]

    def __len__(self) -> int:
        return len(self._lines)

    def __iter__(self) -> Iterator[str]:
        return iter(self._lines)

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Timeline):
            return self._lines == other._lines
        if isinstance(other, list):
            return self._lines == other
        return NotImplemented

    def __hash__(self) -> int:
        return hash(str(self))

    def __str__(self) -> str:
        return "\n".join(self._lines)

    def __repr__(self) -> str:
        return f"<Timeline\n{self}\n>"


def _drawn(events: list[Event], width: int) -> list[str]:
    """Return the lines of the picture: the time axis, then the rows."""
    if not events:
        return ["nothing happened"]
    first = min(event.at for event in events)
    last = max(event.at for event in events)
    step = _step((last - first) / width)
    columns = min(width, _column(last, first, step) + 1)
    rows: dict[str, list[Event]] = {}
    for of_inputs in (True, False):
        for event in events:
            if (event.kind in OF_INPUTS) is of_inputs:
                rows.setdefault(event.input or event.container, []).append(event)
    left = max(len(name) for name in rows)
    lines = [_axis(left, first, step, columns)]
    for name, own in rows.items():
        lines.append(f"{name:<{left}}  {_row(own, first, step, columns)}".rstrip())
    return lines


def _row(events: list[Event], first: float, step: float, columns: int) -> str:
    """Return the row of one input or container; an input's row ends with its outcome."""
    cells = [" "] * columns
    mark, at, end = " ", 0, ""
    for event in events:
        column = min(columns, _column(event.at, first, step))
        cells[at:column] = mark * (column - at)
        at = column
        mark = _MARK_AFTER.get(event.kind, " ")
        if event.kind == "settled":
            answered_early = any(later.kind == "ended" for later in events)
            mark = "+" if answered_early else " "
            end = event.detail
    cells[at:] = mark * (columns - at)
    row = "".join(cells)
    if not any(cell != " " for cell in cells):
        # All events fell into one column: show one mark there.
        row = " " * min(at, columns - 1) + "|"
    where = next((event.container for event in reversed(events) if event.container), "")
    if events[0].kind not in OF_INPUTS:
        return row
    return f"{row.ljust(columns)}  {' '.join(part for part in (end, where) if part)}"


def _axis(left: int, first: float, step: float, columns: int) -> str:
    """Return the line with the times; a time that has no room is left out."""
    line = ""
    for tick in range(0, columns, 10):
        label = seconds(first + tick * step)
        if len(line) <= tick:
            line = line.ljust(tick) + label + " "
    return f"{'':<{left}}  {line.rstrip()} s  ({seconds(step)} s a column)"


def _column(at: float, first: float, step: float) -> int:
    # Without the addend, rounding could put times that are one step apart into one column.
    return int((at - first) / step + 1e-6)


def _step(least: float) -> float:
    """Return the seconds for one column: 1, 2 or 5 times a power of ten, at least `least`."""
    step = 1e-6
    while True:
        for factor in (1.0, 2.0, 5.0):
            if step * factor >= least * (1 - 1e-9):
                return step * factor
        step *= 10


def seconds(value: float) -> str:
    """Return a time as text, rounded to microseconds: sums of floats show no stray digits."""
    return f"{round(value, 6):.6f}".rstrip("0").rstrip(".")
