"""Ways to run a container: what each kind of container is held to the contract by.

A *way* is an adapter, entered with something to run and what it is to be run with::

    with way.open(code, clock, max_inputs=2, timeout=3) as container:
        handle = container.submit(1)

``code`` is a plain function, or a class with ``enter``, ``exit`` and ``method`` marks.
A new kind of container needs one more entry in `WAYS`.  One that sits under a pool as the
local one does is ``Bare("its name", ItsContainer)``.  Any other adapter must provide:

- ``name``; ``by_value``, whether what crosses is a copy; and
  ``open(code, clock, *, max_inputs, batch, timeout, retries, queue_timeout)``,
  a context manager: one container and no more, until it is left as a run is left; the
  thread that opened it takes part in ``clock`` meanwhile, if that is virtual;
- what it gives has ``submit(x, method="run")``, which gives a `Handle`; ``call(x)``, which waits
  for the result and then keeps nothing of it; ``stream(x)``, which gives a `StreamReader`;
  ``counts()``, which gives `Counts`, and ``containers_started()``;
- ``events()``, which gives what a probe recorded, or None if there is none; and, once it was
  left, ``last_counts``.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from contextvars import copy_context
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Protocol

import moorage
from moorage import App
from moorage.calling.waited import StreamCall, StreamReader
from moorage.placing.shipping import pack_call
from moorage.running.runs import Run
from moorage.runtime.clocks.clock import Clock
from moorage.runtime.clocks.virtual_clock import VirtualClock
from moorage.runtime.containers.container import (
    Container,
    ContainerFactory,
    ContainerOptions,
    Host,
)
from moorage.runtime.containers.local import LocalContainer
from moorage.runtime.containers.streaming import Stream
from moorage.runtime.input import Input, Target, next_call_number
from moorage.runtime.outcome import Outcome, Value
from moorage.runtime.pools.autoscaler import Limits
from moorage.runtime.pools.batching import BatchOptions, batch_target
from moorage.runtime.pools.capacity import Capacity
from moorage.runtime.pools.pool import Pool
from moorage.runtime.pools.pool_options import PoolOptions
from moorage.runtime.waiting.callers import reader_here
from moorage.runtime.waiting.deadlock import producer_waits
from moorage.runtime.waiting.waits import open_streams
from moorage.testing import Events, FakeContainer, Probe
from placed import make_placed


class Handle(Protocol):
    """One input that was handed in."""

    def result(self) -> Any:
        """Wait for it; what its code raised is raised."""

    def cancel(self) -> object: ...

    def done(self) -> bool:
        """Whether it has its outcome: not that its code has ended."""


@dataclass(frozen=True)
class Counts:
    """Of one container and its queue, at one moment."""

    running: int = 0
    queued: int = 0
    finished: int = 0
    failed: int = 0
    cancelled: int = 0
    waiting: int = 0
    abandoned: int = 0
    peak: int = field(default=0, compare=False)
    limit: int = field(default=1, compare=False)

    @property
    def settled(self) -> int:
        return self.finished + self.failed + self.cancelled


def counts_of(pool: Pool) -> Counts:
    seen = pool.statistics()
    ready = [c.limit for c in seen.containers if c.state.value == "ready"]
    return Counts(
        seen.running,
        seen.queued + seen.outside,
        seen.succeeded,
        seen.failed,
        seen.cancelled,
        seen.waiting,
        seen.abandoned,
        seen.peak_inputs,
        ready[0] if ready else seen.max_inputs,
    )


def registered(code: Any, max_inputs: int, batch: tuple[int, int] | None, **options: Any) -> Any:
    """`code` as an app's function, or as an instance of an app's class."""
    app = App()
    if isinstance(code, type):
        return app, app.cls(max_containers=1, **options)(
            moorage.concurrent(max_inputs=max_inputs)(code)
        )()
    if batch is not None:
        code = moorage.batched(max_batch_size=batch[0], wait_ms=batch[1])(code)
    code = moorage.concurrent(max_inputs=max_inputs)(code)
    return app, app.function(max_containers=1, **options)(code)


# -- an app ---------------------------------------------------------------------------------


class InApp:
    """An app's function or class, in ``app.run()``."""

    by_value = False

    def __init__(self, name: str, *, probed: bool, placement: Any = "thread") -> None:
        self.name = name
        self._probed = probed
        self._placement = placement
        self.by_value = placement != "thread"

    @contextlib.contextmanager
    def open(
        self,
        code: Any,
        clock: Clock,
        *,
        max_inputs: int = 1,
        batch: tuple[int, int] | None = None,
        **options: Any,
    ) -> Iterator[OpenApp]:
        app, made = registered(code, max_inputs, batch, **options)
        probe = Probe() if self._probed else None
        if self._placement == "thread":
            run = app.run(clock=clock, probe=probe)
        else:
            run = app.run(placement=self._placement)
        with run:
            container = OpenApp(app, made, probe)
            try:
                yield container
            finally:
                pools = list(app._runs.run.pools.values()) if app._runs.run is not None else []
        for pool in pools:
            container.last_counts = counts_of(pool)


