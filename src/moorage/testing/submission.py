"""Submissions: handles for the inputs that a test gives to a fake container.

Owns `Submission`, which wraps a spawned call (`FunctionCall`) of exactly one input and
has the methods of a future.  `Submit` (``submitting.py``)
makes submissions.

Begin at `Submission.result`, then `Submission.exception`.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Generic, TypeVar

from ..calling.function_call import FunctionCall
from ..frames import without_our_frames
from ..runtime.input import Input
from ..runtime.labels import type_name
from ..runtime.outcome import Cancelled, Outcome, Value
from ..runtime.uninterruptible import uninterruptible

R_co = TypeVar("R_co", covariant=True)


class Submission(Generic[R_co]):
    """One input that was given to a `FakeContainer`.

    Attributes:
        call: the spawned call behind the submission, for what only a call has:
            ``call.get.aio(timeout=1)``, ``call.object_id``, ``FunctionCall.gather(...)``.
    """

    __slots__ = ("_shown", "call")

    def __init__(self, call: FunctionCall[R_co], shown: str) -> None:
        self.call: FunctionCall[R_co] = call
        self._shown = shown

    @property
    def _input(self) -> Input:
        return self.call._inputs[0]

    @property
    def state(self) -> str:
        """The input's state: ``"queued"``, ``"granted"`` (has a slot), ``"running"``,
        ``"waiting"`` (for its retry), ``"settled"``, ``"outside"`` (the backlog is full), or
        ``"abandoned"`` (its caller was answered, and its code still runs).
        """
        return self._input.state.value

    def done(self) -> bool:
        """Return true if the input has its outcome."""
        return self._input.outcome is not None

    def cancelled(self) -> bool:
        """Return true if the input was cancelled, and this is its outcome."""
        return isinstance(self._input.outcome, Cancelled)

    def result(self, timeout: float | None = None) -> R_co:
        """Wait for the result and return it, or raise the error that the input's code raised.

        Args:
            timeout: the longest wait, in seconds of the container's clock; None for no limit.

        Raises:
            TimeoutError: if `timeout` seconds pass first.
            InputCancelledError: if the input was cancelled.
        """
        try:
            return self.call.get(timeout)
        except Exception as error:
            # Break a reference cycle: error -> traceback -> this frame -> self -> the
            # input's outcome -> error.
            del self
            raise without_our_frames(error)

    def exception(self, timeout: float | None = None) -> BaseException | None:
        """Wait until the input is settled; return the error that `result` would raise, or None.

        Raises:
            TimeoutError: if `timeout` seconds pass first.
        """
        try:
            self.call.get(timeout)
        except BaseException as error:
            if not self.done() or isinstance(error, KeyboardInterrupt):
                raise without_our_frames(error)
            # If the error is our TimeoutError, the input settled just after the wait ended.
            outcome = self.call._read(self._input)
            return None if isinstance(outcome, Value) else outcome.exception()
        return None

    def cancel(self) -> bool:
        """Cancel the input in any state; false if it is settled or is already being cancelled."""
        with uninterruptible:
            return self.call._started_pool().cancel(self._input)

    def __await__(self) -> Generator[object, None, R_co]:
        """Wait as `result` does: ``await submission`` gives the result.

        The cancellation of the awaiting task does not cancel the input.
        """
        return self.call.get.aio().__await__()

    def __repr__(self) -> str:
        outcome = self._input.outcome
        ended = "" if outcome is None else f", {ended_as(outcome)}"
        return f"<Submission {self._shown}: {self.state}{ended}>"


def ended_as(outcome: Outcome) -> str:
    """Return ``result``, ``cancelled``, or the name of the error."""
    if isinstance(outcome, Value):
        return "result"
    return "cancelled" if isinstance(outcome, Cancelled) else type_name(type(outcome.error))
