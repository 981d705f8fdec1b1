"""Spawned calls: calls whose results the caller gets later, with a handle.

Owns `FunctionCall` and the ways to wait for one call (`Get`, `Iter`) or for several (`Gather`).
``ways.py`` makes the calls; the engine calls `FunctionCall.settled` under the pool's lock.
``registry.py`` owns which calls are found by their id, and for how long; ``graph.py`` owns the
graph of calls, and ``runtime/waiting/unread.py`` the errors that nobody has read.  The other kinds
of calls are in ``waited.py`` and ``maps.py``.

Begin at `FunctionCall._make`, then `FunctionCall.settled`, then `Get`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextvars import Context
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Final, Generic, Never, TypeVar, cast, overload

from .. import config
from ..advice import NAMES_OF_FUTURES, no_attribute, of_call
from ..exception import (
    Error,
    InvalidAttributeError,
    InvalidError,
    InvalidIndexError,
    NotFoundError,
    OutputExpiredError,
    ResourceExhaustedError,
)
from ..frames import without_our_frames
from ..placing.calls import driver_link
from ..runtime import forking
from ..runtime.background import let_go
from ..runtime.captured import shared_capture
from ..runtime.clocks.clock import Clock, Waiter
from ..runtime.clocks.parking import park
from ..runtime.context import current_input, hook_context, is_a_container, running_input
from ..runtime.input import (
    Input,
    InputState,
    Kind,
    Target,
    call_id,
    call_number,
    make_input,
    next_call_number,
)
from ..runtime.outcome import Failure, Outcome, Raising, Value
from ..runtime.pools.pool import Pool
from ..runtime.real import Real
from ..runtime.thread_state import thread_state
from ..runtime.uninterruptible import uninterruptible
from ..runtime.waiting.async_waiters import make_async_waiter
from ..runtime.waiting.callers import park_for, wait_for
from ..runtime.waiting.unread import Unread, Watch
from ..runtime.waiting.waits import blockers_of, open_streams
from ..with_aio import (
    MethodWithAio,
    PosesAsFunction,
    add_way,
    plain_function,
    plain_method,
    refuse_patch,
)
from .asking import ask
from .registry import Record, registry
from .waited import clean_up_soon, warn_if_loop_runs, written

if TYPE_CHECKING:
    from ..types import InputInfo

R_co = TypeVar("R_co", covariant=True)
T = TypeVar("T")
Wake = Callable[[], object]


class Gather(PosesAsFunction):
    """``FunctionCall.gather``: wait for several calls together."""

    __slots__ = ()

    def __call__(self, *function_calls: FunctionCall[T]) -> list[T]:
        """Wait for all `function_calls`, and return their results in the order given.

        Calls with many inputs count with their first input only.

        Raises:
            The error of the first call that fails, as soon as that call fails.  The other
            calls go on.
        """
        warn_if_loop_runs("FunctionCall", "gather(...)", "await {}.gather.aio(...)")
        gathering: _Gathering | None = None
        try:
            gathering = _Gathering(function_calls)
            with uninterruptible:
                try:
                    gathering.join()
                    for group in gathering.groups:
                        while True:
                            waiter = group.clock.make_waiter()
                            if not gathering.waits(group, waiter.wake):
                                break
                            park_for(group.pool, waiter, gathering)
                finally:
                    gathering.leave()
            return gathering.results()
        except Exception as error:
            raise without_our_frames(error)
        finally:
            # Else a cycle: these variables -> the error -> its traceback -> this frame.
            del function_calls, gathering, self

    async def aio(self, *function_calls: FunctionCall[T]) -> list[T]:
        """As ``FunctionCall.gather(...)``, for asyncio and trio."""
        gathering: _Gathering | None = None
        try:
            gathering = _Gathering(function_calls)
            try:
                gathering.join()
                for group in gathering.groups:
                    while True:
                        waiter = make_async_waiter()
                        if not gathering.waits(group, waiter.wake):
                            break
                        await wait_for(group.pool, waiter, gathering)
            finally:
                if gathering.is_open:
                    clean_up_soon(gathering.leave)
            return gathering.results()
        except Exception as error:
            raise without_our_frames(error)
        finally:
            del function_calls, gathering, self


class _Group:
    """The calls of one gather whose pools have the same clock."""

    __slots__ = ("clock", "open", "pool")

    def __init__(self, pool: Pool) -> None:
        self.clock: Clock = pool.clock
        self.pool: Pool = pool
        # How many inputs of the group are not settled.  Guarded by `_Gathering._lock`.
        self.open: int = 0


class _Gathering(Sequence[tuple[Pool, Input]]):
    """One gather: the inputs that it waits for.

    `join` registers with each call once, and each call reports once that it has settled.  The
    caller wakes when all calls of one clock have settled, or when one call has failed.

    The search for deadlocks reads this object as a sequence: the inputs that are not settled,
    any of which may end the wait.  The search checks a wait only when the wait begins.  So a
    caller that is an input itself also wakes, and begins a new wait, when the inputs that are
    left may be waiting for this caller:

        1. the caller waits for A and B; the search sees that A makes progress, so the wait
           will end,
        2. B begins to wait for this caller; the search sees that A makes progress,
        3. A settles.  Without a new wait, the search would not check B again.
    """

    __slots__ = (
        "_call_of",
        "_calls",
        "_failed",
        "_first",
        "_inputs",
        "_is_watched",
        "_lock",
        "_pending",
        "_wake",
        "_witness",
        "groups",
    )

    def __init__(self, calls: Sequence[FunctionCall[Any]]) -> None:
        self._inputs: list[Input] = []  # in the order of the results
        # The inputs that were not settled when the gather began, each once; and their calls,
        # in the same order.
        self._pending: list[tuple[Pool, Input]] = []
        self._calls: list[FunctionCall[Any]] = []
        self._call_of: dict[Input, FunctionCall[Any]] = {}
        # Reentrant, because: 1. this thread holds the lock, 2. a garbage collection runs a
        # user's ``__del__``, 3. the ``__del__`` settles one of the calls.
        self._lock = Real.RLock()
        # The fields from here to `_witness` are guarded by the lock.
        self._wake: Wake | None = None  # wakes the caller; set while the caller waits
        self._failed: Input | None = None  # the first input that failed
        # A hint, which may lag behind: all inputs before this index of `_pending` are settled.
        self._first: int = 0
        self._is_watched: bool = False  # the search for deadlocks knows the wait
        # The input that made progress when the gather last checked.
        self._witness: Input | None = None
        self.groups: list[_Group] = []
        groups: dict[Clock, _Group] = {}
        for call in calls:
            if not isinstance(call, FunctionCall):  # pyright: ignore[reportUnnecessaryIsInstance]
                raise InvalidAttributeError(
                    f"FunctionCall.gather takes what spawn() gives, got {call!r}; "
                    "write FunctionCall.gather(*calls)"
                )
            input = call._input_at(0)
            self._inputs.append(input)
            outcome = input.outcome
            if outcome is not None:
                if type(outcome) is not Value and self._failed is None:
                    self._failed = input
            elif input not in self._call_of:
                pool = call._started_pool()
                self._pending.append((pool, input))
                self._calls.append(call)
                group = groups.get(pool.clock)
                if group is None:
                    groups[pool.clock] = group = _Group(pool)
                    self.groups.append(group)
                group.open += 1
            self._call_of[input] = call
        if self._failed is not None:
            self._raise_error(self._failed)

    def join(self) -> None:
        """Have `_settled` called when each pending input is settled."""
        groups = {group.clock: group for group in self.groups}
        for (pool, input), call in zip(self._pending, self._calls, strict=True):
            report = partial(self._settled, groups[pool.clock], input)
            if not call._add(input, report, key=self):
                report()

    def waits(self, group: _Group, wake: Wake) -> bool:
        """Return whether the caller must wait for `group`; if so, `wake` is called later.

        After `wake` the caller asks again.
        """
        with self._lock:
            if self._failed is not None or not group.open:
                return False
            self._wake = wake
            self._is_watched = current_input() is not None or bool(open_streams)
            self._witness = None
            return True

    @property
    def is_open(self) -> bool:
        return any(group.open for group in self.groups)

    def leave(self) -> None:
        """Undo `join` for the inputs that are not settled."""
        for (_, input), call in zip(self._pending, self._calls, strict=True):
            if input.outcome is None:
                call._remove(input, self)

    def results(self) -> list[Any]:
        """Return all results, in the order of the calls.

        Raises:
            The error of the first call that failed.
        """
        if self._failed is not None:
            self._raise_error(self._failed)
        # No input has failed, because each settled input has reported its outcome.
        return [cast("Value", input.outcome).value for input in self._inputs]

    def _raise_error(self, input: Input) -> Never:
        with Raising() as error_of:
            raise error_of(self._call_of[input]._read(input))

    def _settled(self, group: _Group, input: Input) -> None:
        """Record that `input` has settled, and wake the caller if needed.

        Runs on the thread that settled `input`, without its pool's lock.
        """
        with self._lock:
            group.open -= 1
            if type(input.outcome) is not Value:
                if self._failed is None:
                    self._failed = input
            elif group.open and (not self._is_watched or self._has_witness()):
                return
            wake, self._wake = self._wake, None
        if wake is not None:
            wake()

    def _has_witness(self) -> bool:
        """Return whether some pending input surely makes progress.  Under the lock.

        If not, the caller begins a new wait, and the search for deadlocks checks all inputs.
        """
        if self._witness is not None and _makes_progress(self._witness):
            return True
        pending = self._pending
        while self._first < len(pending) and pending[self._first][1].outcome is not None:
            self._first += 1
        # The running inputs are mostly the first ones, because pools queue in this order.
        for _, input in pending[self._first : self._first + _MOST_CHECKED]:
            if _makes_progress(input):
                self._witness = input
                return True
        return False

    # -- what the search for deadlocks sees ------------------------------------------

    def __iter__(self) -> Iterator[tuple[Pool, Input]]:
        first = self._failed
        # The caller is about to wake: show one settled input, so that the search sees that
        # the wait ends.
        if first is not None or not self.is_open:
            for pair in self._pending:
                if first is None or pair[1] is first:
                    yield pair
                    return
        for pair in self._pending:
            if pair[1].outcome is None:
                yield pair

    def __len__(self) -> int:
        return sum(1 for _ in self)

    @overload
    def __getitem__(self, index: int) -> tuple[Pool, Input]: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[tuple[Pool, Input]]: ...
    def __getitem__(self, index: int | slice) -> Any:
        left = list(self) or self._pending  # empty if all inputs have settled just now
        return left[index]


def _makes_progress(input: Input) -> bool:
    return input.outcome is None and input.state is InputState.RUNNING and not blockers_of(input)


# The most inputs of a gather that `_has_witness` checks.  A limit, because a check for each
# settled input over all pending inputs would be quadratic.
_MOST_CHECKED: Final = 16


class _NameOfFutures:
    """A name that futures of other libraries have.  Reading it on a call says what to write.

    `FunctionCall` has no ``__getattr__``: a class that has one pays for it at each read of an
    attribute that is there, and each input of a spawned call reads about fifty.
    """

    __slots__ = ("_name",)

    def __init__(self, name: str) -> None:
        self._name = name

    def __get__(self, call: object, owner: type) -> Never:
        raise no_attribute("FunctionCall", self._name, of_call(self._name))


class _AdvisesOnFutures:
    """The base of `FunctionCall` that has the names of futures."""

    __slots__ = ()


for _name in NAMES_OF_FUTURES:
    setattr(_AdvisesOnFutures, _name, _NameOfFutures(_name))


class FunctionCall(_AdvisesOnFutures, Generic[R_co]):
    """The handle of a spawned call: get its results or cancel it, from any thread or task.

    ``Function.spawn`` returns a call with one input, ``Function.experimental_spawn_map`` a call
    with many inputs.  Any number of threads and tasks may wait for the call at once.  The call
    can be found by its id until 10 minutes after it settled; see `from_id`.

    If inputs fail, and the last handle goes before a caller has read their errors, the errors
    are logged at ERROR on the logger ``moorage``.
    """

    __slots__ = (
        "__weakref__",
        "_first",
        "_pool",
        "_record",
        "_settled_at",
        "_unread",
        "_waiting",
        "context",
        "number",
        "target",
    )

    if TYPE_CHECKING:
        context: Context
        number: int
        target: Target
        _first: Input | None
        _pool: Pool | None
        _record: Record | None
        _settled_at: float | None
        # Set when an input fails, and unset in most calls, which saves the time to set it.
        # Written under the pool's lock.
        _unread: Watch
        _waiting: dict[int, dict[object, Wake]] | None

    # Most calls have one input, so a slot for these two would waste memory in most calls.  The
    # subclasses `_ManyInputs` and `_UnknownCall` have the slots.
    _many: tuple[Input, ...] = ()
    _unknown: str | None = None

    @staticmethod
    @plain_function
    def from_id(function_call_id: str, client: object = None) -> FunctionCall[Any]:
        """Return the call with this id, if it was spawned in this process.

        `from_id` accepts every id and raises nothing.  If no call is found, each use of the
        result (`get`, `cancel`, `num_inputs` and the others) raises one of two errors:

        - `OutputExpiredError`, if the call settled more than 10 minutes ago
          (``config.findable_seconds``), or if 10,000 other calls
          (``config.findable_calls``) have settled since; or if the id is that of a ``remote``
          or a ``map``, which cannot be found by id;
        - `NotFoundError`, if there was no such call.

        Args:
            function_call_id: the `object_id` of the call.
            client: accepted; no effect.
        """
        call = registry.find(function_call_id)
        if call is None and is_a_container():
            try:
                name, count = ask(_facts_of, function_call_id)
            except (NotFoundError, OutputExpiredError) as error:
                return FunctionCall._make_unknown(function_call_id, error)
            return _call_elsewhere(function_call_id, name, count)
        return FunctionCall._make_unknown(function_call_id) if call is None else call

    if TYPE_CHECKING:
        gather: ClassVar[Gather]
    else:
        gather = staticmethod(plain_method(Gather(), "FunctionCall.gather"))

    def __init__(self, *args: object, **kwargs: object) -> None:
        raise InvalidError(
            "a FunctionCall is not made by hand; "
            "write f.spawn(...), or FunctionCall.from_id(...) for one that was spawned"
        )

    @classmethod
    def _make(
        cls, target: Target, args: tuple[Any, ...] | None, kwargs: dict[str, Any]
    ) -> FunctionCall[Any]:
        """Make a call with one input, or (for `_make_many`, with `args` None) with none yet."""
        call: FunctionCall[Any] = cls.__new__(cls)
        call.number = next_call_number()
        call.target = target
        call.context = shared_capture()
        # `Function._submit` sets the pool before the inputs may run, because their code may
        # look up its own call.
        call._pool = None
        call._first = None if args is None else make_input(call, args, kwargs or None)
        # Set when the call's id is given out, or when it becomes the child or the spawner of
        # another call: see `registry.Registry`.
        call._record = None
        # When the last input settled, by the pool's clock.  Written under the pool's lock.
        call._settled_at = None
        # Guarded by the pool's lock: whom to wake when an input is settled, by the input's
        # index, then by the key of `_add`.
        call._waiting = None
        return call

    @staticmethod
    def _make_many(
        target: Target, rows: Sequence[tuple[Any, ...]], kwargs: dict[str, Any]
    ) -> FunctionCall[Any]:
        call = cast("_ManyInputs[Any]", _ManyInputs._make(target, None, kwargs))
        inputs = [Input(call, index, row, kwargs or None) for index, row in enumerate(rows)]
        call._unsettled = len(inputs)
        call._is_forgotten = False
        call._many = tuple(inputs)
        if inputs:
            call._first = inputs[0]
        return call

    @staticmethod
    def _make_unknown(
        function_call_id: str, why: NotFoundError | OutputExpiredError | None = None
    ) -> FunctionCall[Any]:
        kind: type[_UnknownCall[Any]] = _UnknownCall
        call = kind.__new__(kind)
        call._why = why
        call._pool = None
        call._record = None
        call._unknown = function_call_id
        return call

    @property
    def _inputs(self) -> tuple[Input, ...]:
        if self._many:
            return self._many
        return () if self._first is None else (self._first,)

    @property
    def object_id(self) -> str:
        """The id of the call, for `from_id`.

        The call's own code gets the same id from ``current_function_call_id()``.

        Raises:
            AttributeError: in strict mode, if `from_id` found no call.
        """
        if self._unknown is not None and config.strict:
            raise AttributeError(
                f"FunctionCall.from_id({self._unknown!r}) has no object_id: "
                "no such call was spawned in this process"
            )
        return self._unknown or self._give_out_id()

    def _give_out_id(self) -> str:
        """Return the id, and make the call findable by it from now on."""
        shown = call_id(self.number)
        its: Any = self._pool
        if its is not None and its.is_elsewhere:
            inputs = self._inputs
            found: str | None = its.id_of(self, lambda: all(i.outcome is not None for i in inputs))
            return found or shown
        record = self._record
        if record is None or not record.is_named:
            registry.give_out(self, shown)
        return shown

    def settled(self, input: Input, /) -> Wake | None:
        """Note that the only input has settled; see `runtime.input.Call`.

        The engine calls this under the pool's lock, and calls what this returns without it.
        """
        assert self._pool is not None
        self._settled_at = self._pool.clock.now()
        if type(input.outcome) is Failure:
            self._note_failure(input.index, input.outcome)
        ending = _EndedCall()
        ending.call = self
        return ending

    def _note_failure(self, index: int, failure: Failure) -> Unread:
        """Note that nobody has read this error.  Under the pool's lock.

        The lock and `_note_read` order a failure before its read:

            1. thread A settles the input: sets its outcome, under the pool's lock,
            2. thread B sees the outcome, without the lock, and reads the error,
            3. thread A notes the failure, and releases the lock,
            4. thread B takes the lock, and notes the read.
        """
        watch: Watch | None = getattr(self, "_unread", None)
        if watch is None:
            unread = Unread(self.target.name, self.number, isinstance(self, _ManyInputs))
            watch = self._unread = Watch(unread)
        watch.unread.add(index, failure)
        return watch.unread

    @uninterruptible
    def _note_read(self, index: int) -> None:
        """Note that a caller reads the error of the input `index`."""
        pool = self._started_pool()
        if not pool.forked:
            with pool.lock:
                self._unread.unread.read(index)

    def _has_unread(self) -> bool:
        """Return whether this settled call has errors that nobody has read."""
        watch: Watch | None = getattr(self, "_unread", None)
        return watch is not None and watch.unread.has_errors()

    def _make_twin(self) -> FunctionCall[R_co]:
        """Return another handle of this settled call; this handle has unread errors logged."""
        kind = type(self)
        twin = kind.__new__(kind)
        twin.number, twin.target, twin.context = self.number, self.target, _NOTHING
        twin._pool, twin._first, twin._record = self._pool, self._first, self._record
        twin._settled_at, twin._waiting = self._settled_at, None
        twin._unread = self._unread.share()
        if isinstance(twin, _ManyInputs):
            twin._many, twin._unsettled, twin._is_forgotten = self._many, 0, False
        return twin

    def _take_watch(self, handle: FunctionCall[R_co]) -> None:
        """Log unread errors when this twin is freed, and no longer when `handle` is."""
        self._unread = handle._unread.pass_on()

    def _ended(self, ended: _EndedCall) -> None:
        """Wake the waiters after the last input has settled.  Without the pool's lock."""
        # Before the wakes: a woken caller may look for the call in the registry at once.
        if self._record is not None:
            registry.ended(self, self._record)
        waiting = self._waiting
        if waiting is not None:
            self._waiting = None
            for wakes in waiting.values():
                for wake in wakes.values():
                    wake()
        self._drop_context(ended)

    def _drop_context(self, ended: _EndedCall) -> None:
        """Drop the context of the settled call, except for the input that spawned the call.

        That input stays only while its code runs.  The full context holds the spawning input,
        and so that input's call: a job that spawns its successor would keep all earlier jobs
        in memory.  From now on the inputs refer to `ended` and not to this call, so the call
        is freed with its handle.
        """
        inputs = self._inputs
        for input in inputs:
            if input.state is not _SETTLED:
                return  # the input's code still runs, or is about to begin, in this context
        caller = self.context.get(running_input, _OUTSIDE)
        while caller is not None and caller is not _OUTSIDE and caller.outcome is not None:
            caller = caller.call.context.get(running_input, _OUTSIDE)
        context = _NOTHING
        if caller is None:
            context = _IN_HOOK
        elif caller is not _OUTSIDE:
            context = Context()
            context.run(running_input.set, caller)
        gone, self.context = [self.context], context
        ended.number, ended.target, ended.context = self.number, self.target, context
        for input in inputs:
            input.call = ended
        if self._record is not None and self._record.children is not None:
            # The contexts of the settled children refer to this call's input.
            for child in registry.children(self):
                if child._settled_at is not None:
                    child._drop_context(_EndedCall())
        let_go(gone)

    if TYPE_CHECKING:

        @property
        def get(self) -> Get[R_co]: ...
        @property
        def iter(self) -> Iter[R_co]: ...
    # `add_way` adds them below, where `Get` and `Iter` are defined.

    @MethodWithAio
    def num_inputs(self) -> int:
        """Return how many inputs the call has: 1, unless ``experimental_spawn_map`` made it."""
        self._started_pool()
        return len(self._inputs)

    @MethodWithAio
    def cancel(self, terminate_containers: bool = False) -> None:
        """Cancel all inputs of the call.

        A queued input is removed from the queue.  A running input is cancelled inside its
        code: see `InputCancellation`.  Does nothing to settled inputs.

        Args:
            terminate_containers: also kill the containers in which inputs of the call run, if
                these are worker processes (``app.run(placement="process")``).  Other inputs in
                them run again in another container, at the front of the queue.  Containers that
                are threads cannot be killed: only the inputs of this call end.
        """
        pool = self._started_pool()
        if pool.forked:
            raise forking.stayed_behind(f"the call of {self.target.name}")
        if pool.is_elsewhere and (terminate_containers or isinstance(self, _CallElsewhere)):
            ask(_cancel, self.object_id, terminate_containers)
            return
        containers = pool.containers_of(self._inputs) if terminate_containers else ()
        pool.cancel_all(self._inputs)
        for container in containers:
            container.kill()

    @MethodWithAio
    def get_call_graph(self) -> list[InputInfo]:
        """Return the root of the inputs whose code led to the call, with all its descendants.

        The root is the input that no other input's code has made; if the call itself has no such
        root above it, the roots are all of its own inputs.  Inputs that ended more than 10
        minutes ago (``config.findable_seconds``) are shown only if they lead to others, and a
        graph has 10,000 inputs (``config.findable_calls``) at most.
        """
        pool = self._started_pool()
        if pool.is_elsewhere:
            graph: list[InputInfo] = ask(_graph_of, self.object_id)
            return graph
        with uninterruptible:
            return registry.graph_of(self)

    @MethodWithAio
    def hydrate(self, client: object = None) -> FunctionCall[R_co]:
        """Return the call itself: there is nothing to fetch."""
        self._started_pool()
        return self

    def _input_at(self, index: int) -> Input:
        self._started_pool()
        inputs = self._inputs
        if not 0 <= index < len(inputs):
            last = len(inputs) - 1
            raise InvalidIndexError(
                f"the inputs of the call of {self.target.name} have the numbers 0 to {last}, "
                f"got index={index}; write index={max(0, last)}"
            )
        return inputs[index]

    @uninterruptible
    def _add(self, input: Input, wake: Wake, *, key: object = None) -> bool:
        """Have `wake` called when `input` is settled; false if `input` is settled already.

        Args:
            key: what `_remove` takes; `wake` itself if None.
        """
        with self._started_pool().lock:
            if input.outcome is not None:
                return False
            if self._waiting is None:
                self._waiting = {}
            self._waiting.setdefault(input.index, {})[wake if key is None else key] = wake
            return True

    @uninterruptible
    def _remove(self, input: Input, key: object) -> None:
        pool = self._started_pool()
        if pool.forked:
            return
        with pool.lock:
            waiting = (self._waiting or {}).get(input.index)
            if waiting is not None:
                waiting.pop(key, None)

    def _read(self, input: Input, /) -> Outcome:
        """Return the outcome of the settled `input`, for a caller who asked for it.

        If the input failed and the registry keeps the call, the registry soon clears the
        frames of the error.
        """
        outcome = input.outcome
        assert outcome is not None
        if type(outcome) is Failure:
            self._note_read(input.index)
            if self._record is not None and self._record.is_kept:
                registry.read(self, input)
        return outcome

    def _started_pool(self) -> Pool:
        if self._pool is None:
            raise self._not_found()
        return self._pool

    def _check_accepted(self) -> None:
        """Raise the error if the calling program, which has the pool, has refused the inputs."""
        if self._started_pool().is_elsewhere:
            for input in self._inputs:
                outcome = input.outcome
                if type(outcome) is Failure:
                    self._read(input)
                    refusal = outcome.exception()
                    if isinstance(refusal, ResourceExhaustedError):
                        raise without_our_frames(refusal)

    def _not_found(self) -> NotFoundError | OutputExpiredError:
        why: Any = getattr(self, "_why", None)
        if why is not None:  # the calling program has said why
            return cast("NotFoundError | OutputExpiredError", type(why)(str(why)))
        shown = self._unknown
        number = call_number(shown or "")
        if number is not None and number < next_call_number():
            return OutputExpiredError(
                f"the call {shown} settled too long ago to be found by its id, or was made by "
                "remote() or map(), whose calls are never found by id; keep the FunctionCall that "
                "spawn() gives, or raise config.findable_seconds and config.findable_calls"
            )
        return NotFoundError(
            f"no call {shown!r} was spawned in this process; "
            "keep the FunctionCall, or its object_id, that spawn() gives"
        )

    def _moorage_crosses(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        """Return how another process makes a handle of this call: see ``placing/shipping.py``."""
        if self._pool is None:
            return _call_with_id, (self._unknown,)
        return _call_with_id, (self.object_id, self.target.name, len(self._inputs))

    def __dir__(self) -> list[str]:
        return [name for name in super().__dir__() if name not in NAMES_OF_FUTURES]

    def __repr__(self) -> str:
        if self._pool is None:
            return f"<FunctionCall {self._unknown}: unknown>"
        inputs = self._inputs
        states = Counter(input.state.value for input in inputs)
        shown = ", ".join(
            state if len(inputs) == 1 else f"{count} {state}" for state, count in states.items()
        )
        return f"<FunctionCall {self.object_id} of {self.target.name}: {shown or 'no inputs'}>"


class _ManyInputs(FunctionCall[R_co]):
    """A call of ``experimental_spawn_map``: any number of inputs, also none."""

    __slots__ = ("_is_forgotten", "_many", "_unsettled")

    if TYPE_CHECKING:
        # These two are guarded by the pool's lock.
        _is_forgotten: bool  # nobody has the handle, so errors are logged at once
        _unsettled: int  # how many inputs are not settled

    def settled(self, input: Input, /) -> Wake | None:
        self._unsettled -= 1
        wakes: list[Wake] = []
        if not self._unsettled:
            ending = super().settled(input)
            if self._is_forgotten and (watch := getattr(self, "_unread", None)) is not None:
                wakes.append(watch.unread.report)
            if not wakes:
                return ending
            assert ending is not None
            wakes.append(ending)
        else:
            if type(input.outcome) is Failure:
                unread = self._note_failure(input.index, input.outcome)
                if self._is_forgotten:
                    wakes.append(partial(unread.report, final=False))
            if self._waiting is not None:
                wakes += self._waiting.pop(input.index, {}).values()
        if len(wakes) <= 1:
            return wakes[0] if wakes else None
        return lambda: [wake() for wake in wakes]

    @uninterruptible
    def _forget(self) -> None:
        """Have errors logged as soon as inputs fail, because nobody gets the handle."""
        with self._started_pool().lock:
            self._is_forgotten = True
            watch: Watch | None = getattr(self, "_unread", None)
        if watch is not None:
            watch.unread.report(final=False)


class _CallElsewhere(_ManyInputs[R_co]):
    """A call that the code in a container's process has found by its id.

    The calling program is asked for an outcome when somebody wants it.  Errors are logged for the
    handle there.
    """

    __slots__ = ("_asked", "_found_id")

    if TYPE_CHECKING:
        _asked: set[int]  # the inputs whose outcomes were asked for; guarded by the pool's lock
        _found_id: str

    @property
    def _ask_pool(self) -> Any:
        return self._pool

    def _give_out_id(self) -> str:
        return self._found_id

    def _input_at(self, index: int) -> Input:
        input = super()._input_at(index)
        pool = self._ask_pool
        with pool.lock:
            is_asked = index in self._asked
            self._asked.add(index)
        if not is_asked:
            pool.find(input, self._found_id)
        return input

    def settled(self, input: Input, /) -> Wake | None:
        self._unsettled -= 1
        if not self._unsettled:
            ending = _EndedCall()
            ending.call = self
            return ending
        wakes = list((self._waiting or {}).pop(input.index, {}).values())
        return None if not wakes else lambda: [wake() for wake in wakes]

    def _read(self, input: Input, /) -> Outcome:
        assert input.outcome is not None
        return input.outcome


def _call_elsewhere(function_call_id: str, name: str, count: int) -> FunctionCall[Any]:
    """Make a handle, in a container's process, of a call of the calling program."""
    target = Target(name, _call_elsewhere, Kind.SYNC)
    call = cast("_CallElsewhere[Any]", _CallElsewhere._make(target, None, {}))
    inputs = [Input(call, index, (), None) for index in range(count)]
    call._many = tuple(inputs)
    call._first = inputs[0] if inputs else None
    call._unsettled, call._is_forgotten = count, False
    call._asked, call._found_id = set(), function_call_id
    call._pool = driver_link().pool()
    return call


def _call_with_id(
    function_call_id: str, name: str | None = None, count: int = 0
) -> FunctionCall[Any]:
    """Return a handle of a call that has come from another process."""
    if name is None or not is_a_container() or registry.find(function_call_id) is not None:
        return FunctionCall.from_id(function_call_id)
    return _call_elsewhere(function_call_id, name, count)


# -- what containers ask for: in the calling program ---------------------------------------------


def _facts_of(function_call_id: str) -> tuple[str, int]:
    call = FunctionCall.from_id(function_call_id)
    call._started_pool()  # raises if there is no such call
    return call.target.name, len(call._inputs)


def _cancel(function_call_id: str, terminate_containers: bool) -> None:
    FunctionCall.from_id(function_call_id).cancel(terminate_containers)


def _graph_of(function_call_id: str) -> list[InputInfo]:
    return FunctionCall.from_id(function_call_id).get_call_graph()


class _UnknownCall(FunctionCall[R_co]):
    """The result of `FunctionCall.from_id` for an id that is not found."""

    __slots__ = ("_unknown", "_why")

    if TYPE_CHECKING:
        _why: NotFoundError | OutputExpiredError | None


# These classes differ only in their slots; users see one class.
for _kind in (_ManyInputs, _CallElsewhere, _UnknownCall):
    _kind.__name__ = _kind.__qualname__ = FunctionCall.__name__


class _WayOfCall(PosesAsFunction, Generic[R_co]):
    """A method of a call, which is made at each access, and has an ``aio``."""

    __slots__ = ("_call",)

    def __init__(self, call: FunctionCall[R_co]) -> None:
        _set_call(self, call)  # as ``self._call = call``, past `__setattr__`

    if TYPE_CHECKING:
        _call: FunctionCall[R_co]
    else:  # hidden, so that type checkers refuse to set attributes

        def __setattr__(self, name, value):
            refuse_patch(self._way_of(), name)

    def _way_of(self) -> str:
        return f"FunctionCall.{self._way}"


_set_call: Final[Callable[[_WayOfCall[Any], FunctionCall[Any]], None]] = vars(_WayOfCall)[
    "_call"
].__set__


class Get(_WayOfCall[R_co]):
    """``FunctionCall.get``: wait for the result of one input."""

    __slots__ = ()
    _way = "get"

    def __call__(self, timeout: float | None = None, *, index: int = 0) -> R_co:
        """Wait for the result and return it.

        Args:
            timeout: the most seconds to wait; no limit if None.  0 does not wait.
            index: the index of the input, for a call with many inputs.

        Raises:
            TimeoutError: the builtin one, if the call has no result after `timeout` seconds.
                The call goes on.
            InputCancelledError: if the call was cancelled.
            InvalidIndexError: if there is no input with this index.
            OutputExpiredError, NotFoundError: if `from_id` found no call.
            Exception: the error of the user's code, if the input failed.
        """
        call = self._call
        input = call._first if type(call) is FunctionCall and not index else None
        if input is None:  # else the common case, without the cost of a call
            try:
                input = call._input_at(index)
            except Error as error:
                raise without_our_frames(error)
        if input.outcome is None:
            pool = call._started_pool()
            waiter = pool.clock.make_waiter()
            if timeout is not None and pool.is_elsewhere:
                _wait_until_known(pool, input)
            with uninterruptible:
                if call._add(input, waiter.wake):
                    wait_here(pool, waiter, timeout, call, input)
                    if input.outcome is None:
                        raise _timed_out(call, timeout)
        outcome = input.outcome
        if type(outcome) is Value:
            value: R_co = outcome.value
            return value
        outcome = call._read(input)
        try:
            with Raising() as error_of:
                raise error_of(outcome)
        finally:
            # Else a cycle: these variables -> the error -> its traceback -> this frame.
            del outcome, input, call, self

    async def aio(self, timeout: float | None = None, *, index: int = 0) -> R_co:
        """As ``get(...)``, for asyncio and trio."""
        call = self._call
        try:
            input = call._input_at(index)
        except Error as error:
            raise without_our_frames(error)
        if input.outcome is None:
            pool = call._started_pool()
            if timeout is not None and pool.is_elsewhere:
                await _wait_until_known_async(pool, input)
            waiter = make_async_waiter()
            wake = waiter.wake
            if call._add(input, wake):
                timer = None
                if timeout is not None:
                    timer = pool.clock.call_at(pool.clock.now() + max(0.0, timeout), wake)
                try:
                    await wait_for(pool, waiter, input, timeout is not None)
                finally:
                    if timer is not None:
                        timer.cancel()
                    if input.outcome is None:
                        clean_up_soon(partial(call._remove, input, wake))
                if input.outcome is None:
                    raise _timed_out(call, timeout)
        outcome = input.outcome
        if type(outcome) is Value:
            value: R_co = outcome.value
            return value
        outcome = call._read(input)
        try:
            with Raising() as error_of:
                raise error_of(outcome)
        finally:
            del outcome, input, call, self


class Iter(_WayOfCall[R_co]):
    """``FunctionCall.iter``: the results of all inputs, in order."""

    __slots__ = ()
    _way = "iter"

    def __call__(self, *, start: int = 0, end: int | None = None) -> Iterator[R_co]:
        """Yield the results of the inputs `start` to `end`, without `end`; wait for each.

        Args:
            start: the index of the first input.
            end: the index after the last input; all inputs from `start` if None.

        Raises:
            InvalidIndexError: if the call has no such inputs.
            Exception: the error of an input that failed, after the results before it.
        """
        call = self._call
        try:
            for index in _indices(call, start, end):
                yield call.get(index=index)
        except Exception as error:
            raise without_our_frames(error)

    async def aio(self, *, start: int = 0, end: int | None = None) -> AsyncIterator[R_co]:
        """As ``iter(...)``, for ``async for``."""
        call = self._call
        try:
            for index in _indices(call, start, end):
                yield await call.get.aio(index=index)
        except Exception as error:
            raise without_our_frames(error)


def _make_get(call: FunctionCall[Any]) -> Get[Any]:
    """Make what ``call.get`` is, without the cost of ``__init__``: each input may come here."""
    get: Get[Any] = _new_object(Get)
    _set_call(get, call)
    return get


_new_object: Final[Callable[[type[Any]], Any]] = object.__new__

add_way(
    FunctionCall,
    "get",
    Get,
    "``get(timeout=None)`` waits for the result; ``await get.aio(timeout=None)`` likewise.",
    _make_get,
)
add_way(
    FunctionCall,
    "iter",
    Iter,
    "``iter()`` yields the results of all inputs, in order; ``iter.aio()`` likewise.",
)


def _indices(call: FunctionCall[object], start: int, end: int | None) -> range:
    call._started_pool()
    count = len(call._inputs)
    if start < 0 or (end is not None and not start <= end <= count):
        raise InvalidIndexError(
            f"the call of {call.target.name} has {count} inputs, got start={start}, end={end}; "
            f"write bounds from 0 to {count}"
        )
    return range(start, count if end is None else end)


class _EndedCall:
    """Replaces a settled call as the ``call`` of its inputs.

    At first this object is the effect of settling: the engine calls it once, without the pool's
    lock.  It then drops its reference to the call, because idle workers keep this object.
    """

    __slots__ = ("call", "context", "number", "target")

    # The code that makes the object sets the fields: an ``__init__`` would cost one more call
    # for each input.
    call: FunctionCall[Any] | None
    context: Context
    number: int
    target: Target

    def __call__(self) -> None:
        call, self.call = self.call, None
        if call is None:
            return
        if call._record is not None or call._waiting is not None:
            call._ended(self)
            return
        # The common case: the call is not in the registry, and nobody waits for the result.
        input, context = call._first, call.context
        if (
            input is None
            or type(call) is not FunctionCall
            or input.state is not _SETTLED
            or context.get(running_input, _OUTSIDE) is not _OUTSIDE
            or thread_state.keeps_time
        ):
            del context
            call._drop_context(self)
            return
        # The same as `_drop_context` for a call that was spawned outside of any input.
        self.number, self.target = call.number, call.target
        self.context = call.context = _NOTHING
        input.call = self

    def settled(self, input: Input, /) -> None:
        raise AssertionError(f"{input!r} has settled before")


_SETTLED: Final = InputState.SETTLED
# Replace the context of a settled call that was spawned by code outside of any input, or by a
# hook.
_NOTHING: Final = Context()
_IN_HOOK: Final = hook_context()
# The default for `running_input`, which is None inside a hook.
_OUTSIDE: Final = cast(Input, object())


def _wait_until_known(pool: Any, input: Input) -> None:
    """Wait until the calling program has said whether an input of a call found there has ended."""
    waiter = pool.clock.make_waiter()
    if pool.when_known(input, waiter.wake):
        park(pool.clock, waiter)


async def _wait_until_known_async(pool: Any, input: Input) -> None:
    """As `_wait_until_known`."""
    waiter = make_async_waiter()
    if pool.when_known(input, waiter.wake):
        await waiter.wait()


def wait_here(
    pool: Pool,
    waiter: Waiter,
    timeout: float | None,
    call: FunctionCall[object],
    input: Input,
) -> None:
    """Block this thread until `input` is settled, for `timeout` seconds at most."""
    if timeout is None or timeout > 0:  # else `get` only asks and blocks nothing
        warn_if_loop_runs(written(call.target), "spawn(...).get()", "await {}.spawn(...).get.aio()")
    try:
        park_for(pool, waiter, input, timeout)
    finally:
        if input.outcome is None:
            call._remove(input, waiter.wake)


def _timed_out(call: FunctionCall[object], timeout: float | None) -> TimeoutError:
    return TimeoutError(
        f"the call of {call.target.name} has no result after {timeout} s; "
        "it goes on: get() it again, or cancel() it"
    )


def forget(call: FunctionCall[Any]) -> None:
    """Have the errors of a call with many inputs logged at once: nobody gets its handle."""
    if isinstance(call, _ManyInputs):
        call._forget()
