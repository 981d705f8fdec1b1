"""The probe: records what goes on in the pools of a run, and holds inputs at gates.

Owns `Probe`, which a run calls by the protocol of ``runtime/pools/probing.py``: mostly under a
pool's lock, so that what it records is in the order in which it happened.
"""

from __future__ import annotations

from asyncio import CancelledError
from collections.abc import Callable, Coroutine, Generator, Sequence
from functools import partial
from types import CoroutineType
from typing import TYPE_CHECKING, Any, cast

from ..exception import InvalidError
from ..frames import hide_our_frames
from ..runtime import forking
from ..runtime.clocks.clock import Clock, system_clock
from ..runtime.clocks.parking import park
from ..runtime.clocks.patched_time import current_virtual_clock
from ..runtime.input import Input, InputState, Target
from ..runtime.labels import shown_call, type_name
from ..runtime.pools.batching import members_of
from ..runtime.real import Real
from ..runtime.uninterruptible import uninterruptible
from ..runtime.waiting.async_waiters import make_async_waiter
from ..with_aio import with_aio
from .events import Event, EventKind, Events, Timeline
from .gates import POINTS, Gate, GatePoint
from .submission import ended_as

if TYPE_CHECKING:
    from ..functions import Function
    from ..runtime.containers.container import Container
    from ..runtime.pools.probing import Probed, What

Watch = Callable[[Any], Callable[[], object] | None]
"""Looks at a pool under its lock; gives how to wake who waits, once there is reason to."""


