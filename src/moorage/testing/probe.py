"""The probe: records what happens in the pools of a run, and holds inputs at gates.

Owns `Probe`.  The pools and executors of a run call it by the protocol `Probing` of
``runtime/pools/probing.py``.  They call `note` under a pool's lock, so that the events are
recorded in the order in which they happened, and conditions of waiting callers see each state of
the pool.  `note` returns the wake-ups of those callers as effects, because waking a task may run
code of its event loop.  Tests call the other public methods, from any thread.

Begin at `Probe.note`, then `_record`, then `around` and `_GatedInput`.
"""

from __future__ import annotations

from asyncio import CancelledError
from collections.abc import Awaitable, Callable, Coroutine, Generator, Sequence
from functools import partial
from types import CoroutineType, GeneratorType
from typing import TYPE_CHECKING, Any, cast

from ..exception import InvalidError
from ..frames import hide_our_frames
from ..runtime import forking
from ..runtime.by_hand import ByHand
from ..runtime.clocks.clock import Clock, system_clock
from ..runtime.clocks.parking import park
from ..runtime.clocks.patched_time import current_virtual_clock
from ..runtime.effects import Effect, carry_out
from ..runtime.input import Input, InputState, Target
from ..runtime.kinds import is_awaitable, refusal, unfinished
from ..runtime.labels import shown_call, type_name
from ..runtime.pools.batching import members_of
from ..runtime.real import Real
from ..runtime.uninterruptible import uninterruptible
from ..runtime.waiting.async_waiters import make_async_waiter, wait_in
from ..with_aio import with_aio
from .events import Event, EventKind, Events, Timeline
from .gates import POINTS, Gate, GatePoint
from .submission import ended_as

if TYPE_CHECKING:
    from ..functions import Function
    from ..runtime.containers.container import Container
    from ..runtime.pools.probing import Probed, What

Watch = Callable[[Any], Callable[[], object] | None]
"""Called with a pool, under the pool's lock; returns the waker of a waiting caller, or None.

A watch that returned a waker is removed, and the waker is called when the lock is released.
"""


