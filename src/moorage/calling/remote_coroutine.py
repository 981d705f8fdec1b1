"""What ``remote.aio(...)`` gives: a coroutine, and for ``asyncio.gather`` a future.

Owns `RemoteCoroutine`.  It is awaited, made a task of and closed as a coroutine: then it makes
one, and passes all of that on to it.  But ``gather`` makes a task of each coroutine, and that
task is half of what a gathered call costs.  So to ``gather``, and to nobody else, it says that it
is a future: ``gather`` then needs no task.  One task stands for all calls that are gathered on a
loop (`_Keeper`), so that who cancels the tasks of a loop, as ``asyncio.run`` does at its end,
cancels these calls, too.

``ways.py`` makes it for callers on a loop and outside of any input.  Inside of an input, the
search for deadlocks has to know which task waits.

Begin at `RemoteCoroutine._as_coroutine`, then `_asyncio_future_blocking` and `_begin`.
"""

from __future__ import annotations

import asyncio
import sys
import warnings
from collections.abc import Callable, Coroutine, Generator
from contextvars import Context, copy_context
from functools import partial
from types import CodeType
from typing import TYPE_CHECKING, Any, ClassVar, Final, Generic, TypeVar

from ..exception import Error
from ..frames import without_our_frames
from ..runtime.captured import decimal_context, own_decimal_context
from ..runtime.context import running_input
from ..runtime.input import Input, make_input, next_call_number
from ..runtime.outcome import Outcome, Raising, Value, failure_of
from ..runtime.pools.pool import Pool
from ..runtime.real import Real
from ..runtime.thread_state import thread_state
from ..runtime.waiting.async_waiters import AsyncioWaiter, Mail, mail_of
from ..runtime.waiting.callers import wait_for
from ..runtime.waiting.waits import open_streams
from .graph import notable
from .waited import AwaitedCall, Submits, awaited_call, clean_up_soon, submit_nested

R_co = TypeVar("R_co", covariant=True)

_GATHER: Final[CodeType | None] = getattr(asyncio.gather, "__code__", None)

# The frame of `gather`, counted from that of `_asyncio_future_blocking`: in between are `isfuture`
# and `ensure_future`.
_OF_GATHER: Final = 3

# What says to a task that it is awaited, of futures written in C.
_BLOCKING: Final[Any] = getattr(AsyncioWaiter, "_asyncio_future_blocking", None)

# Futures may be written in Python, as ``nest_asyncio`` makes them: then all stay coroutines.
_ARE_IN_C: Final[bool] = hasattr(_BLOCKING, "__set__")


_OF_COROUTINES: Final = frozenset(
    {"cr_await", "cr_code", "cr_frame", "cr_origin", "cr_running", "cr_suspended"}
    | {"__name__", "__qualname__"}
)


class _OfCoroutine:
    """A method of the coroutine itself: no frame of this file stands in its tracebacks.

    A call that has begun as a future has none, as a coroutine that was awaited.
    """

    def __init__(self, name: str) -> None:
        self._name = name

    def __get__(self, instance: RemoteCoroutine[Any] | None, owner: type) -> Any:
        if instance is None:
            return self
        coroutine = instance.coroutine or instance._as_coroutine()
        return getattr(coroutine, self._name)


