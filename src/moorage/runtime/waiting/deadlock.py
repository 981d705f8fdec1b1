"""Deadlock: finds inputs that wait for themselves, and ends one of them.

Owns the search and what is said about what it finds.  Begin reading at `look`, then
`_look_closely`.  ``callers.py`` has each wait looked at when it begins, and those of an
input's other tasks when one of them ends; a stream has it looked at when its generator must
wait; the pool after the few other events that take a slot away.  Nothing here runs by
itself, but the second look at a deadlock of awaiting inputs, and what loops were asked for.

A search has up to three steps:

1. A quick look, which ends at the first input that surely gets on.
2. The graph of all that the wait depends on.  It counts an input whose tasks wait as waiting
   for any of these waits.  A deadlock of threads alone is cut at once.
3. Where an input of the cycle is asynchronous, its loop is asked what else could make the
   input go on (``awaited.py``).  If there is something (a task that sleeps, a timer), the
   loop looks again when that has happened.  If there is nothing, the cycle is a fact: a
   warning comes now, and the error after `config.deadlock_grace`.
"""

from __future__ import annotations

import asyncio
import logging
import math
import weakref
from collections.abc import Callable, Iterable, Sequence
from contextvars import Context
from functools import partial
from typing import TYPE_CHECKING, Final, cast

from ... import config
from ...exception import DeadlockError
from .. import forking
from ..background import log
from ..containers.container import Container
from ..containers.streaming import stream_of
from ..guards.cells import Cell
from ..input import Input, InputState
from ..outcome import Failure
from ..pools.batching import batch_of
from ..real import Real
from .async_waiters import AsyncioWaiter
from .awaited import Future, Mover, Peers, Task, find_movers, mover_of
from .cycles import Node
from .surveys import surely_ends, surely_served
from .waiting_graph import NOT_BEGUN, WaitingGraph
from .waits import (
    Blocker,
    Read,
    TaskWaits,
    Wait,
    blockers_of,
    blockers_of_reader,
    ends,
    waiting,
    waits_in_progress,
)

if TYPE_CHECKING:
    from ..pools.pool import Pool

logger: Final = logging.getLogger("moorage")

# The most waits that a message about a deadlock names.
SHOWN: Final = 6


def producer_waits(call: Read) -> None:
    """The generator of `call` begins to wait for its reader.  On its own flow, no lock held."""
    for blocker in blockers_of_reader(call):
        for wait in _waits_in(blocker)[:1]:
            check_wait(wait)


def check_pool(pool: Pool) -> None:
    """A slot of `pool` went away: see whether those that wait in its queue can get on."""
    if waits_in_progress and surely_served(pool) is not None:
        _search([], pool)


def check_all() -> None:
    """Bounds were changed: see whether everybody that waits can get on."""
    if waits_in_progress:
        _search(waiting())


# Without a slot, and not waiting for a next attempt.
IN_LINE: Final = (InputState.QUEUED, InputState.OUTSIDE)

# One search at a time: two that find the same deadlock must not both cut it.
_searching: Final = Real.Lock()


class _Suspicion:
    """A deadlock of which some await: cut after the grace, as it may end in a way not known."""

    def __init__(self, starts: list[Wait], pools: set[Pool], tasks: list[TaskWaits]) -> None:
        self.starts = starts
        self.pools = pools
        self.tasks = tasks
        for one in tasks:
            one.is_suspected = True

    def look_again(self) -> None:
        """The grace is over.  On the clock's thread."""
        with _searching:
            _suspicions.remove(self)
            for one in self.tasks:
                one.is_suspected = False
        _search([*self.starts, *(wait for one in self.tasks for wait in one.current())])


_suspicions: Final[list[_Suspicion]] = []  # guarded by _looking
_given_up: Final[set[Input]] = set()  # likewise: about to be failed


def _after_fork() -> None:
    forking.renew(_searching)
    forking.keep(list(_suspicions), set(_given_up))
    _suspicions.clear()
    _given_up.clear()


forking.in_child(_after_fork)


def check_wait(wait: Wait) -> None:
    """`wait` has begun, and is known: cut the cycle that it closes, if it does."""
    on = wait.on
    if type(on) is Input and on.state not in IN_LINE:  # as most are
        alone = len(waits_in_progress) == 1 and on.container is not wait.flow
        if alone and batch_of(on) is not wait.caller:
            return  # nobody else waits
        if on.outcome is not None or not blockers_of(on):
            return
    elif type(on) is Input and surely_served(wait.pool) is None:
        return  # it gets a slot
    seen: set[Pool] = set()
    if _gets_on(wait, seen):
        return
    if _suspicions:
        with _searching:
            for suspicion in _suspicions:
                if not seen.isdisjoint(suspicion.pools):
                    suspicion.starts.append(wait)
                    return
    _search([wait])


