"""Unread errors: failed inputs of spawned calls whose error no caller has read.

Owns which errors of a spawned call nobody has read yet, when they are logged, and how many of
them.  ``calling/function_call.py`` notes the failures and the reads; ``running/runs.py`` calls
`report_all` at the interpreter's exit.

Begin at `Watch`, then `Unread.write`.

An error is logged when nobody can read it any more.  The call owns its `Watch`, and the watch
ends with the call: when the last handle is dropped, or when the registry drops the call.  A
watch is a suspended generator, as the steps of a stream are: its end is an exception in the
generator, also if the call was part of a cycle (the frames of an error may refer to the handle).
A `weakref.finalize` would not do: its arguments would keep such a cycle alive for ever.
"""

from __future__ import annotations

import logging
import weakref
from collections import Counter
from collections.abc import Generator
from functools import partial
from typing import Final

from ...exception import InputCancellation
from .. import forking
from ..background import log, on_log_thread
from ..guards.cells import strike_again
from ..input import call_id
from ..outcome import Failure

logger: Final = logging.getLogger("moorage")

# The most errors of one call that are logged with their tracebacks; one more record counts the
# others.
MOST_LOGGED: Final = 25


class Unread:
    """The errors of one spawned call that nobody has read.

    Args:
        name: the name of the call's function.
        number: the number of the call.
        is_one_of_many: true if the call may have many inputs.
    """

    __slots__ = (
        "__weakref__",
        "_failures",
        "_is_one_of_many",
        "_logged",
        "_name",
        "_not_logged",
        "_number",
        "_process",
    )

    def __init__(self, name: str, number: int, is_one_of_many: bool) -> None:
        self._name = name
        self._number = number
        self._is_one_of_many = is_one_of_many
        self._process = forking.process.number
        # By the index of the input.  `add` runs under the pool's lock; `read` and `write` take
        # no lock, so whichever of the two removes a failure has it.
        self._failures: dict[int, Failure] = {}
        # Written by `write` only, which never runs twice at once.
        self._logged: int = 0
        # How many errors of each type came after the first `MOST_LOGGED`.
        self._not_logged: Counter[str] = Counter()

    def add(self, index: int, failure: Failure) -> None:
        """Note that the input `index` failed.  Under the pool's lock."""
        self._failures[index] = failure

    def read(self, index: int) -> None:
        """Note that a caller has read the error of the input `index`."""
        self._failures.pop(index, None)

    def has_errors(self) -> bool:
        """Return whether there are errors that nobody has read, and that are not logged."""
        return bool(self._failures)

    def report(self, *, final: bool = True) -> None:
        """Have the unread errors logged soon, on another thread.  Finalizers may call this.

        Args:
            final: false if more inputs of the call may fail later.
        """
        if not self._failures and not self._not_logged:
            return
        if self._process == forking.process.number:  # the parent logs what a child inherited
            on_log_thread(partial(self.write, final))

    def write(self, final: bool) -> None:
        """Log the unread errors, each with its traceback.  Runs where user code may run."""
        for index in sorted(self._failures):
            failure = self._failures.pop(index, None)
            if failure is None:
                continue  # a caller has read the error meanwhile
            if self._logged < MOST_LOGGED:
                self._logged += 1
                self._write_one(index, failure)
            else:
                self._not_logged[type(failure.error).__name__] += 1
        if final and self._not_logged:
            counts, self._not_logged = self._not_logged, Counter()
            log(
                logger,
                logging.ERROR,
                "%d more inputs of the spawned call %s of %s failed, and nobody has read their "
                "errors: %s",
                counts.total(),
                call_id(self._number),
                self._name,
                ", ".join(f"{count} x {name}" for name, count in counts.most_common(5)),
            )

    def _write_one(self, index: int, failure: Failure) -> None:
        try:
            error = failure.exception()
        except Exception:
            error = failure.error  # the user's code refused a copy
        text = "the spawned call %s of %s failed, and nobody has read its error"
        shown: tuple[object, ...] = (call_id(self._number), self._name)
        if self._is_one_of_many:
            text = "input %d of " + text
            shown = (index, *shown)
        log(logger, logging.ERROR, text, *shown, exc_info=error)

    def __repr__(self) -> str:
        return f"<Unread of {self._name}: {len(self._failures)} errors>"


class Watch:
    """The part of a spawned call that has errors logged when the call is freed.

    Only the call refers to its watch, and the watch does not refer to the call.
    """

    __slots__ = ("_steps", "unread")

    def __init__(self, unread: Unread) -> None:
        self.unread: Unread = unread
        self._steps: Generator[None] | None = _until_freed(unread)
        next(self._steps)
        _watched[weakref.ref(unread, _watched.pop)] = None

    def pass_on(self) -> Watch:
        """Return a watch for another handle of the same call, and end the task of this watch.

        From now on, errors are logged when the other handle is freed.
        """
        other = Watch.__new__(Watch)
        other.unread = self.unread
        other._steps, self._steps = self._steps, None
        return other

    def share(self) -> Watch:
        """Return a watch for another handle, which only notes what is read by that handle."""
        other = Watch.__new__(Watch)
        other.unread, other._steps = self.unread, None
        return other


def _until_freed(unread: Unread) -> Generator[None]:
    try:
        yield
    except GeneratorExit:
        # A garbage collection may run this while its thread holds some lock, so no lock is
        # taken here.
        try:
            unread.report()
        except (InputCancellation, KeyboardInterrupt):
            # An exception that is raised in a finalizer is lost, so the strike is sent again.
            unread.report()
            strike_again()
        raise


def report_all() -> None:
    """Have all unread errors logged: the interpreter exits, and so nobody will read them."""
    for ref in list(_watched):
        unread = ref()
        if unread is not None:
            unread.report()


# The calls with a watch that are not freed, for the interpreter's exit.  A dict, because each of
# its operations is atomic: no lock guards it.
_watched: Final[dict[weakref.ref[Unread], None]] = {}
