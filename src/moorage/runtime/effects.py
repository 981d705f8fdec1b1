"""Effects: what is to be done after a lock is let go.

Owns `carry_out`, and the types by which lanes, containers and pools talk to each other.  A
function that decides under a pool's lock returns effects; its caller lets go of the lock and
carries them out.
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
"""Reports that an input of a container has ended, and gives the input to run next; see `Host`."""

Around = Callable[[Input, Callable[..., Any]], Callable[..., Any]]
"""Says what to call for an input in the place of its function: see ``probing.py``."""


def end_child(
    container: object, input: Input, outcome: Outcome, runs_async: bool | None
) -> NoReturn:
    """Replaces `settle` in a forked child, where nobody waits for the outcome."""
    error = outcome.error if isinstance(outcome, Failure) else None
    if isinstance(error, RemoteError) and isinstance(error.__cause__, SystemExit):
        error = error.__cause__
    forking.end_child(error)


def carry_out(effects: Iterable[Effect]) -> None:
    """Carry out effects with no lock held; one that fails does not stop the others."""
    for effect in effects:
        try:
            effect()
        except Exception as error:
            log(logger, logging.ERROR, "an effect of moorage failed", exc_info=error)