@notable
class RemoteCoroutine(AwaitedCall, Generic[R_co]):
    """A coroutine that runs one input, or the future of that input for ``asyncio.gather``.

    Touched by the thread of its loop only, but for `settled`.
    """

    __slots__ = ("args", "coroutine", "function", "input", "is_future", "kwargs", "outcome", "pool")

    ends_itself: ClassVar[bool] = True

    if TYPE_CHECKING:
        # Set by `remote_coroutine`.  None and () since this has begun, as a coroutine or future.
        function: Submits | None
        args: tuple[Any, ...]
        kwargs: dict[str, Any] | None
        coroutine: Coroutine[Any, Any, R_co] | None  # since this has begun as a coroutine
        is_future: bool  # true since this has begun as a future
        # Of a future:
        input: Input | None  # from before it is submitted until it is settled, else None
        pool: Pool | None  # since it is submitted
        outcome: Outcome | None  # since it is settled

    # -- as a coroutine --------------------------------------------------------------------

    def _as_coroutine(self) -> Coroutine[Any, Any, R_co]:
        coroutine = self.coroutine
        if coroutine is None:
            if self.function is None:
                raise RuntimeError("cannot reuse already awaited coroutine")
            self.coroutine = coroutine = aio(self.function, self.args, self.kwargs)
            # So thousands of tasks that wait keep no objects that nobody needs.
            self.function, self.args, self.kwargs = None, (), None
        return coroutine

    send: Any = _OfCoroutine("send")
    throw: Any = _OfCoroutine("throw")

    def close(self) -> None:
        """End the coroutine, if this has begun as one, or not begun."""
        if not self.is_future:
            self._as_coroutine().close()

    def __await__(self) -> Generator[Any, None, Any]:
        return super().__await__() if self.is_future else self._as_coroutine().__await__()

    def __getattr__(self, name: str) -> Any:
        if name in _OF_COROUTINES and not self.is_future:
            return getattr(self._as_coroutine(), name)
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    def __repr__(self) -> str:
        return super().__repr__() if self.is_future else repr(self._as_coroutine())

    def __del__(self) -> None:
        if self.function is not None:  # nobody has begun it
            shown = f"coroutine {aio.__qualname__!r} was never awaited"
            warnings.warn(shown, RuntimeWarning, stacklevel=2, source=self)
        super().__del__()

    # -- as a future -----------------------------------------------------------------------

    if not TYPE_CHECKING:

        @property
        def _asyncio_future_blocking(self):
            """None if this is no future, for who asks."""
            if self.is_future:
                return _BLOCKING.__get__(self)
            if self.function is None or Real._get_running_loop() is not self.mail.loop:
                return None
            try:
                asks = sys._getframe(_OF_GATHER).f_code
            except ValueError:  # fewer frames
                return None
            return False if asks is _GATHER and self._begin() else None

        @_asyncio_future_blocking.setter
        def _asyncio_future_blocking(self, value):
            _BLOCKING.__set__(self, value)

    def _begin(self) -> bool:
        """Submit the input, and be its future; false if this must be a coroutine."""
        function = self.function
        if function is None or open_streams or running_input.get(None) is not None:
            return False
        try:
            run = function._service.current_run()
            if run.copies or run.clock.virtual:
                return False
            target = function._target
            if target.is_generator:
                function._expect("remote.aio")
            call: AwaitedCall = self
            call.target = target
            call.number = next_call_number()
            call.context = context = copy_context()
            if decimal_context in context:
                own_decimal_context(context)
            # The input is this call's before it is submitted: it may be settled at once.
            input = self.input = make_input(self, self.args, self.kwargs)
            # `with uninterruptible:`, inlined, because this code runs for each input.
            guard = thread_state.guard
            if guard is not None:
                guard.enter()
            try:
                self.pool = function._submit((input,))
            finally:
                if guard is not None:
                    guard.exit()
        except BaseException as error:
            # As the task of a coroutine does, and not where `gather` is called.
            if self.pool is not None and self.input is not None:
                self.pool.cancel(self.input)
            self.input = None
            if not isinstance(error, Exception):
                self.function, self.args, self.kwargs, self.is_future = None, (), None, True
                super().cancel()
                raise
            self.set_exception(without_our_frames(error) if isinstance(error, Error) else error)
        else:
            keeper = self.mail.keeper
            if keeper is None:
                self.mail.keeper = keeper = _Keeper(self.mail)
            keeper.calls[self] = None
        # So thousands of futures keep no objects that nobody needs.
        self.function, self.args, self.kwargs, self.is_future = None, (), None, True
        return True

    def settled(self, input: Input, /) -> Callable[[], object]:
        # An input refers to its call: this ends the cycle.
        self.outcome, self.input = input.outcome, None
        return self.post

    def end(self) -> None:
        outcome, self.outcome = self.outcome, None  # also if this was cancelled meanwhile
        if self.done():
            return
        try:
            if isinstance(outcome, Value):
                self.set_result(outcome.value)
            elif outcome is not None:
                self.set_exception(outcome.exception())
        except BaseException as error:  # of the user's code that makes a copy of the error
            self.set_exception(failure_of(error).exception())
        # As `_leave_keeper`, without the cost of a call for each input.
        keeper = self.mail.keeper
        if keeper is not None:
            keeper.calls.pop(self, None)
            if not keeper.calls:
                keeper.forget(self)

    def cancel(self, msg: Any | None = None) -> bool:
        """Cancel the input, too."""
        input, pool = self.input, self.pool
        if input is not None and pool is not None:
            pool.cancel(input)
        self._leave_keeper()
        return super().cancel(msg)

    def _leave_keeper(self) -> None:
        keeper = self.mail.keeper
        if keeper is not None:
            keeper.forget(self)


