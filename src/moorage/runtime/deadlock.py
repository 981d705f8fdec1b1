"""Deadlock: finds inputs that wait for themselves, and ends one of them.

Owns the search and what is said about what it finds.  ``callers.py`` has each
wait looked at when it begins, a stream when its generator must wait, and the
pool itself after the few other events that take a slot away.  Nothing here runs
by itself, but the second look at a knot of awaiting inputs.

First comes a quick look, which ends at the first input that surely gets on;
only if it finds none, the exact one.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from .. import config
from ..exception import DeadlockError
from .cancellation import Cell
from .clock import Clock
from .input import Input, InputState
from .knots import Node
from .outcome import Failure
from .streaming import stream_of
from .waiting_graph import NOT_BEGUN, WaitingGraph
from .waits import Read, Wait, blockers_of, blockers_of_reader, ends, known, waiting

if TYPE_CHECKING:
    from .pool import Pool

logger: Final = logging.getLogger("moorage")

# The most waits that a message about a knot names.
SHOWN: Final = 6


def producer_waits(call: Read) -> None:
    """The generator of `call` begins to wait for its reader.  On its own flow, no lock held."""
    for wait in blockers_of_reader(call):
        look(wait)


def look_at(pool: Pool) -> None:
    """A slot of `pool` went away: see whether those that wait in its queue can get on."""
    if known and pool.glance(blockers_of) is not None:
        _look_closely([], pool)


def look_at_all() -> None:
    """Bounds were changed: see whether everybody that waits can get on."""
    if known:
        _look_closely(waiting())


# One search at a time: two that find the same knot must not both cut it.
_looking: Final = threading.Lock()


class _Suspicion:
    """A knot of which some await, and may have a timeout of their own: looked at later."""

    def __init__(self, starts: list[Wait], pools: set[Pool]) -> None:
        self.starts = starts
        self.pools = pools

    def look_again(self) -> None:
        """The grace is over.  On the clock's thread."""
        with _looking:
            _suspicions.remove(self)
        _look_closely(self.starts, patient=False)


_suspicions: Final[list[_Suspicion]] = []  # guarded by _looking


def look(wait: Wait) -> None:
    """`wait` has begun, and is known: cut the knot that it closes, if it does."""
    on = wait.on
    if type(on) is Input and on.state is not InputState.QUEUED:  # as most are
        if len(known) == 1 and on is not wait.caller and on.container is not wait.flow:
            return  # nobody else waits
        if on.outcome is not None or not blockers_of(on):
            return
    seen: set[Pool] = set()
    if _gets_on(wait, seen):
        return
    if _suspicions:
        with _looking:
            for suspicion in _suspicions:
                if not seen.isdisjoint(suspicion.pools):
                    suspicion.starts.append(wait)
                    return
    _look_closely([wait])


def _gets_on(wait: Wait, seen: set[Pool]) -> bool:
    """Whether `wait` surely ends, as far as that is quickly seen.

    It follows only what one live input decides; most ends at the first step.
    """
    waits = [wait]
    met = {wait}
    while waits:
        wait = waits.pop()
        if ends(wait):
            return True
        targets: list[tuple[Pool, Input | None]] = [*wait.targets()]
        for pool, input in targets or [(wait.pool, None)]:
            ways: list[list[Wait]] | None
            if input is not None and input.state is not InputState.QUEUED:
                ways = [blockers_of(input)]
            else:
                ways = [] if pool in seen else pool.glance(blockers_of)
                seen.add(pool)
                if not targets and wait.on is not None:
                    begun = pool.glance_at_call(wait.on, blockers_of)
                    ways = begun if ways is None or begun is None else ways + begun
                if ways is None:
                    return True
            for blockers in ways:
                if not blockers:
                    return True
                if len(blockers) == 1 and blockers[0] not in met:
                    met.add(blockers[0])
                    waits.append(blockers[0])
    return False


