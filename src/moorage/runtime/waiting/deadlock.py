"""Deadlock: finds inputs that wait for each other in a cycle, and fails one of them.

Owns the search, and the messages about what the search finds.  Begin at `check_wait`, then
`_search`, then `_decide`; `WaitingGraph.victim` chooses the input that fails.  All entry points
are called with no lock held:

- ``callers.py`` calls `check_wait` when a wait begins, and `task_wait_ended` when the wait of
  one of an input's tasks ends.
- A stream calls `producer_waits` when its generator begins to wait for the reader.
- A pool has `check_pool` called when it loses slots, gets no room for a container, or queues
  a retry.  `update_autoscaler` calls `check_all`.

Nothing else starts a search, except the second check at the end of the grace and the answers
of loops, both below.  A search has up to three steps:

1. A quick check, which ends at the first input that surely makes progress.
2. The graph of everything that the wait depends on.  In the graph, an input whose tasks wait
   needs any of these waits to end.  A deadlock of threads alone is cut at once.
3. If an input of the cycle is async, the search asks its loop what else could let the input
   make progress (``awaited.py``).  If there is something (a task that sleeps, a timer), the
   loop checks again after it has happened.  If there is nothing, the cycle is certain: the
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
from typing import TYPE_CHECKING, Any, Final, cast

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
    OfMap,
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
    """The generator of `call` begins to wait for its reader: check what the reader waits for.

    On the generator's thread or loop, with no lock held.
    """
    for blocker in blockers_of_reader(call):
        for wait in _waits_in(blocker)[:1]:
            check_wait(wait)


def check_pool(pool: Pool) -> None:
    """Check the inputs in the queue of `pool`, which has lost slots or got no room."""
    if waits_in_progress and surely_served(pool) is not None:
        _search([], pool)


def check_all() -> None:
    """Check all waits, after bounds have changed."""
    if waits_in_progress:
        _search(waiting())


# The states of an input that waits for a slot.  An input that waits for its next attempt
# (WAITING) is not among them: a timer lets it make progress.
WAITS_FOR_SLOT: Final = (InputState.QUEUED, InputState.OUTSIDE)

# One search at a time: two searches that find the same deadlock must not both cut it.
# Held while a pool's lock is taken; never taken while a pool's lock is held.
_searching: Final = Real.Lock()


class _Suspicion:
    """A deadlock in which some inputs await.

    The search cuts it only after the grace, because a task of such an input may still end its
    wait in a way that the search does not know.
    """

    def __init__(self, starts: list[Wait], pools: set[Pool], tasks: list[TaskWaits]) -> None:
        self.starts = starts
        self.pools = pools
        self.tasks = tasks
        for one in tasks:
            one.is_suspected = True

    def look_again(self) -> None:
        """Search again at the end of the grace.  On the clock's thread."""
        with _searching:
            _suspicions.remove(self)
            for one in self.tasks:
                one.is_suspected = False
        _search([*self.starts, *(wait for one in self.tasks for wait in one.current())])


_suspicions: Final[list[_Suspicion]] = []  # guarded by _searching
# The victims that are about to be failed, and are not settled yet.  Guarded by _searching.
_given_up: Final[set[Input]] = set()


def _after_fork() -> None:
    forking.renew(_searching)
    forking.keep(list(_suspicions), set(_given_up))
    _suspicions.clear()
    _given_up.clear()


forking.in_child(_after_fork)


def check_wait(wait: Wait) -> None:
    """Cut the deadlock that `wait` closes, if there is one.

    `wait` has begun, and is in `waits_in_progress`.
    """
    on = wait.on
    if wait.pool.is_elsewhere:
        told: Any = wait.pool
        told.note_wait(wait)  # the calling program searches
        return
    if type(on) is Input and on.state not in WAITS_FOR_SLOT:  # the most frequent case
        alone = len(waits_in_progress) == 1 and on.container is not wait.flow
        if alone and batch_of(on) is not wait.caller:
            return  # no other wait is in progress, and `on` does not need the flow that waits
        if on.outcome is not None or not blockers_of(on):
            return
    elif type(on) is Input and surely_served(wait.pool) is None:
        return  # the input gets a slot
    seen: set[Pool] = set()
    if _surely_progresses(wait, seen):
        return
    if _suspicions:
        with _searching:
            for suspicion in _suspicions:
                if not seen.isdisjoint(suspicion.pools):
                    suspicion.starts.append(wait)
                    return
    _search([wait])