class Probe:
    """Records the events of one run and holds its inputs: ``with app.run(probe=probe):``.

    A `FakeContainer` has its own probe, and offers the probe's methods as its own.  A
    probe serves one run at a time.  The recorded events stay when the run is left.
    """

    def __init__(self) -> None:
        # Guards the fields below, except `start_error`.  A leaf: taken under pools' locks.
        self._lock = Real.Lock()
        self._events: list[Event] = []
        # The labels of inputs that are not settled, and of abandoned inputs.  Other inputs
        # are dropped: the probe keeps no ended input alive.
        self._labels: dict[Input, str] = {}
        self._named: dict[str, int] = {}  # how many inputs had this text: the next is "#n"
        # These three are replaced as a whole under the lock, and read without the lock.
        self._gates: tuple[Gate, ...] = ()
        self._watches: tuple[Watch, ...] = ()
        self._wakes: tuple[Callable[[], object], ...] = ()  # of callers of `wait_until`
        self._pool: Probed | None = None  # the pool of the last event; gates ask its clock
        # The run's time that events call 0: in real time, the time of the first event.
        self._began: float | None = None
        # The error of the first container that failed to start.  Guarded by the pool's lock.
        self.start_error: BaseException | None = None
        forking.know(self)

    def _after_fork(self) -> None:
        """In a forked child: renew the lock, whose holder may be a thread of the parent.

        The wakers are dropped: their callers wait in the parent only.
        """
        self._lock = Real.Lock()
        self._wakes = ()

    @property
    def events(self) -> Events:
        """The events until now."""
        with uninterruptible, self._lock:
            return Events(self._events)

    def timeline(self, *, width: int = 60) -> Timeline:
        """Return a picture of the events until now, with at most `width` characters of time."""
        return Timeline(self.events, width=width)

    @hide_our_frames
    def hold(self, point: GatePoint, *, of: Function[..., Any, Any] | None = None) -> Gate:
        """Hold inputs at `point` from now on, until the gate is opened.

        Args:
            point: ``"start"``: the input has a slot, and its code has not begun.
                ``"await"``: an async input's code waits for the first time.
                ``"settle"``: the input's code has returned or has raised an `Exception`,
                and the pool does not know this yet.
                Generators can be held at ``"start"`` only.
            of: hold the inputs of this function only.

        Raises:
            InvalidError: if there is no such point, or inputs of `of` never come to it.
        """
        if point not in POINTS:
            raise InvalidError(
                f'inputs can be held at "start", "await" and "settle", got {point!r}; '
                'write hold("start")'
            )
        if of is not None:
            check_point(point, of._target.name, [of._target])
        gate = Gate(point, None if of is None else of._target.name, self._clock)
        with uninterruptible, self._lock:
            self._gates = (*(g for g in self._gates if not g.is_open), gate)
        return gate

    async def _wait_until_async(self, condition: Callable[[], object]) -> None:
        while True:
            waiter = make_async_waiter()
            self._add(waiter.wake)
            try:
                if condition():
                    return
                # Before the first call of a run it is not known which clock the run has.
                clock = self._pool.clock if self._pool is not None else system_clock
                await wait_in(clock, waiter)
            finally:
                self._remove(waiter.wake)

    @with_aio(_wait_until_async)
    def wait_until(self, condition: Callable[[], object]) -> None:
        """Wait until `condition()`, which reads counts of the run, is true.

        ``probe.wait_until(lambda: fetch.statistics().queued == 2)``.  The calling thread
        evaluates the condition at once, and again after each event of the run's inputs,
        slots and containers.  A change of anything else does not evaluate it again.
        In async code, write ``await probe.wait_until.aio(condition)``.

        In virtual time, which this method finds by itself, it waits as any wait of this
        library does, and a condition that can never become true raises `ClockStuckError`.
        In real time, it waits without a limit.

        Raises:
            Exception: the error that `condition` raises.
        """
        clock = cast(Clock, current_virtual_clock() or system_clock)
        while True:
            waiter = clock.make_waiter()
            # Add the waker before the condition is evaluated.  Otherwise:
            # 1. This thread evaluates the condition: false.
            # 2. An event makes the condition true, and finds no waker to call.
            # 3. This thread waits, and nobody wakes it.
            self._add(waiter.wake)
            try:
                if condition():
                    return
                with uninterruptible:
                    park(clock, waiter)
            finally:
                self._remove(waiter.wake)

    def _add(self, wake: Callable[[], object]) -> None:
        with uninterruptible, self._lock:
            self._wakes = (*self._wakes, wake)

    def _remove(self, wake: Callable[[], object]) -> None:
        with uninterruptible, self._lock:
            self._wakes = tuple(each for each in self._wakes if each != wake)

    def __repr__(self) -> str:
        return f"<Probe: {len(self._events)} events>"

    def _clock(self) -> Clock:
        if self._pool is None:
            raise InvalidError(
                "this probe has seen no call of any run yet; write "
                "`with app.run(probe=probe):` and call a function before you wait at a gate"
            )
        return self._pool.clock

    # -- called by pools and executors ------------------------------------------------

    def note(
        self,
        what: What,
        pool: Probed,
        input: Input | None = None,
        container: Container | None = None,
        error: BaseException | None = None,
    ) -> list[Effect]:
        """Record one event; return what wakes the callers that wait for it.

        See `Probing.note`.
        """
        if what == "failed":
            # Keep the first error.  Replacing it would drop an error under the pool's lock,
            # and dropping an error may run users' destructors.
            if self.start_error is None:
                self.start_error = error
        elif what == "ended":
            assert input is not None
            # Of a batch, only abandoned members: all others settle when the batch ends.
            for member in members_of(input):
                if member is input or member.state is InputState.ABANDONED:
                    self._record(what, pool, member, container, error)
        elif what != "released":
            self._record(what, pool, input, container, error)
        return [*self._run_watches(pool), *self._wakes]

    def around(
        self, pool: Probed, input: Input, function: Callable[..., Any]
    ) -> Callable[..., Any]:
        """Return `function` with the gates around it; see `Probing.around`."""
        target = input.call.target
        gated = _GatedInput(self, pool, input)
        if not target.is_async:
            return gated.wrap_generator(function) if target.is_generator else gated.wrap(function)
        if target.is_generator:
            return gated.wrap_async_generator(function)
        return gated.wrap_async(function)

    # -- called under a pool's lock -----------------------------------------------------

    def _record(
        self,
        kind: EventKind,
        pool: Probed,
        input: Input | None,
        container: Container | None,
        error: BaseException | None,
    ) -> None:
        now = pool.clock.now()
        where = "" if container is None else f"{pool.options.label}-{container.number}"
        detail = ""
        if kind == "settled":
            assert input is not None and input.outcome is not None
            detail = ended_as(input.outcome)
        elif error is not None:
            detail = type_name(type(error))
        label = "" if input is None else self._label(input)
        with self._lock:
            self._pool = pool
            if self._began is None:
                self._began = 0.0 if pool.clock.virtual else now
            at = now - self._began
            self._events.append(Event(at, kind, label, where, detail))
            if kind == "ended" or (kind == "settled" and not _runs_on(input)):
                self._labels.pop(cast(Input, input), None)

    def _label(self, input: Input) -> str:
        """Return the text that stands for `input` in events: ``fetch(1)``, ``fetch(1) #2``."""
        with self._lock:
            label = self._labels.get(input)
            if label is None:
                name = shown_call(input.call.target.name, input.args, input.kwargs or {})
                count = self._named[name] = self._named.get(name, 0) + 1
                label = self._labels[input] = name if count == 1 else f"{name} #{count}"
            return label

    # -- waiting for a state of a pool ---------------------------------------------------

    def watch(self, pool: Probed, watch: Watch) -> None:
        """Call `watch` with `pool` now and after each event, until it returns a waker."""
        with uninterruptible:
            with pool.lock:
                with self._lock:
                    self._watches = (*self._watches, watch)
                wakes = self._run_watches(pool)
            carry_out(wakes)

    def unwatch(self, watch: Watch) -> None:
        """Call `watch` no more.  If it was removed already, this does nothing."""
        with uninterruptible, self._lock:
            self._watches = tuple(each for each in self._watches if each is not watch)

    def _open_gates(self) -> None:
        """Open all gates, because the run is being left."""
        with uninterruptible, self._lock:
            gates, self._gates = self._gates, ()
        for gate in gates:
            gate.open()

    def _run_watches(self, pool: Probed) -> list[Effect]:
        """Call every watch; remove those that return a waker, and return the wakers.

        Under the pool's lock.
        """
        wakes: list[Effect] = []
        for watch in self._watches:
            wake = watch(pool)
            if wake is not None:
                with self._lock:
                    self._watches = tuple(each for each in self._watches if each is not watch)
                wakes.append(wake)
        return wakes