def _look_closely(starts: list[Wait], pool: Pool | None = None, *, patient: bool = True) -> None:
    """Cut, one by one, the knots in which `starts`, or those in `pool`'s queue, are."""
    while True:
        told: str | None = None
        with _looking:
            graph = WaitingGraph(starts, pool)
            knot = graph.knot()
            if not knot:
                return
            if not graph.is_still_so():
                continue
            waits = [node.what for node in knot if isinstance(node.what, Wait)]
            victim = graph.victim(knot)
            text = _message(graph, knot, victim)
            grace = config.deadlock_grace
            if patient and grace > 0 and any(wait.awaits for wait in waits):
                suspicion = _Suspicion(starts or waits, graph.dead_pools())
                _suspicions.append(suspicion)
                told = text
                clock: Clock = waits[0].pool.clock
                clock.call_at(clock.now() + grace, suspicion.look_again)
            else:
                error = DeadlockError(text)
                if victim is None:
                    # Nobody is queued: the youngest that waits is told itself.
                    wait = max(waits, key=lambda wait: wait.since)
                    wait.error = error
        if told is not None:
            logger.warning("%s\n(raised as DeadlockError in %g s unless it ends)", told, grace)
            return
        if victim is None:
            wait.waiter.wake()
        else:
            # If it has got a slot meanwhile, by a raised limit: the next look sees that.
            graph.pool_of[victim].drop(victim, Failure(error))


def _message(graph: WaitingGraph, knot: set[Node], victim: Input | None) -> str:
    waits = [node.what for node in knot if isinstance(node.what, Wait)]
    waits.sort(key=lambda wait: wait.since)
    lines = ["these wait for one another, and none of them can ever end:"]
    lines += [f"  {_waiting_of(wait)}" for wait in waits[:SHOWN]]
    if len(waits) > SHOWN:
        lines.append(f"  and {len(waits) - SHOWN} more")
    blocking = any(not wait.awaits and not isinstance(wait.flow, (int, Cell)) for wait in waits)
    full = [
        node.what
        for node in knot
        if isinstance(node.what, Input)
        and node.what.call.target.is_generator
        and node.what.state not in NOT_BEGUN
        and stream_of(node.what.call).is_full
    ]
    if full:
        name = full[0].call.target.name
        lines.append(
            f"{_stuck(graph, victim)} {name}, which waits for the reader of its items; "
            f"read all of {name}'s items, or close() it, before waiting for anything else"
        )
        return "\n".join(lines)
    names = sorted({pool.options.name for pool in graph.dead_pools()}) or ["its function"]
    shown = " and ".join(names)
    if blocking:
        lines.append(
            f"{_stuck(graph, victim)} a container's event loop, which a blocking call holds up; "
            "write `await ....aio(...)` for every call inside of an async function"
        )
    elif victim is None:
        lines.append(
            "an input waits for itself, or several in a circle; "
            "write return instead of waiting, and read the result outside of them"
        )
    else:
        target = victim.call.target
        local = f"the method's .local({'...'})" if target.is_method else f"{target.name}.local(...)"
        lines.append(
            f"{target.name} gets no slot: all of {shown} are held by inputs that wait for it; "
            f"call {local}, which needs none, spawn it and return without waiting, "
            f"or raise max_inputs or max_containers of {shown}"
        )
    return "\n".join(lines)


def _stuck(graph: WaitingGraph, victim: Input | None) -> str:
    return "an input waits for" if victim is None else f"{victim.call.target.name} waits for"


def _waiting_of(wait: Wait) -> str:
    if wait.caller is not None:
        who = f"{wait.caller.call.target.name} ({wait.caller.input_id})"
    elif not isinstance(wait.flow, (int, Cell)):
        who = "a task or a hook"
    else:
        who = "a caller outside"
    on = wait.on
    if on is None:
        return f"{who} waits for room in the backlog of {wait.pool.options.name}"
    if isinstance(on, Input):
        return f"{who} waits for {on.call.target.name} ({on.input_id}), which {_state_of(on)}"
    if isinstance(on, Sequence):
        return f"{who} waits for any of {len(on)} calls, of {on[0][1].call.target.name} first"
    return f"{who} waits for the results of a map over {on.target.name}"


def _state_of(input: Input) -> str:
    if input.state is InputState.QUEUED:
        return "is queued"
    if input.state is InputState.GRANTED:
        return "has a slot and cannot begin"
    return "runs"