def task_wait_ended(tasks: TaskWaits) -> None:
    """Check the input of `tasks` after a wait of one of its tasks ended.  On their loop.

    This event needs a check of its own: the last task that made progress may now end, or
    wait for the input's other tasks, and then no wait begins that would be checked.
    """
    if tasks.is_watched or tasks.is_suspected:
        return
    wait = tasks.eldest()
    if wait is not None:
        check_wait(wait)


def _waits_in(blocker: Blocker) -> list[Wait]:
    return [blocker] if isinstance(blocker, Wait) else blocker.current()


def _surely_progresses(wait: Wait, seen: set[Pool]) -> bool:
    """Tell whether `wait` surely ends, as far as a quick check can tell.

    Goes on only where an input has exactly one blocker.  Usually the first step gives the
    answer.
    Adds the pools that it looks at to `seen`.
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
            if input is not None and input.state not in WAITS_FOR_SLOT:
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
    """Cut, one by one, the deadlocks of `starts`, or of the inputs in the queue of `pool`."""
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
    """Decide what to do about a deadlock in `graph`.

    The caller holds `_searching`.

    Returns:
        The effect, to be run after the lock is released, and whether to search once more.
    """
    cycle = graph.cycle()
    if not cycle:
        return _nothing, False
    unasked = graph.unasked(cycle)
    if unasked:
        # From here on these inputs count as making progress, until their loops have answered.
        for tasks in unasked:
            tasks.is_watched = True
        return partial(_ask, unasked), True
    waits = [node.what for node in cycle if isinstance(node.what, Wait)]
    victim = graph.victim(cycle)
    text = _message(graph, cycle, waits, victim)
    # Check after `victim` and `_message`, because both read the present state: a stream
    # without a reader may be collected meanwhile, and the input queued behind it runs then.
    if not graph.is_still_so():
        return _nothing, True
    if _starts_grace(graph, starts, waits):
        return partial(_warn, text, config.deadlock_grace), False
    error = DeadlockError(text)
    if victim is None:
        # Every input that the cycle waits for has begun, so none can be failed.  The youngest
        # wait raises the error.
        youngest = max(waits, key=lambda wait: wait.since)
        youngest.error = error
        return youngest.waiter.wake, True
    # Until the victim is settled, other searches must know of it, or they would fail a
    # second input for the same deadlock.
    _given_up.add(victim)
    return partial(_give_up, graph.pool_of[victim], victim, error), True


def _nothing() -> None:
    pass


def _warn(text: str, grace: float) -> None:
    said = "%s\n(raised as DeadlockError in %g s unless it ends)"
    log(logger, logging.WARNING, said, text, grace)


def _starts_grace(graph: WaitingGraph, starts: list[Wait], waits: list[Wait]) -> bool:
    """Start the grace of a cycle, and tell whether it was started.

    At the end of the grace the cycle is checked again.  No grace starts if no input of the
    cycle awaits, or if the grace of one of its waits is over.  The caller holds `_searching`.
    """
    grace = config.deadlock_grace
    awaiting = [wait for wait in waits if wait.awaits]
    if not awaiting or grace <= 0:
        return False
    clock = waits[0].pool.clock
    now = clock.now()
    # A wait that was dead when its grace began has been dead since, even if other waits have
    # joined the cycle meanwhile.
    if any(wait.grace_ends_at is not None and wait.grace_ends_at <= now for wait in awaiting):
        return False
    for wait in awaiting:
        if wait.grace_ends_at is None:
            wait.grace_ends_at = now + grace
    tasks = [tasks for tasks, node in graph.tasks.items() if not node.alive]
    suspicion = _Suspicion(starts or waits, graph.dead_pools(), tasks)
    _suspicions.append(suspicion)
    clock.call_at(now + grace, suspicion.look_again)
    return True


def _give_up(pool: Pool, victim: Input, error: DeadlockError) -> None:
    # The victim may have got a slot meanwhile, if a limit was raised: `drop` decides.
    pool.drop(victim, Failure(error))
    with _searching:
        _given_up.discard(victim)


# -- asking loops ------------------------------------------------------------------------


def _ask(asked: Iterable[TaskWaits]) -> None:
    """Ask the loops of `asked` to check their tasks.  No lock held.

    A loop that does not answer is blocked by something other than a moorage wait: its inputs
    count as making progress until it answers.
    """
    by_loop: dict[asyncio.AbstractEventLoop, list[TaskWaits]] = {}
    for tasks in asked:
        by_loop.setdefault(tasks.loop, []).append(tasks)
    for loop, those in by_loop.items():
        try:
            # In an empty context: with this thread's context, the callback could count as a
            # callback of an input.
            loop.call_soon_threadsafe(_check_tasks, loop, those, context=Context())
        except RuntimeError:
            pass  # the loop is closed, and its tasks have ended


def _check_tasks(loop: asyncio.AbstractEventLoop, asked: list[TaskWaits]) -> None:
    """Find and watch the movers of these inputs; search for the cycle of inputs that have none.

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
    """Tell whether `task` is in a moorage wait, and `future` is the future of that wait."""
    wait = waits_in_progress.get(task)
    waiter = None if wait is None else wait.waiter
    return isinstance(waiter, AsyncioWaiter) and waiter is future


