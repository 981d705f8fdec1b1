"""Probing: how a test sees what happens in the pools of a run, and delays inputs.

Owns the protocol that pools and executors call if their run was given a probe, and the names
of the events.  Without a probe, an event costs one comparison with None.  Users' tests use
`moorage.testing.Probe`, which implements the protocol.

Begin at `Probing`.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Literal, Protocol

from ..input import Input

if TYPE_CHECKING:
    from ..clocks.clock import Clock
    from ..containers.container import Container
    from ..effects import Effect
    from .pool_options import PoolOptions

What = Literal[
    # Events of inputs, which follow their states:
    "outside",  # the backlog is full
    "queued",
    "granted",  # the input got a slot
    "started",  # its code begins
    "waiting",  # it failed, and will be tried again
    "settled",  # it has its outcome
    "ended",  # its code has ended, after its caller was answered
    # Events of containers, which follow their states, and two more:
    "starting",
    "ready",
    "draining",
    "stopping",
    "stopped",
    "released",  # a slot of the container was released
    "failed",  # a container failed to start
]


class Probed(Protocol):
    """The part of a `Pool` that a probe may use."""

    lock: threading.Lock
    options: PoolOptions

    @property
    def clock(self) -> Clock: ...


class Probing(Protocol):
    """What pools and executors call while their run has a probe."""

    def note(
        self,
        what: What,
        pool: Probed,
        input: Input | None = None,
        container: Container | None = None,
        error: BaseException | None = None,
    ) -> Sequence[Effect]:
        """Take note of the event `what`; return effects to carry out after the lock is released.

        Called under the pool's lock, at the moment of the event: it must not wait and must not
        run user code.  It cannot be an effect itself:

        1. Thread A ends a step that grants a slot, and releases the lock.
        2. Thread B ends the input that had another slot, and carries out its effects.
        3. Thread A carries out its effects: the grant would be recorded after the end, and a
           caller that waits for two running inputs would never see the two.
        """
        ...

    def around(
        self, pool: Probed, input: Input, function: Callable[..., Any]
    ) -> Callable[..., Any]:
        """Return the callable to call instead of `function`, the first code of `input`.

        That callable runs in the task or thread of the input, in the input's context, where
        the input's cancellation arrives.
        """
        ...
