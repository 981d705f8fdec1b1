"""Effects: work that is done after a lock is released.

Owns `carry_out`, and the types of the callables that lanes, containers and pools pass to each
other.  A function that decides under a pool's lock returns effects; its caller releases the
lock and carries the effects out.

Begin at `carry_out`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final, NoReturn

from ..exception import RemoteError
from . import forking
from .background import log
from .input import Input
from .outcome import Failure, Outcome

logger: Final = logging.getLogger("moorage")

Effect = Callable[[], object]

Settle = Callable[[Any, Input, Outcome, bool | None], tuple[Input | None, Sequence[Effect]]]
"""Reports that an input has ended; returns the input to run next, and effects.

Called with the container, the input and its outcome, under the pool's lock; see `settle` of
`Host` in ``containers/container.py``.
"""

Around = Callable[[Input, Callable[..., Any]], Callable[..., Any]]
"""Returns what to call for an input instead of its function: see ``pools/probing.py``."""


def end_child(
    container: object, input: Input, outcome: Outcome, runs_async: bool | None
) -> NoReturn:
    """Replaces `settle` in a forked child, where no caller waits: end the child process."""
    error = outcome.error if isinstance(outcome, Failure) else None
    if isinstance(error, RemoteError) and isinstance(error.__cause__, SystemExit):
        error = error.__cause__
    forking.end_child(error)


def carry_out(effects: Iterable[Effect]) -> None:
    """Carry out effects, with no lock held.  If one effect fails, the others still run."""
    for effect in effects:
        try:
            effect()
        except Exception as error:
            log(logger, logging.ERROR, "an effect of moorage failed", exc_info=error)
