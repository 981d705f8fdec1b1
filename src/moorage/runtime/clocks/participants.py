"""Participants: the threads, event loops and inputs of a virtual clock, and which are busy.

Owns the set of participants of one virtual clock, and the scopes that keep the clock open.
Time moves only while no participant is busy: the clock reads `Participants.busy`, and this
file rings the clock when `busy` becomes empty.  Of the busy participants one at a time runs:
the one that has the turn, see ``turns.py``.  This file knows nothing of timers.

Begin at `begin`, `bind_thread` and `end`, then `take_turn`, then `enter` and `leave`.

The engine finds this object as ``clock.participants``, which is None in real time.  The engine
calls `begin`, `bind_thread` and `end` for each input that it runs, `expected` for work that it
hands to another thread, `out_of_turn` where it waits for another thread in real time, `rest`
and `one_by_one` where the order must not depend on which thread is faster, and `enter` and
`leave` for users' threads.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, Final, Protocol

from ...exception import InvalidError
from ..real import Real
from ..thread_state import thread_state
from ..uninterruptible import uninterruptible
from .choices import Choices
from .foreign import ForeignWait
from .preemption import Preemption
from .reach import VirtualTime
from .stuck import ON_ITS_LOOP
from .turns import Gate, Turns
from .unfit_loops import advice_for_test_case, forget_loop

# The order of timers that are due at the same time and were set within one instant, that is,
# between two moments at which all participants wait.  Timers of participants that the engine
# began (INSIDE) come before timers of threads that entered the clock (OUTSIDE), because those
# threads gave the engine its work.  Timers of other threads come last.  BEFORE_ALL is for `rest`.
BEFORE_ALL: Final = -1
INSIDE: Final = 0
OUTSIDE: Final = 1
LAST: Final = (2, 0)


class LoopPart:
    """An event loop as a participant: while it runs, it replaces the participant of its thread."""

    clock: Any  # the clock that this loop belongs to
    # The fields below are guarded by the clock's lock.
    # While the loop runs: the participant that its thread was before, and will be afterwards.
    outer: object = None
    # True while the loop is blocked: its thread sits in `clock.wait`.
    waits: bool = False


class _Part:
    """The state of one thread that entered the clock: how often, and as which participant."""

    __slots__ = ("before", "depth", "key")

    def __init__(self, before: VirtualTime | None) -> None:
        self.depth: int = 1
        # The participant made for the thread; None if the thread was one already, for
        # example as a worker.
        self.key: object = None
        self.before: VirtualTime | None = before  # the thread's clock before it entered


class Timekeeping(Protocol):
    """What the participants need of their clock."""

    def ring(self) -> None:
        """Wake the clock's thread, which checks whether time may move.  Under the lock."""
        ...

    def shut(self) -> threading.Thread | None:
        """Close the clock after its last scope.  Under the lock.

        Returns the clock's thread, which the caller joins after it has released the lock.
        """
        ...

    def rest(self) -> None:
        """Block this thread until all other participants wait."""
        ...

    def fire(self, waiter: Any) -> None:
        """End the wait of `waiter`.  Under the lock."""
        ...

    def watch(self) -> None:
        """Watch the holder of the turn from now on, for another wants the turn.  Under the lock."""
        ...