class _KeeperTask(asyncio.Task[None]):
    """The task of a `_Keeper`."""


class _Keeper:
    """The task that stands for the calls that are gathered on one loop.

    It lasts while there are such calls.  If it is cancelled, so are they.
    """

    def __init__(self, mail: Mail) -> None:
        self.calls: dict[RemoteCoroutine[Any], None] = {}
        self._mail = mail
        self._is_over: asyncio.Future[None] = mail.loop.create_future()
        # As in `TaskLane._start`, not by the factory of the user's tasks.
        self._task: asyncio.Task[None] = _KeeperTask(
            self._keep(), loop=mail.loop, name="moorage-gathered", context=Context()
        )

    async def _keep(self) -> None:
        try:
            await self._is_over
        finally:
            for call in list(self.calls):
                call.cancel()

    def forget(self, call: RemoteCoroutine[Any]) -> None:
        self.calls.pop(call, None)
        if not self.calls and self._mail.keeper is self:
            self._mail.keeper = None
            if not self._is_over.done() and not self._mail.loop.is_closed():
                self._is_over.set_result(None)


def remote_coroutine(
    function: Submits, args: tuple[Any, ...], kwargs: dict[str, Any] | None
) -> Coroutine[Any, Any, Any]:
    """Return what calls `function`, for the caller on this thread."""
    loop = Real._get_running_loop()
    # None on trio, or for who will run a loop.
    if loop is None or not _ARE_IN_C or running_input.get(None) is not None:
        return aio(function, args, kwargs)
    # As `make_async_waiter`, without the cost of a call for each input.
    mail = thread_state.mailbox
    if mail is None or mail.loop is not loop:
        mail = mail_of(loop)
    if mail.is_virtual:
        return aio(function, args, kwargs)
    made: RemoteCoroutine[Any] = RemoteCoroutine(loop=loop)
    made.mail = mail
    made.resume = None
    made.function = function
    made.args = args
    made.kwargs = kwargs
    made.coroutine = None
    made.input = None
    made.pool = None
    made.is_future = False
    its: Any = made  # and not `cast`, which is a call
    coroutine: Coroutine[Any, Any, Any] = its
    return coroutine


async def aio(function: Submits, args: tuple[Any, ...], kwargs: dict[str, Any] | None) -> Any:
    """Run one input of `function`, and wait for its result in this task."""
    pool: Pool | None = None
    input: Input | None = None
    try:
        target = function._target
        if target.is_generator:
            function._expect("remote.aio")
        call = awaited_call(target)
        input = make_input(call, args, kwargs)
        # So thousands of tasks that wait keep no objects that nobody needs: each garbage
        # collection would visit them.
        del args, kwargs
        is_nested = running_input.get(None) is not None
        if is_nested:
            pool = submit_nested(function, call, input)
        else:
            # `with uninterruptible:`, inlined, because this code runs for each input.
            guard = thread_state.guard
            if guard is None:
                pool = function._submit((input,))
            else:
                guard.enter()
                try:
                    pool = function._submit((input,))
                finally:
                    guard.exit()
        if is_nested or open_streams or pool.clock.virtual or type(call) is not AwaitedCall:
            await wait_for(pool, call, input)
        else:  # the same, without the cost of a call
            await call
    except Error as error:
        # The wait was refused, so nobody gets the result.
        if pool is not None and input is not None:
            pool.cancel(input)
        raise without_our_frames(error)
    except GeneratorExit:
        # A garbage collection dropped the task, maybe while this thread holds some lock.  So
        # this code must take no lock.
        if pool is not None and input is not None:
            clean_up_soon(partial(pool.cancel, input), pool.clock)
        raise
    except BaseException:
        if pool is not None and input is not None:
            pool.cancel(input)
        raise
    outcome = input.outcome
    if type(outcome) is Value:
        return outcome.value
    try:
        with Raising() as error_of:
            raise error_of(outcome)
    finally:
        # Else a cycle: these variables -> the error -> its traceback -> this frame.
        del outcome, input, function


# The name of the coroutine, in warnings and in what shows tasks.
aio.__qualname__ = "Remote.aio"
