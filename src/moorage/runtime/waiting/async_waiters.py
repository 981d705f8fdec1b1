"""Waiters for async callers: one class for each kind of event loop.

Owns how a thread of moorage wakes a caller's task: on asyncio by ``call_soon_threadsafe``,
on trio by ``TrioToken.run_sync_soon``.  A caller without a running asyncio loop is assumed to
run on trio.  Blocking callers wait by `park` in ``clocks/parking.py`` (below ``runtime``)
instead; ``callers.py`` uses both.  ``running/run_method.py`` opens and leaves runs by
`run_in_thread`.  Begin at `make_async_waiter`, then `AsyncioWaiter` and `Mail`.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from contextvars import Context, copy_context
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Final, Protocol, TypeVar, cast

from .. import forking
from ..captured import capture
from ..clocks.choices import Choices
from ..clocks.clock import Clock
from ..clocks.participant_thread import ParticipantThread
from ..clocks.participants import LoopPart
from ..clocks.patched_time import current_virtual_clock
from ..containers.offload import LoopExecutor
from ..real import Real
from ..thread_state import thread_state
from ..uninterruptible import begins_uninterruptible

T = TypeVar("T")

_PACKAGE: Final = __name__.partition(".")[0]


class AsyncWaiter(Protocol):
    """The place where one task waits, once."""

    @property
    def is_lost(self) -> bool:
        """True if the task is woken or cancelled already, or its loop has closed.

        On any thread.  False on trio, which does not say.
        """
        ...

    def wake(self) -> bool:
        """Wake the task; false if its loop has closed.  On any thread.

        A second call is harmless, and so is a call after the loop has closed.
        """
        ...

    async def wait(self) -> None: ...


class AsyncioWaiter(asyncio.Future[None]):
    """A waiter for asyncio: a future, whose result is set on the loop's thread.

    The waiter is the future, and a task awaits the waiter itself: each object and each coroutine
    more is one more that every garbage collection visits while thousands of tasks wait.  No
    ``__init__``, which would cost a call: who makes a waiter sets its `mail`, and `resume` to None.
    """

    __slots__ = ("mail", "resume")

    # True if it has a method `end`, which is called in place of ``set_result(None)``, also when the
    # future is done, and which raises nothing.
    ends_itself: ClassVar[bool] = False

    if TYPE_CHECKING:
        mail: Mail
        # The first callback, and its context, if the mail calls it.  None before one was added,
        # and () since it was called or removed.
        resume: tuple[Callable[[Any], object], Context] | tuple[()] | None

        def end(self) -> None: ...

    # -- the first callback ----------------------------------------------------------------

    # Mostly the step of the one task that waits.  The future does not have the loop call it soon,
    # which costs a handle, and one more turn of a loop that has nothing else to do: the mail
    # calls it when it has ended the future, which is a callback of the loop, too.

    def add_done_callback(
        self, fn: Callable[[Any], object], /, *, context: Context | None = None
    ) -> None:
        if context is None:
            context = copy_context()
        if self.resume is None and self.mail.resumes and not self.done():
            self.resume = fn, context
        else:
            super().add_done_callback(fn, context=context)

    def remove_done_callback(self, fn: Callable[[Any], object], /) -> int:
        count = super().remove_done_callback(fn)
        if self.resume and self.resume[0] == fn:
            self.resume = ()  # and not None: the next one that is added comes after the others
            count += 1
        return count

    def cancel(self, msg: Any | None = None) -> bool:
        if not self.done():
            self.resume_soon()  # before the other callbacks
        return super().cancel(msg)

    def resume_soon(self) -> None:
        """Have the loop call the first callback soon, if there is one."""
        resume, self.resume = self.resume, ()
        if resume:
            self.mail.loop.call_soon(resume[0], self, context=resume[1])

    # -- the waiter ------------------------------------------------------------------------

    @property
    def is_lost(self) -> bool:
        return self.done() or self.mail.loop.is_closed()

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        return self.mail.loop

    def post(self) -> None:
        """As `wake`, for those who need not know whether the loop has closed."""
        mail = self.mail
        mail.due.append(self)
        if not mail.is_scheduled:
            mail.schedule()

    def wake(self) -> bool:
        self.post()
        return not self.mail.loop.is_closed()

    async def wait(self) -> None:
        await self


def mail_of(loop: asyncio.AbstractEventLoop) -> Mail:
    """Return the mail of `loop`, which runs on this thread."""
    mail: Mail | None = thread_state.mailbox
    if mail is None or mail.loop is not loop:
        thread_state.mailbox = mail = Mail(loop)
    return mail


class Mail:
    """The waiters of one loop that are due: each `AsyncioWaiter.post` adds one.

    One wake-up of the loop serves all waiters that are added before the loop runs `_deliver`.

    No waiter is lost, and there is no lock: a thread adds a waiter, then reads `is_scheduled`; and
    the loop writes `is_scheduled`, then takes waiters.  If the loop does not find a waiter that a
    thread adds, the thread has added it after that, so it reads that nothing is scheduled.
    """

    __slots__ = ("_choices", "due", "is_scheduled", "is_virtual", "keeper", "loop", "resumes")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop: asyncio.AbstractEventLoop = loop
        self._choices: Choices | None = None
        self.is_virtual: bool = isinstance(loop, LoopPart)
        if isinstance(loop, LoopPart):
            self._choices = loop.clock.participants.choices
        # Whether it calls the first callback of waiters itself.  Not on a loop in virtual time,
        # which orders the steps of tasks; nor on one whose `call_soon` is not that of asyncio, of
        # uvloop or of a container, because it may count them, or order them too.
        owner = str(getattr(loop.call_soon, "__module__", None)).partition(".")[0]
        self.resumes: bool = not self.is_virtual and owner in ("asyncio", "uvloop", _PACKAGE)
        # Invariant: if not empty, _deliver is scheduled, or the thread that found that it is not is
        # about to schedule it.  Perhaps twice: the second one finds nothing.
        self.due: deque[AsyncioWaiter] = deque()
        self.is_scheduled: bool = False
        # The task that stands for the calls that are gathered on this loop, if there are any: see
        # ``calling/remote_coroutine.py``.  Touched on the loop's thread only.
        self.keeper: Any = None

    def schedule(self) -> None:
        """Have the loop run `_deliver`, soon."""
        self.is_scheduled = True
        try:
            # In an empty context: the loop would keep this thread's context alive until
            # the callback runs.
            self.loop.call_soon_threadsafe(self._deliver, context=Context())
        except RuntimeError:
            pass  # the loop is closed: no task waits any more

    def _deliver(self) -> None:
        """End the waiters that are due.

        Calls the first callback of a waiter here if it is the only one that is due.  Of several,
        the first might never come back: its task may run the loop until another task has ended,
        or end the process that it has forked.  The callbacks of those that end themselves run no
        code of the user's, so these are called in any case.
        """
        self.is_scheduled = False
        due = self.due
        choices = self._choices
        if choices is not None and len(due) > 1:
            shuffled = [due.popleft() for _ in range(len(due))]
            choices.shuffle(shuffled)
            due.extendleft(reversed(shuffled))
        is_alone = len(due) == 1 and not self.loop.get_debug()  # which says what takes long
        future: AsyncioWaiter | None = None
        count = len(due)  # not those that come meanwhile: the loop has others to serve
        try:
            while count:
                count -= 1
                future = due.popleft()
                if future.ends_itself:
                    future.end()
                elif not future.done():
                    future.set_result(None)
                resume = future.resume
                if resume:
                    if is_alone or future.ends_itself:
                        future.resume = ()
                        resume[1].run(resume[0], future)
                    else:
                        future.resume_soon()
        finally:
            if count and not self.is_scheduled:  # an exception has come between two of them
                self.schedule()


# A signal that comes in one of these comes once more, later.  A KeyboardInterrupt there would leave
# a task that nothing resumes.
for _method in (AsyncioWaiter.add_done_callback, AsyncioWaiter.cancel, Mail._deliver):
    begins_uninterruptible.add(_method.__code__)


def _after_fork() -> None:
    # What is due on a loop of the parent is the parent's.
    thread_state.mailbox = None


forking.in_child(_after_fork)


class TrioWaiter:
    """A waiter for trio: an event, which is set on the thread of its trio run."""

    __slots__ = ("_closed", "_event", "_token")

    def __init__(self) -> None:
        import trio

        self._event = trio.Event()
        self._token = trio.lowlevel.current_trio_token()
        self._closed = trio.RunFinishedError

    @property
    def is_lost(self) -> bool:
        return False

    def wake(self) -> bool:
        try:
            self._token.run_sync_soon(self._event.set)
        except self._closed:
            return False  # the caller's trio run has ended: no task waits any more
        return True

    async def wait(self) -> None:
        await self._event.wait()


def make_async_waiter() -> AsyncioWaiter | TrioWaiter:
    """Return a waiter for the calling task, on asyncio or trio."""
    loop = Real._get_running_loop()
    if loop is None:
        return TrioWaiter()
    waiter = AsyncioWaiter(loop=loop)
    waiter.mail = mail_of(loop)
    waiter.resume = None
    return waiter


async def wait_in(clock: Clock, waiter: AsyncWaiter) -> None:
    """Wait by ``waiter.wait()`` for what happens in the time of `clock`.

    Raises:
        ClockStuckError: if virtual time is stuck, and this task is on a loop in real time.
    """
    participants = clock.participants
    wait = None if participants is None else participants.note_foreign(waiter.wake)
    if participants is None or wait is None:
        await waiter.wait()
        return
    try:
        await waiter.wait()
    finally:
        participants.forget_foreign(wait)
    if wait.error is not None:
        raise wait.error


async def run_in_thread(function: Callable[[], T]) -> T:
    """Run a blocking function of moorage in a thread, and return its result.

    A cancelled caller still waits until `function` has ended.
    """
    if Real._get_running_loop() is None:
        import anyio
        import anyio.to_thread

        with anyio.CancelScope(shield=True):
            return await anyio.to_thread.run_sync(function, limiter=anyio.CapacityLimiter(1))
    future = _in_own_thread(function)
    cancelled: asyncio.CancelledError | None = None
    while not future.done():
        try:
            await Real.shield(future)
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is not None:
        raise cancelled
    return future.result()


def _in_own_thread(function: Callable[[], T]) -> asyncio.Future[T]:
    """Run `function` in a thread of its own, and return a future of the result.

    The default executor would not do: all its threads may sit in calls that end only after
    `function` has ended.
    """
    loop = Real.get_running_loop()
    if isinstance(loop, LoopPart):
        # Virtual time must count this thread; the loop's `run_in_executor` registers it.
        executor = LoopExecutor("moorage-leaving")
        running = loop.run_in_executor(executor, function)
        executor.shutdown()
        return running
    # No executor here: when asyncio chains an executor's future to the loop's future, it
    # looks up names that users patch.
    future: asyncio.Future[T] = loop.create_future()

    def run() -> None:
        tell: Callable[[], object]
        try:
            tell = partial(future.set_result, function())
        except BaseException as error:
            tell = partial(future.set_exception, error)
        try:
            loop.call_soon_threadsafe(tell, context=Context())
        except RuntimeError:
            pass  # the loop is closed: no task waits any more

    Real.Thread(target=run, name="moorage-leaving", daemon=True).start()
    return future


def run_to_end(awaitable: Awaitable[T]) -> T:
    """Run a user's awaitable on a new loop, block until it ends, and return its result.

    On this thread; or, if a loop runs here already, on a new thread, in a copy of the caller's
    context.  asyncio allows one running loop per thread.
    """
    if Real._get_running_loop() is None:
        return Real.run(_awaited(awaitable))
    clock = current_virtual_clock()
    if clock is None:
        executor = LoopExecutor("moorage-loop")
        future = executor.submit(capture().run, Real.run, _awaited(awaitable))
        executor.shutdown()
        return future.result()
    # Participants may have to run first, and the awaitable may sleep: so this is a wait in virtual
    # time, for a thread that takes part.
    context, done = capture(), Real.Future()

    def run() -> None:
        try:
            done.set_result(context.run(Real.run, _awaited(awaitable)))
        except BaseException as error:
            done.set_exception(error)

    thread = ParticipantThread(clock, "a loop of moorage", target=run, daemon=True)
    thread.start()
    thread.join()
    return cast("T", done.result())


async def _awaited(awaitable: Awaitable[T]) -> T:
    return await awaitable