class Probe:
    """Sees and holds what goes on in one run: ``with app.run(probe=probe):``.

    A `FakeContainer` has one of its own, whose methods are its methods.  A probe is for
    one run at a time; what it recorded stays when the run is left.
    """

    def __init__(self) -> None:
        # Guards all below.  A leaf: taken under the locks of pools.
        self._lock = Real.Lock()
        self._events: list[Event] = []
        # Of those that are not settled, or whose code runs on: nothing of others is kept.
        self._labels: dict[Input, str] = {}
        self._named: dict[str, int] = {}  # how many inputs had this label
        self._gates: tuple[Gate, ...] = ()  # replaced as a whole; read without the lock
        self._watches: tuple[Watch, ...] = ()  # as the gates
        self._wakes: tuple[Callable[[], object], ...] = ()  # as the gates
        self._pool: Probed | None = None  # one of the run's
        self._began: float | None = None  # by the run's clock, in real time
        self.start_error: BaseException | None = None
        forking.know(self)

    def _after_fork(self) -> None:
        """In a forked child: whoever held the lock stayed behind."""
        self._lock = Real.Lock()
        self._wakes = ()

    @property
    def events(self) -> Events:
        """What happened until now."""
        with uninterruptible, self._lock:
            return Events(self._events)

    def timeline(self, *, width: int = 60) -> Timeline:
        """A picture of what happened until now, at most `width` characters of time wide."""
        return Timeline(self.events, width=width)

    @hide_our_frames
    def hold(self, point: GatePoint, *, of: Function[..., Any, Any] | None = None) -> Gate:
        """Hold inputs at `point` from now on, until the gate is opened.

        Args:
            point: ``"start"``: it has a slot, its code has not begun; ``"await"``: where
                asynchronous code waits for the first time; ``"settle"``: its code has
                returned, or raised an `Exception`, and nobody knows it yet.
                Generators can be held at ``"start"`` only.
            of: hold inputs of this function only.

        Raises:
            InvalidError: if there is no such point, or `of` never comes to it.
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
                await waiter.wait()
            finally:
                self._remove(waiter.wake)

    @with_aio(_wait_until_async)
    def wait_until(self, condition: Callable[[], object]) -> None:
        """Wait until `condition()`, of what is counted, is true.

        ``probe.wait_until(lambda: fetch.statistics().queued == 2)``.  It is asked in this
        thread, now and after everything that happens in the run: to its inputs, slots and
        containers.  Nobody asks again when something else changes.
        ``await probe.wait_until.aio(condition)`` too.

        In virtual time, which it finds by itself, it waits as any wait of this library;
        if it can never come true that is a `ClockStuckError`.  In real time it waits for
        ever.

        Raises:
            Exception: what `condition` raises.
        """
        clock = cast(Clock, current_virtual_clock() or system_clock)
        while True:
            waiter = clock.make_waiter()
            # 1. It asks.  2. It comes true.  3. It waits: so who wakes it must know it
            # before it asks.
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
                "this probe is not used by a run that called anything yet; write "
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
    ) -> None:
        """See `Probing.note`."""
        if what == "failed":
            if self.start_error is None:  # the first; and none dies under this lock
                self.start_error = error
        elif what == "ended":
            assert input is not None
            for member in members_of(input):  # of a batch those that did not wait for its end
                if member is input or member.state is InputState.ABANDONED:
                    self._record(what, pool, member, container, error)
        elif what != "released":
            self._record(what, pool, input, container, error)
        if self._watches:
            self._look(pool)
        for wake in self._wakes:
            wake()

    def around(
        self, pool: Probed, input: Input, function: Callable[..., Any]
    ) -> Callable[..., Any]:
        """See `Probing.around`."""
        target = input.call.target
        way = _Way(self, pool, input)
        if not target.is_async:
            return way.of_generator(function) if target.is_generator else way.of(function)
        if target.is_generator:
            return way.of_async_generator(function)
        return way.of_async(function)

    # -- under the lock of a pool -------------------------------------------------------

    def _record(
        self,
        kind: EventKind,
        pool: Probed,
        input: Input | None,
        container: Container | None,
        error: BaseException | None,
    ) -> None:
        now = pool.clock.now()
        where = "" if container is None else f"{pool.options.name}-{container.number}"
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
        with self._lock:
            label = self._labels.get(input)
            if label is None:
                name = shown_call(input.call.target.name, input.args, input.kwargs or {})
                count = self._named[name] = self._named.get(name, 0) + 1
                label = self._labels[input] = name if count == 1 else f"{name} #{count}"
            return label

    # -- waiting for a state of a pool ---------------------------------------------------

    def watch(self, pool: Probed, watch: Watch) -> None:
        """Have `watch` look at `pool` now, and after each event, until it gives a waker."""
        with uninterruptible, pool.lock:
            with self._lock:
                self._watches = (*self._watches, watch)
            self._look(pool)

    def unwatch(self, watch: Watch) -> None:
        with uninterruptible, self._lock:
            self._watches = tuple(each for each in self._watches if each is not watch)

    def _open_gates(self) -> None:
        """Open all that it made: its run is being left."""
        with uninterruptible, self._lock:
            gates, self._gates = self._gates, ()
        for gate in gates:
            gate.open()

    def _look(self, pool: Probed) -> None:
        for watch in self._watches:
            wake = watch(pool)
            if wake is not None:
                with self._lock:
                    self._watches = tuple(each for each in self._watches if each is not watch)
                wake()


def _runs_on(input: Input | None) -> bool:
    return input is not None and input.state is InputState.ABANDONED


def check_point(point: GatePoint, name: str, targets: Sequence[Target]) -> None:
    """Refuse a point that no input of these comes to.

    Raises:
        InvalidError: if that is so.
    """
    if point == "await" and not any(t.is_async and not t.is_generator for t in targets):
        raise InvalidError(
            f"{name} awaits nothing, for it is no async function; "
            'write hold("start") or hold("settle")'
        )
    if point == "settle" and all(target.is_generator for target in targets):
        raise InvalidError(
            f'{name} is a generator, which is held at its start only; write hold("start")'
        )


class _Way:
    """One input's way through its code, with a gate before it, in it, and after it.

    It lets go of the input when that has ended.  An error's traceback leads, by the frames
    of the user's code, to those that called it, and they lead here: the error would live
    until the next collection, and with it the arguments.
    """

    def __init__(self, probe: Probe, pool: Probed, input: Input) -> None:
        self._probe = probe
        self._pool = pool
        self._input = input
        # Of a batch its members', for it is they that the test knows.
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
        with uninterruptible, self._pool.lock:
            for member in self._members:
                if member.outcome is None:
                    self._probe.note("started", self._pool, member, self._input.container)

    def _end(self) -> None:
        del self._input, self._members

    def of(self, function: Callable[..., Any]) -> Callable[..., Any]:
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

    def of_generator(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def held(*args: Any, **kwargs: Any) -> Any:
            try:
                self._pass("start")
                self._started()
            finally:
                self._end()
            return function(*args, **kwargs)

        return held

    def of_async_generator(self, function: Callable[..., Any]) -> Callable[..., Any]:
        # Its call gives a coroutine, which the executor awaits for the generator.
        async def held(*args: Any, **kwargs: Any) -> Any:
            try:
                await self._pass_async("start")
                self._started()
            finally:
                self._end()
            result = function(*args, **kwargs)
            return await result if isinstance(result, CoroutineType) else result

        return held

    def of_async(self, function: Callable[..., Any]) -> Callable[..., Any]:
        async def held(*args: Any, **kwargs: Any) -> Any:
            try:
                await self._pass_async("start")
                self._started()
                try:
                    coroutine = function(*args, **kwargs)
                    result = await _HeldAtFirst(coroutine, self._pass_async("await"))
                except Exception:
                    await self._pass_async("settle")
                    raise
                await self._pass_async("settle")
                return result
            finally:
                self._end()

        return held


class _HeldAtFirst:
    """Awaits `coroutine`, and `gate` in between when that waits for the first time."""

    def __init__(
        self, coroutine: Coroutine[Any, Any, Any], gate: Coroutine[Any, Any, None]
    ) -> None:
        self._coroutine = coroutine
        self._gate = gate

    def __await__(self) -> Generator[Any, Any, Any]:
        steps = self._coroutine.__await__()
        step: Callable[[], Any] = partial(steps.send, None)
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
                    # Cancelled at the gate: that is at its first await, as far as it knows.
                    # As a task does, it cancels what it waits for, and waits for its end.
                    cancel = getattr(item, "cancel", None)
                    if not isinstance(error, CancelledError) or cancel is None or not cancel():
                        step = partial(steps.throw, error)
                        continue
                try:
                    value = yield item
                except BaseException as error:
                    step = partial(steps.throw, error)
                else:
                    step = partial(steps.send, value)
        finally:
            self._gate.close()  # it may never have waited

    def _hold(self, item: Any) -> Generator[Any, Any, None]:
        # A future says that it is about to be awaited, until its task sees it: were it held
        # like that, another input that awaits it too would be refused.
        is_awaited = getattr(item, "_asyncio_future_blocking", None) is True
        if is_awaited:
            item._asyncio_future_blocking = False
        try:
            yield from self._gate.__await__()
        finally:
            if is_awaited:
                item._asyncio_future_blocking = True