class OpenApp:
    last_counts: Counts

    def __init__(self, app: App, made: Any, probe: Probe | None) -> None:
        self._app = app
        self._made = made
        self._probe = probe
        self._seen: Pool | None = None

    @property
    def _pool(self) -> Pool:
        assert self._app._runs.run is not None
        for pool in list(self._app._runs.run.pools.values()):  # none, if it was not used for long
            self._seen = pool
        assert self._seen is not None
        return self._seen

    def _function(self, method: str) -> Any:
        return self._made if hasattr(self._made, "remote") else getattr(self._made, method)

    def submit(self, x: Any, method: str = "run") -> Handle:
        return AppHandle(self._function(method).spawn(x))

    def call(self, x: Any) -> Any:
        return self._function("run").remote(x)

    def stream(self, x: Any) -> StreamReader[Any]:
        return self._function("run").remote_gen(x)

    def counts(self) -> Counts:
        return counts_of(self._pool)

    def containers_started(self) -> int:
        return self._pool.statistics().containers_started

    def events(self) -> Events | None:
        return None if self._probe is None else self._probe.events


class AppHandle:
    def __init__(self, call: Any) -> None:
        self._call = call

    def result(self) -> Any:
        return self._call.get()

    def cancel(self) -> object:
        return self._call.cancel()

    def done(self) -> bool:
        return self._call._inputs[0].outcome is not None


# -- the fake container -----------------------------------------------------------------------


class Fake:
    """`FakeContainer`, which is given the options itself."""

    by_value = False

    name = "fake"

    @contextlib.contextmanager
    def open(
        self,
        code: Any,
        clock: Clock,
        *,
        max_inputs: int = 1,
        batch: tuple[int, int] | None = None,
        **options: Any,
    ) -> Iterator[OpenFake]:
        made = code
        if isinstance(code, type):
            made = registered(code, max_inputs, batch)[1]
        elif batch is not None:
            options |= {"max_batch_size": batch[0], "wait_ms": batch[1]}
        with FakeContainer(made, max_inputs=max_inputs, clock=clock, **options) as fake:
            container = OpenFake(fake)
            yield container
        container.last_counts = container.counts()


class OpenFake:
    last_counts: Counts

    def __init__(self, fake: FakeContainer[..., Any]) -> None:
        self._fake = fake

    def submit(self, x: Any, method: str = "run") -> Handle:
        several = len(self._fake._functions) > 1
        return (self._fake.method(method) if several else self._fake).submit(x)

    def call(self, x: Any) -> Any:
        return self._fake.call(x)

    def stream(self, x: Any) -> StreamReader[Any]:
        return self._fake.stream(x)

    def counts(self) -> Counts:
        seen = self._fake.statistics()
        return Counts(
            seen.running,
            seen.queued,
            seen.finished,
            seen.failed,
            seen.cancelled,
            seen.waiting,
            seen.abandoned,
            seen.peak,
            seen.limit,
        )

    def containers_started(self) -> int:
        return self._fake.pool_statistics().containers_started

    def events(self) -> Events:
        return self._fake.events


# -- a container under a pool, and nothing above ----------------------------------------------

MakeContainer = Callable[[Host, int, int, int, ContainerOptions], Container]


class Bare:
    """A container under a pool, with calls that know nothing of `Function`."""

    by_value = False

    def __init__(self, name: str, make: MakeContainer) -> None:
        self.name = name
        self._make = make

    def _factory(
        self,
        targets: list[Target],
        options: ContainerOptions,
        pool_options: PoolOptions,
        clock: Clock,
    ) -> ContainerFactory:
        def factory(host: Host, number: int, target: int, limit: int) -> Container:
            return self._make(host, number, target, limit, options)

        return factory

    def prepare(self, inputs: Sequence[Input]) -> None:
        """What a caller does with inputs before they are submitted."""

    @contextlib.contextmanager
    def open(
        self,
        code: Any,
        clock: Clock,
        *,
        max_inputs: int = 1,
        batch: tuple[int, int] | None = None,
        timeout: float | None = None,
        queue_timeout: float | None = None,
        retries: Any = None,
    ) -> Iterator[OpenBare]:
        service = _service_of(registered(code, max_inputs, batch)[1])
        targets, lifecycle = list(service._targets), service._lifecycle
        options = ContainerOptions(
            "bare", max_inputs, any(target.is_async for target in targets), lifecycle
        )
        batching = None
        if batch is not None:
            batching = BatchOptions(batch_target(targets[0]), batch[0], batch[1] / 1000)
        pool_options = PoolOptions(
            "bare",
            Limits(max_inputs, max_inputs, max_containers=1),
            timeout=timeout,
            queue_timeout=queue_timeout,
            retries=retries,
            batching=batching,
            sync_slots=max_inputs,
        )

        factory = self._factory(targets, options, pool_options, clock)

        def make_pool(clock: Clock, capacity: Capacity, on_retired: Any, probe: Any) -> Pool:
            return Pool(
                pool_options, factory, clock=clock, capacity=capacity, on_retired=on_retired
            )

        run = Run("bare", clock=clock)
        with clock if isinstance(clock, VirtualClock) else contextlib.nullcontext():
            by_name = {target.name.rpartition(".")[2]: target for target in targets}
            container = OpenBare(lambda: run.pool(self.name, make_pool), by_name, self.prepare)
            try:
                yield container
            finally:
                run.close()
        container.last_counts = container.counts()