def _watch(tasks: TaskWaits, mover: Mover) -> None:
    """Check `tasks` again after `mover` has acted.  On the thread of their loop."""
    loop = tasks.loop
    if mover.future is not None:
        # The tasks that wait for the future added their callbacks earlier, so these run before
        # this callback.
        again = partial(_look_again_at, tasks.weak, mover.task)
        mover.future.add_done_callback(again, context=Context())
    elif mover.when is None:
        loop.call_soon(_look_again_at, tasks.weak, mover.task, context=Context())
    elif not math.isinf(mover.when):
        # With inf the time is unknown: nothing is watched, and the input counts as making
        # progress.
        tasks.set_timer(loop.call_at(mover.when, _timer_fired, tasks.weak, context=Context()))


def _timer_fired(of: weakref.ref[TaskWaits]) -> None:
    # A user's timer that is due at the same time may run after this one: let it run first.
    tasks = of()
    if tasks is not None:
        tasks.loop.call_soon(_look_again_at, of, None, context=Context())


def _look_again_at(of: weakref.ref[TaskWaits], task: Task | None, _: object = None) -> None:
    """Check the input again after its mover has acted, and has woken `task`."""
    tasks = of()
    if tasks is None or tasks.has_ended:
        return
    if task is not None and not task.done():
        # Check only the woken task here, because it may make progress for long, and each check
        # of all tasks is a walk over the loop.  The other tasks are checked, below, when this
        # task is blocked.
        mover = mover_of(task, Peers(tasks.input, tasks.loop), _sits_in)
        if mover is not None:
            _watch(tasks, mover)
            return
    tasks.is_watched = False
    wait = tasks.eldest()
    if wait is None or _surely_progresses(wait, set()):
        return
    with _searching:
        if tasks.is_watched:
            return  # a search on another thread has asked this loop meanwhile
        tasks.is_watched = True
    _check_tasks(tasks.loop, [tasks])


# -- messages -----------------------------------------------------------------------------


def _message(graph: WaitingGraph, cycle: set[Node], waits: list[Wait], victim: Input | None) -> str:
    """Return the text of a deadlock: who waits for whom; the last line says what to write."""
    waits = sorted(waits, key=lambda wait: wait.since)
    lines = ["these wait for one another, and none of them can ever end:"]
    lines += [f"  {_waiting_of(wait)}" for wait in waits[:SHOWN]]
    if len(waits) > SHOWN:
        lines.append(f"  and {len(waits) - SHOWN} more")
    of_threads = (int, Cell, Input)  # an input in another process: its sync code
    blocked = [wait for wait in waits if not wait.awaits and not isinstance(wait.flow, of_threads)]
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
            f"{who} blocks its container's event loop while it waits for {what}, which needs "
            f"that loop; write the call of {what} with `await` and .aio(...)"
        )
    elif victim is None:
        name = _caller_of(waits[-1])
        lines.append(
            f"{name} waits for a result that comes only after {name} itself has ended; "
            "let it return without waiting, and read that result in another caller"
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
        return wait.caller.shown
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
        return f"{who} waits for {on.shown} ({on.input_id}), which {_state_of(on)}"
    if isinstance(on, OfMap):
        return f"{who} waits for the results of a map over {on.target.name}"
    if isinstance(on, Sequence):
        return f"{who} waits for any of {len(on)} calls, of {on[0][1].call.target.name} first"
    return f"{who} waits for the results of a map over {on.target.name}"


def _state_of(input: Input) -> str:
    if input.state in WAITS_FOR_SLOT:
        return "is queued"
    if input.state is InputState.GRANTED:
        return "has a slot and cannot begin"
    return "runs"
