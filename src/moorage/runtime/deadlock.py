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
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Final, cast

from .. import config
from ..exception import DeadlockError
from . import forking
from .batching import batch_of
from .cancellation import Cell
from .clock import Clock
from .container import Container
from .elsewhere import log
from .input import Input, InputState
from .knots import Node
from .outcome import Failure
from .real import Real
from .streaming import stream_of
from .waiting_graph import NOT_BEGUN, WaitingGraph
from .waits import Read, Wait, blockers_of, blockers_of_reader, ends, known, waiting

if TYPE_CHECKING:
    from .pools.pool import Pool

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


# Without a slot, and not waiting for a next attempt.
IN_LINE: Final = (InputState.QUEUED, InputState.OUTSIDE)

# One search at a time: two that find the same knot must not both cut it.
_looking: Final = Real.Lock()


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
_given_up: Final[set[Input]] = set()  # likewise: about to be failed


def _after_fork() -> None:
    forking.renew(_looking)
    forking.keep(list(_suspicions), set(_given_up))
    _suspicions.clear()
    _given_up.clear()


forking.in_child(_after_fork)


def look(wait: Wait) -> None:
    """`wait` has begun, and is known: cut the knot that it closes, if it does."""
    on = wait.on
    if type(on) is Input and on.state not in IN_LINE:  # as most are
        alone = len(known) == 1 and on.container is not wait.flow
        if alone and batch_of(on) is not wait.caller:
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
            if input is not None and input.state not in IN_LINE:
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
        with _looking:
            graph = WaitingGraph(starts, pool, _given_up)
            knot = graph.knot()
            if not knot:
                return
            waits = [node.what for node in knot if isinstance(node.what, Wait)]
            victim = graph.victim(knot)
            text = _message(graph, knot, waits, victim)
            # After these, which look at what there is now: a stream that nobody reads may
            # be collected meanwhile, and whoever was queued behind it runs.
            if not graph.is_still_so():
                continue
            grace = config.deadlock_grace
            if patient and grace > 0 and any(wait.awaits for wait in waits):
                _suspect(starts or waits, graph, waits[0].pool.clock, grace)
                break
            error = DeadlockError(text)
            if victim is None:
                # Nobody is queued: the youngest that waits is told itself.
                youngest = max(waits, key=lambda wait: wait.since)
                youngest.error = error
                tell: Callable[[], object] = youngest.waiter.wake
            else:
                # Noted until it is settled: nobody else is to give up another for it.
                _given_up.add(victim)
                tell = partial(_give_up, graph.pool_of[victim], victim, error)
        tell()
    said = "%s\n(raised as DeadlockError in %g s unless it ends)"
    log(logger, logging.WARNING, said, text, grace)


def _suspect(starts: list[Wait], graph: WaitingGraph, clock: Clock, grace: float) -> None:
    suspicion = _Suspicion(starts, graph.dead_pools())
    _suspicions.append(suspicion)
    clock.call_at(clock.now() + grace, suspicion.look_again)


def _give_up(pool: Pool, victim: Input, error: DeadlockError) -> None:
    # It may have got a slot meanwhile, by a limit that was raised.
    pool.drop(victim, Failure(error))
    with _looking:
        _given_up.discard(victim)


# -- what is said about it ----------------------------------------------------------------


def _message(graph: WaitingGraph, knot: set[Node], waits: list[Wait], victim: Input | None) -> str:
    """Who waits for whom, and in the last line what to write instead."""
    waits = sorted(waits, key=lambda wait: wait.since)
    lines = ["these wait for one another, and none of them can ever end:"]
    lines += [f"  {_waiting_of(wait)}" for wait in waits[:SHOWN]]
    if len(waits) > SHOWN:
        lines.append(f"  and {len(waits) - SHOWN} more")
    blocked = [wait for wait in waits if not wait.awaits and not isinstance(wait.flow, (int, Cell))]
    full = [
        node.what.call.target.name
        for node in knot
        if isinstance(node.what, Input)
        and node.what.call.target.is_generator
        and node.what.state not in NOT_BEGUN
        and stream_of(node.what.call).is_full
    ]
    if full:
        lines.append(
            f"{full[0]} waits for the reader of its items, which waits for something else; "
            f"read all items of {full[0]}, or close() it, before waiting for anything else"
        )
    elif blocked:
        who, what = _caller_of(blocked[0]), _called_by(blocked[0])
        lines.append(
            f"{who} blocks its container's event loop while it waits for {what}, which needs it; "
            f"write the call of {what} with `await` and .aio(...)"
        )
    elif victim is None:
        lines.append(
            f"{_caller_of(waits[-1])} waits for what waits for it; "
            "write return in one of them, and read the result where neither runs"
        )
    else:
        name = victim.call.target.name
        pools = " and ".join(sorted({pool.options.name for pool in graph.dead_pools()})) or name
        local = f".local(...) of {name}" if victim.call.target.is_method else f"{name}.local(...)"
        lines.append(
            f"{name} gets no slot: all slots of {pools} are held by inputs that wait for it; "
            f"call {local}, which needs none, or give {pools} a larger max_inputs or "
            "max_containers, or spawn() it and return without waiting"
        )
    return "\n".join(lines)


def _caller_of(wait: Wait) -> str:
    if wait.caller is not None:
        return wait.caller.call.target.name
    if wait.awaits or isinstance(wait.flow, (int, Cell)):
        return "a caller outside"
    return f"a hook of {cast('Pool', cast(Container, wait.flow).host).options.name}"


def _called_by(wait: Wait) -> str:
    on = wait.on
    if on is None:
        return wait.pool.options.name
    if isinstance(on, Sequence):
        return on[0][1].call.target.name
    return on.call.target.name if isinstance(on, Input) else on.target.name


def _waiting_of(wait: Wait) -> str:
    who = _caller_of(wait)
    if wait.caller is not None:
        who = f"{who} ({wait.caller.input_id})"
    on = wait.on
    if on is None:
        return f"{who} waits for room in the backlog of {wait.pool.options.name}"
    if isinstance(on, Input):
        return f"{who} waits for {on.call.target.name} ({on.input_id}), which {_state_of(on)}"
    if isinstance(on, Sequence):
        return f"{who} waits for any of {len(on)} calls, of {on[0][1].call.target.name} first"
    return f"{who} waits for the results of a map over {on.target.name}"


def _state_of(input: Input) -> str:
    if input.state in IN_LINE:
        return "is queued"
    if input.state is InputState.GRANTED:
        return "has a slot and cannot begin"
    return "runs"