def _service_of(made: Any) -> Any:
    return made._service


class OpenBare:
    last_counts: Counts

    def __init__(
        self,
        get_pool: Callable[[], Pool],
        targets: dict[str, Target],
        prepare: Callable[[Sequence[Input]], object],
    ) -> None:
        self._prepare = prepare
        self._get_pool = get_pool
        self._pool = get_pool()
        self._targets = targets

    def _target(self, method: str) -> Target:
        return self._targets.get(method) or next(iter(self._targets.values()))

    def submit(self, x: Any, method: str = "run") -> BareCall:
        call = BareCall(self._target(method), x)
        call.pool = self._submit([call.input])
        return call

    def _submit(self, inputs: Sequence[Input]) -> Pool:
        self._prepare(inputs)
        while not self._pool.submit(inputs):
            self._pool = self._get_pool()  # it was retired
        return self._pool

    def call(self, x: Any) -> Any:
        call = self.submit(x)
        try:
            return call.result()
        finally:
            del call.input  # they refer to each other

    def stream(self, x: Any) -> StreamReader[Any]:
        call = StreamCall(self._target("run"))

        def submit(inputs: Sequence[Input]) -> Pool:
            call.stream = Stream(self._pool.clock, partial(producer_waits, call))
            open_streams[call] = None
            call.reader = reader_here()
            return self._submit(inputs)

        return StreamReader(submit, call, Input(call, 0, (x,), None))

    def counts(self) -> Counts:
        return counts_of(self._pool)

    def containers_started(self) -> int:
        return self._pool.statistics().containers_started

    def events(self) -> None:
        return None


class BareCall:
    """The least that a pool asks of a call, and a thread that waits for it."""

    pool: Pool  # set when it is submitted

    def __init__(self, target: Target, x: Any) -> None:
        self.number = next_call_number()
        self.target = target
        self.context = copy_context()
        self.input = Input(self, 0, (x,), None)
        self._waiters: list[Any] = []

    def settled(self, input: Input, /) -> Callable[[], object]:
        return self._wake

    def _wake(self) -> None:
        for waiter in self._waiters:
            waiter.wake()

    def result(self) -> Any:
        clock = self.pool.clock
        waiter = clock.make_waiter()
        with self.pool.lock:
            if self.input.outcome is None:
                self._waiters.append(waiter)
            else:
                waiter.wake()
        clock.wait(waiter)
        outcome: Outcome | None = self.input.outcome
        assert outcome is not None
        if isinstance(outcome, Value):
            return outcome.value
        try:
            raise outcome.exception()
        finally:
            del self, outcome  # they lead to the error, and its traceback to this frame

    def cancel(self) -> object:
        return self.pool.cancel(self.input)

    def done(self) -> bool:
        return self.input.outcome is not None


class Placed(Bare):
    """A container whose code is on the other side of a socket, or in virtual time of a loop."""

    by_value = True

    def __init__(self, name: str) -> None:
        super().__init__(name, LocalContainer)

    def _factory(
        self,
        targets: list[Target],
        options: ContainerOptions,
        pool_options: PoolOptions,
        clock: Clock,
    ) -> ContainerFactory:
        return partial(
            make_placed,
            options=options,
            targets=targets,
            pool_options=pool_options,
            over="loop" if clock.virtual else "socket",
        )

    def prepare(self, inputs: Sequence[Input]) -> None:
        pack_call(inputs)


WAYS = [
    InApp("app", probed=False),
    InApp("app with a probe", probed=True),
    Fake(),
    Bare("bare", LocalContainer),
    Placed("placed"),
]

# For the tests that are marked so: see ``conftest.py``.
elsewhere = InApp("process", probed=False, placement="process")