class Participants:
    """The participants of one virtual clock."""

    def __init__(
        self, clock: VirtualTime, keeping: Timekeeping, choices: Choices | None = None
    ) -> None:
        self._clock = clock
        self.choices: Choices | None = choices
        # Set before anybody takes part, or never.
        self.preemption: Preemption | None = None
        self._keeping = keeping
        # Also the clock's lock.  While a thread holds this lock, it calls nothing but
        # `keeping`, so this lock is always the last one that a thread takes.
        self.lock: threading.Lock = Real.Lock()
        # The lock guards all fields below.
        # The busy participants and their names.  Invariant: time moves only while `busy`
        # and `awaited` are both empty.
        self.busy: dict[object, str] = {}
        # Work that finalizers handed to another thread.  Added without the lock, because a
        # finalizer must not take it.  This is safe: the thread that adds is a participant
        # and busy, so time stands still meanwhile.
        self.awaited: dict[object, str] = {}
        self.turns: Turns = Turns(self.awaited, keeping.watch, choices)
        # The waits of tasks on loops that take no part.  Removed from without the lock.
        self.foreign: set[ForeignWait] = set()
        # The participant as which a thread waits, by the thread's ident.
        self.key_of_thread: dict[int, object] = {}
        # The rank of each participant: (INSIDE or OUTSIDE, number of its arrival).
        self.orders: dict[object, tuple[int, int]] = {}
        self._came = 0
        # Increases with every change of this object.  While `changes` stays the same, the
        # participants make no progress.
        self.changes: int = 0
        # The threads that entered, by the thread's ident.
        self.parts: dict[int, _Part] = {}
        # How many scopes and loops keep the clock open.  The clock closes when it becomes 0.
        self.open: int = 0
        self.closed: bool = False
        # The waiters of participants that are blocked in a lock or queue of users' code, in the
        # order in which they wait; each has `blocked`, see ``blocking.py``.
        self.blocked: dict[Any, None] = {}
        # The ids of the locks for which a waiter was woken that has not tried again yet.
        self._coming: set[int] = set()
        # Whether threads that participants start take part too; see ``started.py``.
        self.brings_threads: bool = False
        # The keys of such threads, by the id of the thread.
        self._started: dict[int, object] = {}
        # The keys of such threads that now run another participant, by that participant.
        self._beneath: dict[object, object] = {}
        # Threads that participants started, and that take no part.
        self.others: dict[threading.Thread, None] = {}

    def after_fork(self) -> None:
        """Keep this thread only, in a forked child: the other participants are gone there."""
        me = Real.get_ident()
        key, part = self.key_of_thread.get(me), self.parts.get(me)
        self.lock = Real.Lock()
        self.busy = {} if key is None else {key: Real.current_thread().name}
        self.awaited = {}
        self.foreign = set()
        self.turns = Turns(self.awaited, self._keeping.watch, self.choices)
        if key is not None:
            self.turns.hold(key)
        self.key_of_thread = {} if key is None else {me: key}
        self.orders = {}
        self.parts = {} if part is None else {me: part}
        self.blocked, self._coming, self.others = {}, set(), {}
        self._started = {of: own for of, own in self._started.items() if own is key}
        self._beneath = {}
        self.open = 0 if part is None else part.depth

    # -- what the engine runs --------------------------------------------------------

    @uninterruptible
    def begin(self, key: object, name: str) -> None:
        """Count `key` as busy from now on, also before a thread runs it, and put it in line.

        A thread must come and run `key`, by itself and soon: see `bind_thread`.
        """
        with self.lock:
            self.busy[key] = name
            self.order(key, INSIDE)
            self.changes += 1
            self.turns.want(key)

    @uninterruptible
    def hold_time(self, key: object, name: str) -> None:
        """Count `key` as busy until `end`; no thread that takes part in this clock runs it."""
        with self.lock:
            self.busy[key] = name
            self.changes += 1

    def bind_thread(self, key: object) -> None:
        """Make this thread run for `key`, and wait until it is the turn of `key`.

        While this thread waits in moorage, `key` is idle.
        """
        thread_state.clock = self._clock
        with uninterruptible, self.lock:
            me = Real.get_ident()
            outer = self.key_of_thread.get(me)
            if outer is not None and outer in self._started.values():
                self._beneath[key] = outer
                self.idle(outer)
            self.key_of_thread[me] = key
        self.take_turn(key)
        if self.preemption is not None:
            self.preemption.begin()

    @uninterruptible
    def become(self, key: object, to: object, name: str) -> None:
        """Replace the participant `key` by `to`: this thread, which ran for `key`, runs on."""
        with self.lock:
            self.busy.pop(key, None)
            self.busy[to] = name
            self.order(to, INSIDE)
            self.orders.pop(key, None)
            self.key_of_thread[Real.get_ident()] = to
            self.turns.hand_over(key, to)
            self.changes += 1

    @uninterruptible
    def unbind_thread(self, key: object) -> None:
        """Undo `bind_thread` for this thread; `key` stays a participant."""
        me = Real.get_ident()
        with self.lock:
            if self.key_of_thread.get(me) is key:
                self._unbind(me, key)

    def _unbind(self, ident: int, key: object) -> None:
        outer = self._beneath.pop(key, None)
        if outer is not None and outer in self._started.values():
            self.key_of_thread[ident] = outer
        else:
            del self.key_of_thread[ident]

    @uninterruptible
    def end(self, key: object) -> None:
        """Remove the participant `key`, and unbind its threads."""
        with self.lock:
            for ident, bound in list(self.key_of_thread.items()):
                if bound is key:
                    self._unbind(ident, key)
            self.orders.pop(key, None)
            self.idle(key)

    def begin_scope(self, key: object, name: str) -> None:
        """As `begin`; `key` also keeps the clock open, until `end_scope`."""
        with uninterruptible, self.lock:
            self.keep_open()
        self.begin(key, name)

    def end_scope(self, key: object) -> None:
        """Undo `begin_scope`; close the clock after its last scope."""
        self.end(key)
        with uninterruptible, self.lock:
            thread = self.stop_keeping_open()
        if thread is not None:
            thread.join()

    @uninterruptible
    def runs(self, key: object) -> bool:
        """Whether `key` is busy, and does not wait for its turn."""
        with self.lock:
            return key in self.busy and not self.turns.waits(key)

    # -- the turn ----------------------------------------------------------------------

    def take_turn(self, key: object, within: float = -1.0) -> None:
        """Block this thread until it is the turn of `key`, or for `within` real seconds."""
        gate = Real.Lock()
        with uninterruptible, self.lock:
            turns = self.turns
            if turns.come(key):
                return
            gate.acquire()
            turns.want_at(key, Gate(gate.release, Real.get_ident(), None))
        try:
            came = gate.acquire(timeout=within)
        except BaseException:  # KeyboardInterrupt: this thread runs on, whoever has the turn
            with uninterruptible, self.lock:
                turns.close_gate(key)
            raise
        if not came:
            with uninterruptible, self.lock:
                turns.close_gate(key)

    def may_switch(self, key: object) -> None:
        """With a seed: perhaps let another participant go on before `key`, which has the turn."""
        choices = self.choices
        if choices is None:
            return
        with uninterruptible, self.lock:
            turns = self.turns
            self.look()
            if turns.holder is not key or not turns.is_contended or choices.one_in(2):
                return
            turns.stand_again(key)
        self.take_turn(key)

    def switch(self) -> bool:
        """Let another participant go on before this thread; false if none is in line."""
        with uninterruptible, self.lock:
            turns = self.turns
            key = self.key_of_thread.get(Real.get_ident())
            self.look()
            if key is None or turns.holder is not key or not turns.is_contended:
                return False
            turns.stand_again(key)
        self.take_turn(key)
        return True

    @contextmanager
    def out_of_turn(self) -> Generator[None, None, None]:
        """Give up the turn while this thread waits, in real time, for another thread.

        Virtual time stands meanwhile.  This thread goes to the second line at once, so that it
        goes on when all other participants rest: how long the real wait takes must not decide
        who goes first.
        """
        with uninterruptible, self.lock:
            key = self.key_of_thread.get(Real.get_ident())
            takes_part = key is not None and self.turns.holder is key
            if takes_part:
                self.look()
                self.turns.step_back(key)
        try:
            yield
        finally:
            if takes_part:
                self.take_turn(key)

    def expected(
        self, callback: Callable[[], object], name: str, *, optional: bool = False
    ) -> Callable[[], object]:
        """Wrap `callback`: time stands still from now until the returned callable has run.

        A thread that is not a participant must call the returned callable once.  The callback
        then runs when its turn comes, after all participants that are busy.  This method takes
        no lock, because finalizers call it.

        Args:
            optional: do not wait for `callback` if it, or the one before it, is blocked.
        """
        key = object()
        optionals = self.turns.optional
        if optional:
            if optionals.keys() - self.awaited.keys():
                return callback  # one was waited for in vain, and still runs
            optionals[key] = None
        self.awaited[key] = name

        def call() -> None:
            try:
                if key in self.awaited:
                    self.take_turn(key)
                callback()
            finally:
                with uninterruptible, self.lock:
                    self.awaited.pop(key, None)
                    optionals.pop(key, None)
                    self.changes += 1
                    self.turns.give_up(key)
                    self.ring_if_idle()

        return call

    def rest(self) -> None:
        """Wait until all other participants wait; return before any other timer fires.

        Returns also when nothing has changed for `REST_WITHIN` real seconds, because another
        participant may itself wait, in real time, for what the caller does next.
        """
        self._keeping.rest()

    def one_by_one(self, effects: Sequence[Callable[[], object]]) -> list[Callable[[], object]]:
        """Return effects that make the clock carry out `effects` one after the other.

        The clock carries out each effect when everything that the effect before it started
        waits again.  Otherwise the order would depend on the scheduling of threads:
            1. inputs of several containers wait for the members of one batch,
            2. the batch ends, which wakes all these inputs,
            3. the input that ends first gets the first slot; it must be the same input in
               each run.
        """
        clock = self._clock
        return [partial(clock.call_at, clock.now(), effect) for effect in effects]

    # -- threads of users --------------------------------------------------------------

    @property
    def has_this_thread(self) -> bool:
        return Real.get_ident() in self.key_of_thread

    def enter(self, written: str) -> int:
        """Make this thread a participant and keep the clock open; return the ident for `leave`.

        `written` is the user's code that led here, as the error quotes it.

        Raises:
            InvalidError: on an event loop that runs in real time, or in ``setUp`` of a test case
                that has made such a loop.
        """
        self.refuse_real_loop(written)
        advice = advice_for_test_case(in_set_up=True)
        if advice is not None and not self.has_this_thread:
            raise InvalidError(
                f"`{written}` was written in setUp, but the test's event loop was made before, "
                f"in real time: {advice}"
            )
        return self.enter_scope()

    def enter_scope(self, name: str | None = None, *, opens: bool = True) -> int:
        """As `enter`, on any thread.  Without `opens` the scope does not keep the clock open.

        On a loop of this clock the loop stays the participant.  When the loop stops, the
        thread becomes the participant, so time stands still between two runs of the loop.
        A thread that begins to take part waits for its turn.
        """
        me, key = self._enter(name, opens)
        if key is not None:
            try:
                self.take_turn(key)
            except BaseException:
                self.leave(me, opens=opens)
                raise
            if self.preemption is not None:
                self.preemption.begin()
        return me

    @uninterruptible
    def _enter(self, name: str | None, opens: bool) -> tuple[int, object]:
        """Make this thread a participant; return its ident, and its key if the key is new."""
        me = Real.get_ident()
        with self.lock:
            if opens:
                self.keep_open()
            part = self.parts.get(me)
            if part is not None:
                part.depth += 1
                return me, None
            self.parts[me] = part = _Part(thread_state.clock)
            bound = self.key_of_thread.get(me)
            key: object = None
            if bound is None:
                part.key = key = object()
                self.busy[key] = name or Real.current_thread().name
                self.order(key, OUTSIDE)
                self.key_of_thread[me] = key
                self.changes += 1
            elif isinstance(bound, LoopPart) and bound.outer is None:
                part.key = bound.outer = object()
                self.order(part.key, OUTSIDE)
        thread_state.clock = self._clock
        return me, key

    @uninterruptible
    def leave(self, ident: int, *, opens: bool = True) -> None:
        """End one scope of the thread `ident`; after its last scope the thread is out."""
        thread: threading.Thread | None = None
        with self.lock:
            part = self.parts.get(ident)
            if part is not None:
                part.depth -= 1
                if not part.depth:
                    del self.parts[ident]
                    self._end_part(ident, part)
            if opens:
                thread = self.stop_keeping_open()
            is_out = part is not None and not part.depth and ident == Real.get_ident()
        if thread is not None:
            thread.join()
        if is_out:
            forget_loop()

    def _end_part(self, ident: int, part: _Part) -> None:
        if ident == Real.get_ident() and ident not in self.key_of_thread:
            thread_state.clock = part.before
        if part.key is None:
            return
        bound = self.key_of_thread.get(ident)
        if isinstance(bound, LoopPart) and bound.outer is part.key:
            bound.outer = None
        elif bound is part.key:
            del self.key_of_thread[ident]
            if ident == Real.get_ident():
                thread_state.clock = part.before
        self.orders.pop(part.key, None)
        self.idle(part.key)

    # -- threads that users' code starts, see ``started.py`` -----------------------------

    @uninterruptible
    def look_again(self, blocked: Any) -> None:
        """Note that the waiter of `blocked` tries again now, or has given up."""
        with self.lock:
            self._coming.discard(id(blocked.what))

    def has_thread(self, thread: threading.Thread) -> bool:
        """Whether `thread` takes part."""
        return id(thread) in self._started or thread.ident in self.key_of_thread

    def is_started(self, ident: int) -> bool:
        """Whether the thread `ident` takes part because a participant started it."""
        key = self.key_of_thread.get(ident)
        return key is not None and key in self._started.values()

    def has_any_of(self, executor: Any) -> bool:
        """Whether a thread of a ``ThreadPoolExecutor`` takes part as one of these."""
        return bool(self._started) and any(
            id(thread) in self._started for thread in list(executor._threads)
        )

    @property
    def has_busy_started(self) -> bool:
        """Whether a thread that a participant started is busy.  Under the lock."""
        return bool(self._started) and any(key in self.busy for key in self._started.values())

    @uninterruptible
    def begin_started(self, thread: threading.Thread) -> object:
        """Make `thread`, which this thread is about to start, a participant; return its key."""
        key = object()
        self._started[id(thread)] = key
        self.begin(key, thread.name)
        return key

    @uninterruptible
    def end_started(self, thread: threading.Thread) -> None:
        """Undo `begin_started`, if the thread still takes part."""
        key = self._started.pop(id(thread), None)
        if key is not None:
            self.end(key)

    @uninterruptible
    def let_started_go(self, only: object = None) -> bool:
        """End the part of all threads that participants started, or of the one with this key.

        Their blocking calls go on for real.  False if there is no such thread.
        """
        with self.lock:
            return self.free_started(only)

    def free_started(self, only: object = None) -> bool:
        """As `let_started_go`, under the lock."""
        found = False
        for number, key in list(self._started.items()):
            if only is not None and key is not only:
                continue
            del self._started[number]
            found = True
            for ident, bound in list(self.key_of_thread.items()):
                if bound is key:
                    del self.key_of_thread[ident]
            self.orders.pop(key, None)
            for waiter in [w for w in self.blocked if w.key is key]:
                self._keeping.fire(waiter)
            self.turns.let_go(key)
            self.idle(key)
        return found

    # -- tasks that take no part, see ``foreign.py`` ----------------------------------------

    def note_foreign(self, wake: Callable[[], object]) -> ForeignWait | None:
        """Note that the calling task waits until `wake`; None on a loop of this clock.

        The caller calls `forget_foreign` afterwards, and raises the `error` of the wait.
        """
        loop: object = Real._get_running_loop()
        if isinstance(loop, LoopPart) and loop.clock is self._clock:
            return None
        wait = ForeignWait(wake)
        with uninterruptible, self.lock:
            # Not a change of the clock: a task that waits again and again, with a limit, must
            # not put off that others are told that time is stuck.
            self.foreign.add(wait)
            self._keeping.watch()
        return wait

    def forget_foreign(self, wait: ForeignWait) -> None:
        """End `note_foreign`.  Takes no lock: the garbage collector may close the coroutine."""
        self.foreign.discard(wait)

    def refuse_await(self) -> None:
        """Refuse an await on a loop in real time that would wait for virtual time to pass.

        Raises:
            InvalidError: if this thread is a participant, so that time would stand still.
        """
        if self.has_this_thread:
            self.refuse_real_loop("await ....aio(...)")

    def refuse_real_loop(self, written: str) -> None:
        """Refuse a thread that runs a loop in real time: time would stand still while it idles."""
        loop: object = Real._get_running_loop()
        if isinstance(loop, LoopPart) and loop.clock is self._clock:
            return
        if loop is not None or in_trio():
            what = "trio" if loop is None else "an event loop"
            if isinstance(loop, LoopPart):
                what = "an event loop of another clock"
            elif loop is not None:
                what = "an event loop that runs in real time"
            advice = advice_for_test_case(in_set_up=False) or ON_ITS_LOOP
            raise InvalidError(
                f"`{written}` was written on {what}, which does not take part in this clock, "
                f"so virtual time would stand still while this loop waits; {advice}"
            )

    # -- for the clock and its loops, all under the lock ---------------------------------

    def order(self, key: object, side: int) -> None:
        """Give `key` its rank; `side` is INSIDE or OUTSIDE."""
        self._came += 1
        self.orders.setdefault(key, (side, self._came))

    def side_of(self, key: object) -> tuple[int, int]:
        """Return the rank of the timers of `key` among all timers of one instant."""
        return self.orders.get(key.outer if isinstance(key, LoopPart) else key, LAST)

    def idle(self, key: object) -> None:
        """Count `key` as not busy."""
        self.look()
        self.changes += 1
        was_busy = self.busy.pop(key, None) is not None
        self.turns.give_up(key)
        if was_busy:
            self.ring_if_idle()

    def ring_if_idle(self) -> None:
        """Ring the clock if no participant is busy."""
        if not self.busy:
            self._keeping.ring()

    def block(self, waiter: Any) -> None:
        """Add the waiter of a participant that is blocked in a lock or queue of users' code."""
        if waiter.blocked.again:
            self.blocked = {waiter: None, **self.blocked}
        else:
            self.blocked[waiter] = None
        self._keeping.watch()

    def look(self) -> bool:
        """Wake those whose lock or queue is free now; false if there is none.

        Of several that wait for one lock, the first is woken, or the one that a seed chooses.  The
        next is woken when that one has tried.
        """
        if not self.blocked:
            return False
        found = False
        by_lock: dict[int, list[Any]] = {}
        for waiter in self.blocked:
            by_lock.setdefault(id(waiter.blocked.what), []).append(waiter)
        for number, waiters in by_lock.items():
            if number in self._coming or not waiters[0].blocked.is_free():
                continue
            pick = 0 if self.choices is None else self.choices.pick(len(waiters))
            self._coming.add(number)
            self._keeping.fire(waiters[pick])
            found = True
        return found

    def keep_open(self) -> None:
        """Count one more scope or loop that keeps the clock open."""
        self.open += 1
        self.closed = False

    def stop_keeping_open(self) -> threading.Thread | None:
        """Count one less, and close the clock after the last.

        Returns the clock's thread if the clock was closed; the caller joins the thread after
        it has released the lock.
        """
        self.open = max(0, self.open - 1)
        return None if self.open else self._keeping.shut()


def in_trio() -> bool:
    trio = sys.modules.get("trio")
    if trio is None:
        return False
    try:
        trio.lowlevel.current_trio_token()
    except (AttributeError, RuntimeError):
        return False
    return True