def task_wait_ended(tasks: TaskWaits) -> None:
    """A wait of one of `tasks` has ended: see whether the input gets on.  On their loop.

    No wait begins when the last task that got on ends, or waits for the other tasks.
    """
    if tasks.is_watched or tasks.is_suspected:
        return
    wait = tasks.eldest()
    if wait is not None:
        check_wait(wait)


def _waits_in(blocker: Blocker) -> list[Wait]:
    return [blocker] if isinstance(blocker, Wait) else blocker.current()


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
            ways: list[list[Blocker]] | None
            if input is not None and input.state not in IN_LINE:
                ways = [blockers_of(input)]
            else:
                ways = [] if pool in seen else surely_served(pool)
                seen.add(pool)
                if not targets and wait.on is not None:
                    begun = surely_ends(pool, wait.on)
                    ways = begun if ways is None or begun is None else ways + begun
                if ways is None:
                    return True
            for blockers in ways:
                if not blockers:
                    return True
                if len(blockers) == 1:
                    found = [one for one in _waits_in(blockers[0]) if one not in met]
                    met.update(found)
                    waits += found
    return False


def _search(starts: list[Wait], pool: Pool | None = None) -> None:
    """Cut, one by one, the deadlocks in which `starts`, or those in `pool`'s queue, are."""
    goes_on = True
    while goes_on:
        with _searching:
            graph = WaitingGraph(starts, pool, _given_up)
            try:
                effect, goes_on = _decide(graph, starts)
            finally:
                graph.forget()
        effect()


def _decide(graph: WaitingGraph, starts: list[Wait]) -> tuple[Callable[[], object], bool]:
    """What to do about a deadlock in `graph`, without the lock; and whether to search once more.

    `_looking` is held.
    """
    cycle = graph.cycle()
    if not cycle:
        return _nothing, False
    unasked = graph.unasked(cycle)
    if unasked:
        # They count as getting on from here on, until their loops have answered.
        for tasks in unasked:
            tasks.is_watched = True
        return partial(_ask, unasked), True
    waits = [node.what for node in cycle if isinstance(node.what, Wait)]
    victim = graph.victim(cycle)
    text = _message(graph, cycle, waits, victim)
    # After these, which look at what there is now: a stream that nobody reads may
    # be collected meanwhile, and whoever was queued behind it runs.
    if not graph.is_still_so():
        return _nothing, True
    if _wants_patience(graph, starts, waits):
        return partial(_warn, text, config.deadlock_grace), False
    error = DeadlockError(text)
    if victim is None:
        # Nobody is queued: the youngest that waits is told itself.
        youngest = max(waits, key=lambda wait: wait.since)
        youngest.error = error
        return youngest.waiter.wake, True
    # Noted until it is settled: nobody else is to give up another for it.
    _given_up.add(victim)
    return partial(_give_up, graph.pool_of[victim], victim, error), True


def _nothing() -> None:
    pass


def _warn(text: str, grace: float) -> None:
    said = "%s\n(raised as DeadlockError in %g s unless it ends)"
    log(logger, logging.WARNING, said, text, grace)


def _wants_patience(graph: WaitingGraph, starts: list[Wait], waits: list[Wait]) -> bool:
    """Whether the cycle is to be looked at again later, which is arranged; `_looking` is held."""
    grace = config.deadlock_grace
    awaiting = [wait for wait in waits if wait.awaits]
    if not awaiting or grace <= 0:
        return False
    clock = waits[0].pool.clock
    now = clock.now()
    # A wait that was dead then has been dead since, whoever else has come to the cycle.
    if any(wait.ripe_at is not None and wait.ripe_at <= now for wait in awaiting):
        return False
    for wait in awaiting:
        if wait.ripe_at is None:
            wait.ripe_at = now + grace
    tasks = [tasks for tasks, node in graph.tasks.items() if not node.alive]
    suspicion = _Suspicion(starts or waits, graph.dead_pools(), tasks)
    _suspicions.append(suspicion)
    clock.call_at(now + grace, suspicion.look_again)
    return True


