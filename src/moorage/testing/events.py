"""Events: what happened in the pools of a run, to be asserted on and to be read.

Owns `Event`, the list of them, and `Timeline`, which draws it as text.  They are recorded
by `Probe`.  Pure: values in, text out.
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
"""What may happen: up to ``ended`` to inputs, from ``starting`` on to containers."""

OF_INPUTS: Final[frozenset[EventKind]] = frozenset(
    {"outside", "queued", "granted", "started", "waiting", "settled", "ended"}
)


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that happened.

    Attributes:
        at: when, in seconds of the run's clock; from the probe's beginning on in real time.
        kind: for an input ``outside`` (the backlog is full), ``queued``, ``granted`` (it
            got a slot), ``started`` (its code begins), ``waiting`` (it failed, and will be
            tried again), ``settled`` (it has its outcome) and ``ended`` (its code has, some
            time after its caller was answered).  For a container ``starting``, ``ready``,
            ``draining``, ``stopping`` and ``stopped``.
        input: as it was called: ``fetch(1)``.  Empty for a container's.
        container: its pool and its number: ``fetch-1``.  Empty while there is none.
        detail: of ``settled`` ``result``, ``cancelled`` or the name of the error; of
            ``waiting`` that of the error.
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
    """What happened, in order.  A tuple whose text has one line for each.

    In virtual time all but this is equal in every run: in which order the code of
    different threads starts and settles, and containers have stopped, within one instant.
    """

    __slots__ = ()

    def of(self, *kinds: EventKind, input: str | None = None) -> Events:
        """Those of these kinds; of all, if none is given.  Of this input, if one is."""
        return Events(
            event
            for event in self
            if (not kinds or event.kind in kinds) and (input is None or event.input == input)
        )

    def inputs(self, kind: EventKind) -> list[str]:
        """To which inputs this happened, in order: ``events.inputs("granted")``."""
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


# What a row of the picture shows, from the event of a kind on.
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
"""What the marks of a `Timeline` mean."""


class Timeline(Sequence[str]):
    """A picture of what happened: a row for each input, in the order of their coming,
    then one for each container.

    Its text is the same in every run in virtual time, so that ``str(timeline)`` can be
    compared with what was expected.  It is also the sequence of its lines.

    Args:
        events: what happened.
        width: characters for the time axis, at the most.
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
        # It took no time: a mark where it was.
        row = " " * min(at, columns - 1) + "|"
    where = next((event.container for event in reversed(events) if event.container), "")
    if events[0].kind not in OF_INPUTS:
        return row
    return f"{row.ljust(columns)}  {' '.join(part for part in (end, where) if part)}"


def _axis(left: int, first: float, step: float, columns: int) -> str:
    line = ""
    for tick in range(0, columns, 10):
        label = seconds(first + tick * step)
        if len(line) <= tick:
            line = line.ljust(tick) + label + " "
    return f"{'':<{left}}  {line.rstrip()} s  ({seconds(step)} s a column)"


def _column(at: float, first: float, step: float) -> int:
    # Times that are a step apart must not fall into one column by rounding.
    return int((at - first) / step + 1e-6)


def _step(least: float) -> float:
    """Seconds for one character: the next of 1, 2 and 5 times a power of ten."""
    step = 1e-6
    while True:
        for factor in (1.0, 2.0, 5.0):
            if step * factor >= least * (1 - 1e-9):
                return step * factor
        step *= 10


def seconds(value: float) -> str:
    """A time as people write it: without the noise of sums of binary fractions."""
    return f"{round(value, 6):.6f}".rstrip("0").rstrip(".")
