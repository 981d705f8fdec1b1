"""The container that runs in this process: one thread T, an event loop, worker threads.

Owns the thread T.  T makes the instance and runs the enter hooks; then T runs the loop, if
the pool has async callables, or is the first worker, if the pool has none; at the end T runs
the exit hooks.  The pool makes the container through its factory.  The pool's lock guards the
counts and the state; T sets everything else before the container becomes ready.

Begin at `_live`, the whole life of thread T; then `stop` and `_close_loop`.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Mapping
from contextvars import Context
from functools import partial
from typing import Any, Final

from ... import config
from .. import forking
from ..background import log
from ..clocks.clock import RealWaiter, join_threads
from ..effects import Effect, carry_out
from ..input import Input
from ..real import Real
from ..thread_state import thread_state
from .container import ContainerOptions, ContainerState, Host
from .errands import Errands
from .lifecycle import Start, run_enter, run_exit
from .offload import LoopExecutor
from .slots import Slots
from .task_lane import TaskLane, stop_inherited
from .thread_lane import Reads, ThreadLane, Worker, place_of

logger: Final = logging.getLogger("moorage")

# Seconds.  When the loop closes, the container cancels the tasks that user code left on the
# loop, and waits this long for them; then as long for threads that user code keeps busy.
LEFTOVER_GRACE: Final = 1.0


class LocalContainer:
    """One container in this process.  See `Container` for its contract."""

    read_for: Callable[[Input, RealWaiter], object] | None = None

    def __init__(
        self, host: Host, number: int, target: int, limit: int, options: ContainerOptions
    ) -> None:
        self.number = number
        self.state = ContainerState.STARTING
        self.target = target
        self.slots: Slots = Slots(options.max_inputs)
        self.slots.set_limit(limit)
        self.idle_since: float | None = None
        self.started_at: float = 0.0
        self.takes_no_more: bool = False
        self.given_up: bool = False
        self._host = host
        self._options = options
        self._lifecycle = options.lifecycle  # T replaces it by that of its start
        self._name = f"moorage-{options.name}-{number}"
        clock = host.clock
        self._clock = clock
        self._virtual = clock.participants
        self._thread = Real.Thread(target=self._main, name=self._name, daemon=True)
        # T sets these before the container becomes ready; other threads read them after that.
        # Only `join` and `ended` may read `_executor` earlier: None means no thread to join.
        self._loop: asyncio.AbstractEventLoop | None = None
        self._executor: LoopExecutor | None = None
        self._tasks: TaskLane | None = None
        self._worker: Worker | None = None  # T as the first worker; None if T runs the loop
        # What lives in this container beside its inputs, by name; used on the loop only.
        self.residents: Mapping[str, Any] = {}
        # Other threads cancel the enter hooks through this object: see ``lifecycle.py``.
        self._start = Start()
        # Set to true once, under the pool's lock; T reads the flag without the lock:
        #     1. the user's code stops the loop, and T is about to read the flag,
        #     2. another thread sets the flag, then sends `_stop_serving` to the loop,
        #     3. if T reads before 2, T runs the loop again, and the loop runs `_stop_serving`;
        #        if T reads after 2, T runs the exit hooks, and `_stop_serving`, which the loop
        #        runs during an async exit hook, finds `_serving` false and does nothing.
        self._stop_asked = False
        # Touched by T only.  Invariant: true while the loop runs for inputs, not for hooks.
        self._serving = False
        # The key under which T takes part in virtual time while it stops.  T starts under
        # another key (`self`): the pool may call `stop` before T has ended that part.
        self._stopping = object()
        self._threads = ThreadLane(
            lock=host.lock,
            clock=clock,
            settle=host.settle,
            container=self,
            limit=options.max_inputs,
            name=self._name,
            around=host.around,
        )
        # The threads for sync code of async inputs; None if no resident needs any.
        self.errands: Errands | None = None
        if options.lifecycle.has_errands:
            self.errands = Errands(
                lock=host.lock,
                clock=clock,
                container=self,
                limit=options.max_inputs,
                name=self._name,
            )
        forking.know(self)

    def _after_fork(self) -> None:
        """Disable this container in a forked child.

        The container's threads exist in the parent only, except the thread that forked,
        which may be one of them.
        """
        here = self._thread.ident == Real.get_ident()
        self._threads._after_fork()
        if self.errands is not None:
            self.errands._after_fork()
        if self._tasks is not None:
            self._tasks._after_fork(here=here)
        elif here and self._loop is not None:
            stop_inherited(self._loop)

    # -- the contract -------------------------------------------------------------

    @property
    def host(self) -> Host:
        return self._host

    @property
    def thread(self) -> threading.Thread:
        return self._thread

    def boot(self) -> None:
        if self._virtual is not None:
            self._virtual.begin(self, self._name)
        try:
            self._thread.start()
        except RuntimeError as error:  # too many threads, or the interpreter exits
            if self._virtual is not None:
                self._virtual.end(self)
            self._host.container_failed(self, error)

    def read(self, reads: Reads) -> None:
        """Have threads that have nothing to do read `reads`.  Called once, before the boot."""
        self._threads.reads = reads

    def boot_here(self) -> None:
        """Be the thread T on the calling thread, until the container has ended.

        For the main thread of a process that has no other container.
        """
        assert self._virtual is None
        self._thread = Real.current_thread()
        self._main()

    def placing(self, work: Callable[[], object]) -> None:
        """Do `work`, which may place inputs, on the loop's thread: they need no ring then."""
        if self._tasks is None:
            work()
        else:
            self._tasks.placing(work)

    def place(self, input: Input) -> Effect | None:
        if input.call.target.is_async:
            assert self._tasks is not None
            return self._tasks.place(input)
        return self._threads.place(input)

    def cancel(self, input: Input) -> Effect | None:
        if input.call.target.is_async:
            assert self._tasks is not None
            return self._tasks.cancel(input)
        return self._threads.cancel(input)

    def stop(self) -> None:
        with self._host.lock:
            self._stop_asked = True
            # From here on T takes part in virtual time as stopping.  If T runs an input, it
            # begins that part when the input ends (`Worker.on_leaving`): until then the
            # input may wait and let virtual time pass.
            worker = self._worker
            if self._virtual is not None and worker is not None and not worker.busy:
                self._virtual.begin(self._stopping, self._name)
            effects = self._threads.stop()
            if self.errands is not None:
                effects += self.errands.stop()
        carry_out(effects)
        if self._tasks is not None:
            assert self._loop is not None
            try:
                self._loop.call_soon_threadsafe(self._stop_serving, context=Context())
            except RuntimeError:
                pass  # the loop is closed: T has run the exit hooks

    def places(self) -> list[str]:
        places = self._threads.places()
        return places if self.errands is None else places + self.errands.places()

    def give_up(self) -> None:
        self._start.give_up()

    def kill(self) -> None:
        """Do nothing: threads cannot be killed."""

    @property
    def ended(self) -> bool:
        return not join_threads(self._all_threads(), 0.0)

    def join(self, timeout: float) -> list[str]:
        return [place_of(thread) for thread in join_threads(self._all_threads(), timeout)]

    def _all_threads(self) -> list[threading.Thread]:
        threads = [self._thread, *self._threads.threads()]
        if self.errands is not None:
            threads += self.errands.threads()
        if self._executor is not None:
            threads += self._executor.threads
        return threads

    # -- thread T -----------------------------------------------------------------

    def _main(self) -> None:
        if self._virtual is not None:
            self._virtual.bind_thread(self)
        thread_state.container = self
        try:
            # Each hook and input ends a child that was forked in it.  This guard ends a child
            # that was forked between them, for example by a callback on the loop.
            with forking.UserCode():
                self._live()
        finally:
            if self._virtual is not None:
                self._virtual.end(self)
                self._virtual.end(self._stopping)

    def _live(self) -> None:
        options, host = self._options, self._host
        born = forking.process.number
        try:
            self._lifecycle = lifecycle = options.lifecycle.now()
            if options.has_async or lifecycle.needs_loop:
                # Else a hook that gives an awaitable all the same opens the loop.
                self._open_loop()
            try:
                inside = run_enter(lifecycle, self._start, self._open_loop, options.max_inputs)
            finally:
                if self._virtual is not None:
                    # Let all other participants of virtual time finish their steps.  Otherwise
                    # chance decides which of several starting containers takes the first
                    # inputs, and whether all inputs submitted now are queued by then.
                    self._virtual.rest()
            if options.has_async:
                assert self._loop is not None
                self._tasks = TaskLane(
                    lock=host.lock,
                    clock=self._clock,
                    settle=host.settle,
                    container=self,
                    loop=self._loop,
                    around=host.around,
                    why_it_waits=options.why_it_waits,
                )
                self._tasks.instance = inside.instance
            self._threads.instance = inside.instance
            self.residents = inside.residents
        except BaseException as error:
            self._close_loop()
            host.container_failed(self, error)
            return
        worker = self._worker = self._threads.expect_here() if self._tasks is None else None
        if worker is not None and self._virtual is not None:
            worker.on_leaving = partial(self._virtual.begin, self._stopping, self._name)
        if host.container_ready(self):
            if worker is None:
                self._run_loop()
            else:
                if self._virtual is not None:
                    # As a worker on its way, T takes part until it parks.  `stop` makes T
                    # take part again before it wakes T.
                    self._virtual.become(self, worker, self._name)
                self._threads.work_here(worker)
                if self._virtual is not None:
                    self._virtual.bind_thread(self._stopping)
        if forking.process.number != born:
            return
        run_exit(lifecycle, inside, self._open_loop)
        self._close_loop()
        # The pool keeps this container until its threads are joined.  The instance may hold
        # a large model, so its references are dropped now.
        self._threads.instance = None
        self.residents = {}
        del inside
        if self._tasks is not None:
            self._tasks.instance = None
        host.container_stopped(self)

    def _run_loop(self) -> None:
        loop = self._loop
        assert loop is not None
        self._serving = True
        born = forking.process.number
        while not self._stop_asked and forking.process.number == born:
            try:
                # Ends by `_stop_serving`.  A task of the user's that raises SystemExit or
                # calls loop.stop() ends it too; then T runs the loop again, because the other
                # inputs on the loop must not end with that task.
                loop.run_forever()
            except BaseException as error:
                text = "a task in %s stopped the container's event loop; the loop runs on"
                log(logger, logging.ERROR, text, self._name, exc_info=error)
        self._serving = False

    def _stop_serving(self) -> None:
        # False if the loop runs exit hooks by now: this callback must not stop them.
        if self._serving:
            assert self._loop is not None
            self._loop.stop()

    def _open_loop(self) -> asyncio.AbstractEventLoop:
        """Return the container's loop; open the loop if there is none yet."""
        if self._loop is not None:
            return self._loop
        reads = None if config.uvloop else self._threads.reads
        loop = self._clock.new_event_loop() if reads is None else reads.new_event_loop()
        self._loop = self._start.loop = loop
        self._executor = LoopExecutor(self._name)
        loop.set_default_executor(self._executor)
        if self._lifecycle.has_async_exit:
            # An exit hook may use asyncio.to_thread while the interpreter exits, when no
            # thread can be started any more.  So start one now.
            self._executor.start_thread()
        return loop

    def _close_loop(self) -> None:
        """End the tasks, async generators and threads that user code left; close the loop.

        Bounded: the tasks, the generators and the threads get `LEFTOVER_GRACE` each.
        """
        loop, executor = self._loop, self._executor
        if self._tasks is not None:
            self._tasks.close()
        if loop is None or executor is None:
            return
        try:
            loop.run_until_complete(loop.create_task(_end_leftovers(), context=Context()))
        except BaseException as error:
            text = "ending the tasks that are left in %s failed"
            log(logger, logging.ERROR, text, self._name, exc_info=error)
        executor.shutdown()
        for left in join_threads(executor.threads, LEFTOVER_GRACE):
            text = "%s has stopped, but a thread of its loop's executor still runs: %s"
            log(logger, logging.WARNING, text, self._name, place_of(left))
        loop.close()

    def __repr__(self) -> str:
        return f"<container {self._name}: {self.state.value}, {self.slots!r}>"


async def _end_leftovers() -> None:
    """Cancel the tasks that are left on this loop, and close its async generators."""
    me = Real.current_task()
    # In virtual time the hash of a task is its number, so the order is the same in each run.
    tasks = sorted((task for task in Real.all_tasks() if task is not me), key=hash)
    for task in tasks:
        task.cancel()
    if tasks:
        _, pending = await Real.wait(tasks, timeout=LEFTOVER_GRACE)
        for task in pending:
            text = "a task still runs after its cancel, and its event loop closes now: %r"
            log(logger, logging.WARNING, text, task)
        for task in tasks:
            if task.done() and not task.cancelled() and task.exception() is not None:
                error = task.exception()
                text = "a task that was cancelled as its container stopped raised an error"
                log(logger, logging.ERROR, text, exc_info=error)
    await Real.wait_for(Real.get_running_loop().shutdown_asyncgens(), LEFTOVER_GRACE)
