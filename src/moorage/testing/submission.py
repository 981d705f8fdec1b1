"""Submissions: handles for the inputs that a test gives to a fake container.

Owns `Submission`, which is a future's face on a spawned call.
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
        call: the spawned call behind it, for what that has more: ``call.get.aio(timeout=1)``,
            ``call.object_id``, ``FunctionCall.gather(...)``.
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
        """Where it is: ``"queued"``, ``"granted"`` (has a slot), ``"running"``, ``"waiting"``
        (for its retry), ``"settled"``, ``"outside"`` (the backlog is full), or
        ``"abandoned"`` (was answered, its code still runs).
        """
        return self._input.state.value

    def done(self) -> bool:
        """Whether it has its outcome."""
        return self._input.outcome is not None

    def cancelled(self) -> bool:
        """Whether its outcome is that it was cancelled."""
        return isinstance(self._input.outcome, Cancelled)

    def result(self, timeout: float | None = None) -> R_co:
        """Wait for the result, and return it; what its code raised is raised.

        Args:
            timeout: seconds of the container's clock to wait at most; no limit if None.

        Raises:
            TimeoutError: if they pass first.
            InputCancelledError: if it was cancelled.
        """
        try:
            return self.call.get(timeout)
        except Exception as error:
            del self  # it leads to the error, and the error's traceback to this frame
            raise without_our_frames(error)

    def exception(self, timeout: float | None = None) -> BaseException | None:
        """Wait until it is settled; what `result` would raise, None if it has a result.

        Raises:
            TimeoutError: if `timeout` seconds pass first.
        """
        try:
            self.call.get(timeout)
        except BaseException as error:
            if not self.done() or isinstance(error, KeyboardInterrupt):
                raise without_our_frames(error)
            # It may have settled just after the wait for it had run out.
            outcome = self._input.outcome
            assert outcome is not None
            return None if isinstance(outcome, Value) else outcome.exception()
        return None

    def cancel(self) -> bool:
        """Cancel it, wherever it is; false if it has its outcome, or is being cancelled."""
        with uninterruptible:
            return self.call._started_pool().cancel(self._input)

    def __await__(self) -> Generator[object, None, R_co]:
        """``await submission`` is its result, as of `result`.

        Cancelling the task that awaits does not cancel the input.
        """
        return self.call.get.aio().__await__()

    def __repr__(self) -> str:
        outcome = self._input.outcome
        ended = "" if outcome is None else f", {ended_as(outcome)}"
        return f"<Submission {self._shown}: {self.state}{ended}>"


def ended_as(outcome: Outcome) -> str:
    """In a word: ``result``, ``cancelled``, or the name of the error."""
    if isinstance(outcome, Value):
        return "result"
    return "cancelled" if isinstance(outcome, Cancelled) else type_name(type(outcome.error))