def _give_up(pool: Pool, victim: Input, error: DeadlockError) -> None:
    # It may have got a slot meanwhile, by a limit that was raised.
    pool.drop(victim, Failure(error))
    with _searching:
        _given_up.discard(victim)


# -- asking loops ------------------------------------------------------------------------


def _ask(asked: Iterable[TaskWaits]) -> None:
    """Have their loops look at them.  No lock held.

    A loop that does not answer is held up by something else than a wait of ours: what runs
    there counts as getting on until it does.
    """
    by_loop: dict[asyncio.AbstractEventLoop, list[TaskWaits]] = {}
    for tasks in asked:
        by_loop.setdefault(tasks.loop, []).append(tasks)
    for loop, those in by_loop.items():
        try:
            # An empty context: ours would count as that of a callback of the input's.
            loop.call_soon_threadsafe(_check_tasks, loop, those, context=Context())
        except RuntimeError:
            pass  # the loop is closed, and what ran there has ended


def _check_tasks(loop: asyncio.AbstractEventLoop, asked: list[TaskWaits]) -> None:
    """Find out what may make these go on, and watch it; look for the cycle of the others.

    On the thread of `loop`.
    """
    live = [tasks for tasks in asked if not tasks.has_ended]
    movers = find_movers(loop, {tasks.input for tasks in live}, _sits_in)
    starts: list[Wait] = []
    for tasks in asked:
        if tasks.has_ended:
            tasks.is_watched = False
    for tasks in live:
        mover = movers.get(tasks.input)
        if mover is not None:
            _watch(tasks, mover)
            continue
        tasks.blocked_at = tasks.changes
        tasks.is_watched = False
        starts += tasks.current()
    if starts:
        _search(starts)


def _sits_in(task: Task, future: Future) -> bool:
    """Whether `future` is that of the wait of ours in which `task` sits."""
    wait = waits_in_progress.get(task)
    waiter = None if wait is None else wait.waiter
    return isinstance(waiter, AsyncioWaiter) and waiter.future is future


def _watch(tasks: TaskWaits, mover: Mover) -> None:
    """Look at `tasks` again once `mover` has had its effect.  On the thread of their loop."""
    loop = tasks.loop
    if mover.future is not None:
        # The callbacks of those that wait for it were added before, and run before this one.
        again = partial(_look_again_at, tasks.weak, mover.task)
        mover.future.add_done_callback(again, context=Context())
    elif mover.when is None:
        loop.call_soon(_look_again_at, tasks.weak, mover.task, context=Context())
    elif not math.isinf(mover.when):  # else nobody knows when: the input counts as getting on
        tasks.set_timer(loop.call_at(mover.when, _timer_fired, tasks.weak, context=Context()))


def _timer_fired(of: weakref.ref[TaskWaits]) -> None:
    # One that is due at the same time may come after this.
    tasks = of()
    if tasks is not None:
        tasks.loop.call_soon(_look_again_at, of, None, context=Context())


def _look_again_at(of: weakref.ref[TaskWaits], task: Task | None, _: object = None) -> None:
    """What was watched has happened; `task` is what it woke."""
    tasks = of()
    if tasks is None or tasks.has_ended:
        return
    if task is not None and not task.done():
        # Only this one, for it may go on for long: its input's tasks are all that it may
        # be blocked on, and any other task is looked at when this one is blocked.
        mover = mover_of(task, Peers(tasks.input, tasks.loop), _sits_in)
        if mover is not None:
            _watch(tasks, mover)
            return
    tasks.is_watched = False
    wait = tasks.eldest()
    if wait is None or _gets_on(wait, set()):
        return
    with _searching:
        if tasks.is_watched:
            return  # asked meanwhile, on another thread
        tasks.is_watched = True
    _check_tasks(tasks.loop, [tasks])


# -- what is said about it ----------------------------------------------------------------


def _message(graph: WaitingGraph, cycle: set[Node], waits: list[Wait], victim: Input | None) -> str:
    """Who waits for whom, and in the last line what to write instead."""
    waits = sorted(waits, key=lambda wait: wait.since)
    lines = ["these wait for one another, and none of them can ever end:"]
    lines += [f"  {_waiting_of(wait)}" for wait in waits[:SHOWN]]
    if len(waits) > SHOWN:
        lines.append(f"  and {len(waits) - SHOWN} more")
    blocked = [wait for wait in waits if not wait.awaits and not isinstance(wait.flow, (int, Cell))]
    full = [
        node.what.call.target.name
        for node in cycle
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
