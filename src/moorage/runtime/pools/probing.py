"""Probing: how a test sees what goes on in the pools of a run, and holds inputs up.

Owns the protocol that pools and executors call if their run was given a probe, and what
they tell it.  Without one they pay a comparison with None.  `moorage.testing.Probe` is
the probe that users have.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal, Protocol

from ..input import Input

if TYPE_CHECKING:
    from ..clocks.clock import Clock
    from ..containers.container import Container
    from .pool_options import PoolOptions

What = Literal[
    # Of inputs, along their states:
    "outside",  # the backlog is full
    "queued",
    "granted",  # got a slot
    "started",  # its code begins
    "waiting",  # it failed, and will be tried again
    "settled",  # it has its outcome
    "ended",  # its code has, after its caller was answered
    # Of containers, along theirs, and:
    "starting",
    "ready",
    "draining",
    "stopping",
    "stopped",
    "released",  # a slot of one came free
    "failed",  # one did not start
]


class Probed(Protocol):
    """A pool, as far as a probe may look at it: see `Pool`."""

    lock: threading.Lock
    options: PoolOptions

    @property
    def clock(self) -> Clock: ...


class Probing(Protocol):
    """What pools and executors tell, and ask, while their run has a probe."""

    def note(
        self,
        what: What,
        pool: Probed,
        input: Input | None = None,
        container: Container | None = None,
        error: BaseException | None = None,
    ) -> None:
        """`what` happens now.  Mostly under the pool's lock: no user code, and no waiting."""
        ...

    def around(
        self, pool: Probed, input: Input, function: Callable[..., Any]
    ) -> Callable[..., Any]:
        """What to call in the place of `function`, which the code of `input` begins with.

        On the flow of the input, in its context, where its cancellation arrives.
        """
        ...