def _runs_on(input: Input | None) -> bool:
    return input is not None and input.state is InputState.ABANDONED


def check_point(point: GatePoint, name: str, targets: Sequence[Target]) -> None:
    """Check that inputs of at least one of `targets` come to `point`.

    Raises:
        InvalidError: if no input of `targets` comes to `point`.
    """
    if point == "await" and not any(t.is_async and not t.is_generator for t in targets):
        raise InvalidError(
            f"{name} awaits nothing, because it is not an async function; "
            'write hold("start") or hold("settle")'
        )
    if point == "settle" and all(target.is_generator for target in targets):
        raise InvalidError(
            f'{name} is a generator, which can be held at its start only; write hold("start")'
        )


class _GatedInput:
    """One input, whose code runs with gates before it, at its first await, and after it.

    `_end` drops the input when its code has ended.  Otherwise a reference cycle keeps the
    input's error and arguments until the next garbage collection: error -> traceback ->
    frames of the wrapper, which called the user's code -> this object -> input -> error.
    """

    def __init__(self, probe: Probe, pool: Probed, input: Input) -> None:
        self._probe = probe
        self._pool = pool
        self._input = input
        # A batch is shown by its members' labels: the test knows only the members.
        with uninterruptible, pool.lock:
            self._members = members_of(input)
            self._label = " + ".join(map(probe._label, self._members))

    def _at(self, point: GatePoint) -> list[Gate]:
        name = self._input.call.target.name
        return [gate for gate in self._probe._gates if gate.is_at(point, name)]

    def _pass(self, point: GatePoint) -> None:
        for gate in self._at(point):
            gate.pass_through(self._input, self._members, self._label)

    async def _pass_async(self, point: GatePoint) -> None:
        for gate in self._at(point):
            await gate.pass_through_async(self._input, self._members, self._label)

    def _started(self) -> None:
        """Record the start of the code, for each member that has no outcome yet."""
        with uninterruptible:
            wakes: list[Effect] = []
            with self._pool.lock:
                for member in self._members:
                    if member.outcome is None:
                        container = self._input.container
                        wakes += self._probe.note("started", self._pool, member, container)
            carry_out(wakes)

    def _end(self) -> None:
        del self._input, self._members

    def wrap(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def held(*args: Any, **kwargs: Any) -> Any:
            try:
                self._pass("start")
                self._started()
                try:
                    result = function(*args, **kwargs)
                except Exception:
                    self._pass("settle")
                    raise
                self._pass("settle")
                return result
            finally:
                self._end()

        return held

    def wrap_generator(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def held(*args: Any, **kwargs: Any) -> Any:
            try:
                self._pass("start")
                self._started()
            finally:
                self._end()
            return function(*args, **kwargs)

        return held

    def wrap_async_generator(self, function: Callable[..., Any]) -> Callable[..., Any]:
        # A call of the wrapper returns a coroutine.  The executor awaits the coroutine and
        # gets the generator.
        async def held(*args: Any, **kwargs: Any) -> Any:
            try:
                await self._pass_async("start")
                self._started()
            finally:
                self._end()
            result = function(*args, **kwargs)
            return await result if is_awaitable(result) else result

        return held

    def wrap_async(self, function: Callable[..., Any]) -> Callable[..., Any]:
        target = self._input.call.target

        async def held(*args: Any, **kwargs: Any) -> Any:
            try:
                await self._pass_async("start")
                self._started()
                try:
                    result = function(*args, **kwargs)
                    # As a task lane does.
                    if unfinished(result) and not is_awaitable(result):
                        raise refusal(target.name, target.kind, result)
                    if is_awaitable(result):
                        result = await _HeldAtFirst(result, self._pass_async("await"))
                except Exception:
                    await self._pass_async("settle")
                    raise
                await self._pass_async("settle")
                return result
            finally:
                self._end()

        return held


class _HeldAtFirst:
    """Awaits `coroutine`, and awaits `gate` when `coroutine` waits for the first time.

    `_drive` drives the coroutine by hand, because the gate must run between the moment in
    which the coroutine yields its first future and the moment in which the task sees it.
    """

    def __init__(self, coroutine: Awaitable[Any], gate: Coroutine[Any, Any, None]) -> None:
        self._coroutine = coroutine
        self._gate = gate

    def __await__(self) -> ByHand:
        steps: Any = self._coroutine
        if isinstance(steps, GeneratorType):  # a coroutine of `types.coroutine`
            return ByHand(self._drive(steps), steps)
        driven = steps.__await__()
        return ByHand(self._drive(driven), steps if isinstance(steps, CoroutineType) else driven)

    def _drive(self, steps: Any) -> Generator[Any, Any, Any]:
        send: Callable[[Any], Any] = getattr(steps, "send", lambda _: next(steps))
        step: Callable[[], Any] = partial(send, None)
        was_held = False
        try:
            while True:
                try:
                    item = step()
                except StopIteration as end:
                    return end.value
                try:
                    if not was_held:
                        was_held = True
                        yield from self._hold(item)
                except BaseException as error:
                    # For the coroutine, a cancellation at the gate comes at its first await.
                    # Do what a task does then: cancel the future that the coroutine awaits,
                    # and wait for that future to end.  If the future cannot be cancelled,
                    # or the error is another one, raise the error in the coroutine.
                    cancel = getattr(item, "cancel", None)
                    if not isinstance(error, CancelledError) or cancel is None or not cancel():
                        step = partial(steps.throw, error)
                        continue
                try:
                    value = yield item
                except BaseException as error:
                    step = partial(steps.throw, error)
                else:
                    step = partial(send, value)
        finally:
            # If the coroutine never waited, nobody awaited the gate: close it, or Python
            # warns of a coroutine that was never awaited.
            self._gate.close()

    def _hold(self, item: Any) -> Generator[Any, Any, None]:
        # A future that is awaited sets this flag, and the task that receives the future
        # clears it.  The flag must be cleared while the input is held: two inputs may await
        # the same future, the first task to receive it would clear the flag for both, and
        # the second task would fail ("yield was used instead of yield from").
        is_awaited = getattr(item, "_asyncio_future_blocking", None) is True
        if is_awaited:
            item._asyncio_future_blocking = False
        try:
            yield from self._gate.__await__()
        finally:
            if is_awaited:
                item._asyncio_future_blocking = True
