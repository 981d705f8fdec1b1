"""The child's side: a `LocalContainer` whose pool is in another process.

Owns `ChildHost`, which stands for the pool: it makes inputs of the frames that come, places them in
the container, and writes what becomes of them.  It decides nothing and queues nothing: an input
that comes has a slot, and runs at once.

The host's lock takes the place of the pool's: it guards the inputs that run here, and the lanes of
the container.  Frames come on the thread that reads; outcomes come on the threads of the container,
or in its loop.

Begin at `ChildHost.received`, then `_take_inputs`; then `settle`, then `_write`.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterable, Sequence
from contextvars import Context
from functools import partial
from typing import Any, Final

from ..runtime import forking
from ..runtime.clocks.clock import Clock
from ..runtime.containers.container import Container, ContainerOptions, Loss
from ..runtime.containers.local import LocalContainer
from ..runtime.containers.residents import ArrivedVisit, Note, is_visit
from ..runtime.containers.streaming import Stream, stream_of
from ..runtime.containers.thread_lane import Worker
from ..runtime.effects import Around, Effect, carry_out
from ..runtime.input import Input, InputState, Target
from ..runtime.loop_notes import explained
from ..runtime.outcome import Cancelled, Failure, Outcome, Value, failure_of
from ..runtime.places import place_in_stack, place_in_task
from ..runtime.pools.batching import BatchCall, batch_of, make_batch
from ..runtime.real import Real
from ..runtime.stacks import current_frames
from ..runtime.uninterruptible import uninterruptible
from ..serialize.culprits import Part, find_culprit
from .calls import Link
from .channel import Carrier, Channel
from .errors import packed_failure
from .frames import (
    BATCH,
    CANCELLED,
    FAILURE,
    MEMBER,
    VALUE,
    Buffer,
    Kind,
    Message,
    decode,
    encode,
)
from .outbox import Outbox
from .shipping import Packed, _dump_to, pack
from .targets import batch_of_packed, child_target, outcomes_of_members
from .turnstile import ReadingSelector, has_turnstiles

GRANTED: Final = InputState.GRANTED
RUNNING: Final = InputState.RUNNING
SETTLED: Final = InputState.SETTLED

Post = tuple[Kind, Message | list[Message]]
"""What waits to be written: a message, or several of one kind."""

NOTHING: Final[Message] = ((), ())

# The result of each visit.
_NONE: Final = pack(None)

# How long, in seconds, a result may wait for others, and how many wait.
HELD_FOR: Final = 0.0005
HELD_AT_MOST: Final = 32

# So many inputs in a row, each of them alone, and a worker reads the next one itself.  If inputs
# come faster, the post reads while workers run: there are more of them in each frame.
ALONE: Final = 2


class ChildCall:
    """The call of an input in a child: nobody waits for it here."""

    __slots__ = ("context", "line", "number", "stream", "target")

    def __init__(self, number: int, target: Target) -> None:
        self.number: int = number
        self.target: Target = target
        self.context: Context = _EMPTY
        self.stream: SentStream  # of a generator only
        self.line: ChildLine | None = None  # of a visit only

    def settled(self, input: Input, /) -> None:
        return None


# No context crosses: each input runs in a copy of this one.
_EMPTY: Final = Context()


class SentStream(Stream):
    """The stream of a generator whose reader is in another process.

    An item is written as soon as it comes.  What stays in the buffer stands for the items that the
    reader has not taken, so the generator waits as it does beside its reader.
    """

    __slots__ = ("_send",)

    def __init__(self, clock: Clock, send: Callable[[Packed], object]) -> None:
        super().__init__(clock)
        self._send = send

    @uninterruptible
    def offer(self, item: Any) -> bool:
        if not super().offer(None):
            return False
        self._send(item)
        return True

    def credit(self, count: int) -> None:
        """Note that the reader has taken `count` items."""
        for _ in range(count):
            self.take_nowait(_nothing)


def _nothing() -> None:
    pass


class ChildLine:
    """The line of a visit to this process: see `Line`."""

    __slots__ = ("_host", "_seq")

    def __init__(self, host: ChildHost, seq: int) -> None:
        self._host: ChildHost | None = host
        self._seq = seq

    def send(self, *notes: Note) -> None:
        host, seq = self._host, self._seq
        if host is not None:
            host.send_notes(seq, notes)

    def close(self) -> None:
        """Send nothing more: the visit is over."""
        self._host = None


class RunElsewhere:
    """What the code of a container may know of its run."""

    def __init__(self, grace: float) -> None:
        self.grace: float = grace  # seconds that code gets to end when the run is left


class ChildHost:
    """What a pool is to the one container of a child.

    Args:
        options: the container's.
        targets: the functions that its inputs may run, by index.
        batched: the target of its batches; None if it has none.
        clock: the clock of this process.
        number, limit: the container's.
        ended: called when the container has ended, by itself or before it was ready.
        grace: seconds that code gets to end when the run is left.
    """

    def __init__(
        self,
        options: ContainerOptions,
        targets: Sequence[Target],
        batched: Target | None,
        clock: Clock,
        *,
        number: int,
        limit: int,
        ended: Callable[[], object] = _nothing,
        grace: float = 30.0,
    ) -> None:
        self.lock: threading.Lock = Real.Lock()
        self.clock: Clock = clock
        self.around: Around | None = None
        self.run: Any = RunElsewhere(grace)
        self._targets = [target if is_visit(target) else child_target(target) for target in targets]
        self._arrive = options.lifecycle.arrive
        self._batched = None if batched is None else batch_of_packed(batched)
        self._ended = ended
        self._outbox: Outbox[Post] = Outbox(self._write)
        self._carrier: Carrier | None = None
        self._channel: Channel | None = None  # the same, if threads of the container may read it
        # The calls of the code that runs here.  Set once, before the container boots, in a process
        # of its own; else the code calls the pools that are here.
        self.link: Link | None = None
        # Guarded by `lock`:
        # The inputs that run here, by their seq, which is the `ticket` of each.
        self._inputs: dict[int, Input] = {}
        self._is_ready = False
        self._must_stop = False
        self._held: list[Message] = []  # the results that wait to be written together
        # Whether the last result of sync code was the last for a while; and when the results that
        # wait began to wait, at the latest.
        self._pauses = True
        self._held_since = 0.0
        # Whether the results that wait are written when the turn of the loop is over, and when
        # the timer fires.  Invariant: if a result waits, one of them is true, or a thread writes.
        self._turn_comes = False
        self._timer_comes = False
        # How many frames in a row brought an input that was then alone in the container.
        self._alone = 0
        self.container: LocalContainer = LocalContainer(self, number, limit, limit, options)

        forking.know(self)

    def _after_fork(self) -> None:
        """In a process that was forked from the container's: nothing is written here."""
        forking.renew(self.lock)
        self._outbox.renew()

    def connect(self, carrier: Carrier) -> None:
        """Write to `carrier` from now on.  Called once, before the container boots."""
        self._carrier = carrier
        if isinstance(carrier, Channel):
            self._channel = carrier
            self.container.read(self)

    # -- what the driver says: on the thread that reads ------------------------------------

    def received(self, kind: int, words: int, body: memoryview) -> None:
        """Do what a frame says."""
        messages = decode(kind, words, body)
        if kind == Kind.INPUTS:
            self._take_inputs(messages)
        elif kind == Kind.CANCEL:
            for (seq,), blobs in messages:
                self._cancel(seq, str(bytes(blobs[0]), "utf-8"))
        elif kind == Kind.VISIT:
            for (seq, what, number), blobs in messages:
                with self.lock:
                    input = self._inputs.get(seq)
                    args = () if input is None else input.args
                if args:
                    visit: ArrivedVisit = args[0]
                    visit.heard(what, number, blobs)
        elif kind == Kind.CREDIT:
            for (seq, count), _ in messages:
                self._credit(seq, count)
        elif kind == Kind.STACKS:
            for (number,), blobs in messages:
                self._tell_places(number, self._places_of_inputs if blobs else self._places)
        elif kind == Kind.REPLY:
            assert self.link is not None
            for (number, how), blobs in messages:
                self.link.replied(number, how, list(blobs))
        elif kind == Kind.GIVE_UP:
            self.container.give_up()
        elif kind == Kind.STOP:
            self.stop()

    def _take_inputs(self, messages: Iterable[Message]) -> None:
        """Run what has come."""
        effects: list[Effect] = []
        with self.lock:
            left = 0  # members that follow
            members: list[Input] = []
            batch_seq = 0
            targets = self._targets
            # The inputs of one call that come together share it.
            call: ChildCall | None = None
            for (seq, index, number, place, count), blobs in messages:
                if count:
                    batch_seq, left, members = seq, count, []
                    continue
                target = targets[index]
                if is_visit(target):
                    call = ChildCall(number, target)  # of this visit alone
                    assert self._arrive is not None
                    call.line = ChildLine(self, seq)
                    visit = self._arrive(call.line, blobs)
                    input = Input(call, place, (visit,), None)
                else:
                    if call is None or call.number != number or call.target is not target:
                        call = ChildCall(number, target)
                    input = Input(call, place, (Packed.of(blobs),), None)
                if left:
                    members.append(input)
                    left -= 1
                    if left:
                        continue
                    assert self._batched is not None
                    seq, input = batch_seq, make_batch(self._batched, members)
                    for member in members:
                        member.state = RUNNING
                elif call.target.is_generator:
                    call.stream = SentStream(self.clock, partial(self._send_item, seq))
                    call = None  # each generator has a call of its own
                self._inputs[seq] = input
                input.ticket = seq
                input.state, input.container = GRANTED, self.container
                effect = self.container.place(input)
                if effect is not None:
                    effects.append(effect)
            self._alone = self._alone + 1 if len(self._inputs) == 1 else 0
        carry_out(effects)

    # -- a worker that reads: see `Reads` ---------------------------------------------------

    @property
    def is_quiet(self) -> bool:
        return self._alone >= ALONE

    def read_until(self, is_done: Callable[[], bool]) -> bool:
        return self._channel is not None and self._channel.read_until(is_done)

    def interrupt(self) -> None:
        if self._channel is not None:
            self._channel.interrupt()

    def new_event_loop(self) -> asyncio.AbstractEventLoop:
        channel = self._channel
        if channel is None or not has_turnstiles:
            return self.clock.new_event_loop()
        place = self.container.placing

        def read_once(also: int, seconds: float | None) -> None:
            channel.read_once(also, seconds, place)

        return Real.new_event_loop(lambda: ReadingSelector(lambda: self.is_quiet, read_once))

    def _cancel(self, seq: int, reason: str) -> None:
        effect: Effect | None = None
        stream: SentStream | None = None
        with self.lock:
            input = self._inputs.get(seq)
            if input is None or input.cancellation is not None:
                return  # it has ended
            input.cancellation = Cancelled(reason)
            if input.state is RUNNING:
                effect = self.container.cancel(input)
            # Else it waits for its thread or its loop, which finds that it is cancelled.
            if input.call.target.is_generator:
                stream = getattr(input.call, "stream", None)
        if effect is not None:
            effect()
        if stream is not None:
            stream.close()

    def _credit(self, seq: int, count: int) -> None:
        with self.lock:
            input = self._inputs.get(seq)
        if input is not None:
            stream = stream_of(input.call)
            assert isinstance(stream, SentStream)
            stream.credit(count)

    def _tell_places(self, number: int, find: Callable[[], list[str]]) -> None:
        places = [place.encode("utf-8", "replace") for place in find()]
        self._outbox.send((Kind.PLACES, ((number,), places)))

    def _places(self) -> list[str]:
        places = self.container.places()
        if not self._is_ready:  # an enter hook runs on T, and no input
            hook = place_in_stack(current_frames().get(self.container.thread.ident or -1))
            places += [hook] if hook is not None else []
        return places

    def _places_of_inputs(self) -> list[str]:
        """Return the seq of each input, and where its code is."""
        with self.lock:
            running = [(seq, input.runner) for seq, input in self._inputs.items()]
        stacks = current_frames()
        names = {thread.ident: thread.name for thread in Real.all_threads()}
        loop = stacks.get(self.container.thread.ident or -1)
        places: list[str] = []
        for seq, runner in running:
            if isinstance(runner, Worker):
                ident = runner.cell.ident
                name = names.get(ident, ident)
                where = "in its main thread" if name == "MainThread" else f"in thread {name}"
                place = place_in_stack(stacks.get(ident))
            elif runner is not None:
                where, place = "in a task", place_in_task(runner.get_coro(), loop)
            else:
                continue
            places.append(f"{seq}\n{where}\n{place or ''}")
        return places

    def stop(self) -> None:
        """Run the exit hooks and end, also if the container starts: then after its enter hooks."""
        with self.lock:
            if self._must_stop:
                return
            self._must_stop = True
            if not self._is_ready:
                return
        self.container.stop()

    def gone(self) -> None:
        """End: the driver is gone, and nobody waits for what runs here."""
        with self.lock:
            seqs = list(self._inputs)
        for seq in seqs:
            self._cancel(seq, "the process that called this input is gone")
        self.stop()

    # -- the calls of the code that runs here -------------------------------------------------

    def call(
        self, calls: Sequence[tuple[int, int, Sequence[Buffer]]], parent: Input | None
    ) -> None:
        """Write CALLs: see ``calls.py``."""
        seq = 0
        if parent is not None:
            with self.lock:
                outer = batch_of(parent)
                ticket: int = getattr(outer, "ticket", 0)  # an input of another host has another
                seq = ticket if self._inputs.get(ticket) is outer else 0
        messages: list[Message] = [((number, seq, what), blobs) for number, what, blobs in calls]
        self._outbox.send((Kind.CALL, messages))

    def block_loop(self, container: Container) -> None:
        """Note that the loop of the container begins a blocking call."""
        self._outbox.send((Kind.HELD, ((1,), ())))

    def unblock_loop(self, container: Container) -> None:
        """End a `block_loop`."""
        self._outbox.send((Kind.HELD, ((0,), ())))

    # -- what the container says: see `Host` -------------------------------------------------

    def settle(
        self, container: Container, input: Input, outcome: Outcome, runs_async: bool | None
    ) -> tuple[Input | None, Sequence[Effect]]:
        link = self.link
        if link is not None and link.spawning:
            late = partial(self._settle_late, container, input, outcome, runs_async)
            if link.when_taken(input, late):
                input.state, input.outcome = SETTLED, outcome  # it cannot be cancelled any more
                return None, ()
        seq = input.ticket
        del self._inputs[seq]
        input.state, input.outcome = SETTLED, outcome
        line = getattr(input.call, "line", None)  # a batch has none
        if line is not None:
            line.close()
            if type(outcome) is Value:
                message = ((seq, VALUE), _NONE.blobs)
                return None, self._put_result(message, True, False)
        if type(outcome) is Value and type(outcome.value) is Packed:
            message = ((seq, VALUE), outcome.value.blobs)
            return None, self._put_result(message, input.call.target.is_async, runs_async is None)
        if type(outcome) is Cancelled and self._batched is None:
            blobs = [outcome.reason.encode()]
            effect = self._outbox.put((Kind.RESULTS, ((seq, CANCELLED), blobs)))
            return None, () if effect is None else (effect,)
        return None, (partial(self._send_outcome, seq, input.call, outcome),)

    def _settle_late(
        self, container: Container, input: Input, outcome: Outcome, runs_async: bool | None
    ) -> None:
        """Settle an input whose spawned calls had to be taken first."""
        with self.lock:
            _, effects = self.settle(container, input, outcome, runs_async)
        carry_out(effects)

    def at_next_end(self, work: Callable[[], object]) -> None:
        """Call `work` before the next result is written.  Costs nothing until then, and after."""
        mine = self.__dict__

        def end(method: Callable[..., Any], *args: Any) -> Any:
            for name in ("_put_result", "_send_outcome"):
                mine.pop(name, None)
            work()
            return method(*args)

        for name in ("_put_result", "_send_outcome"):
            mine[name] = partial(end, getattr(self, name))

    def _put_result(self, message: Message, is_async: bool, is_followed: bool) -> Sequence[Effect]:
        """Write a result soon: a frame with many costs each of them little.  Under the lock.

        The results of one turn of the loop go out together, but at most `HELD_AT_MOST`: the driver
        works on some while further ones come.  A result of sync code waits only while further
        inputs are ready to run; the first one after a pause does not wait.  A timer sees to it that
        no result waits for the code of another input.

        Args:
            is_followed: whether the thread of the input has another one to run.
        """
        held = self._held
        held.append(message)
        if self.clock.virtual or len(held) >= HELD_AT_MOST:
            return self._write_held()
        effects: list[Effect] = []
        if is_async:
            if not self._inputs:
                return self._write_held()  # nothing is left that may end in this turn
            if not self._turn_comes:
                self._turn_comes = True
                effects.append(self._at_next_turn)
        else:
            pauses, self._pauses = self._pauses, not is_followed
            if pauses or not is_followed:
                return self._write_held()
            if len(held) == 1:
                self._held_since = self.clock.now()
            elif self.clock.now() - self._held_since > HELD_FOR:
                return self._write_held()
        if not self._timer_comes:
            self._timer_comes = True
            effects.append(self._set_timer)
        return effects

    def _write_held(self) -> Sequence[Effect]:
        """Return the effects that write the results that wait.  Under the lock."""
        if not self._held:
            return ()
        held, self._held = self._held, []
        effect = self._outbox.put((Kind.RESULTS, held))
        return () if effect is None else (effect,)

    def _at_next_turn(self) -> None:
        """Write what has ended in this turn of the loop when the turn is over."""
        loop = Real._get_running_loop()
        if loop is None:
            self._turn_is_over()
        else:
            loop.call_soon(self._turn_is_over, context=Context())

    def _turn_is_over(self) -> None:
        with self.lock:
            self._turn_comes = False
            effects = self._write_held()
        carry_out(effects)

    def _set_timer(self) -> None:
        self.clock.call_at(self.clock.now() + HELD_FOR, self._time_is_over)

    def _time_is_over(self) -> None:
        with self.lock:
            self._timer_comes = False
            effects = self._write_held()
        carry_out(effects)

    def _send_outcome(self, seq: int, call: Any, outcome: Outcome) -> None:
        """Pack and write an outcome that is an error or of a batch.  No lock held."""
        name = f"{call.target.name}()"
        if isinstance(call, BatchCall):
            messages = [
                self._message(seq, its, name, MEMBER) for its in outcomes_of_members(call, outcome)
            ]
            call.forget(ended=True)
            messages.append(((seq, BATCH), ()))
        else:
            messages = [self._message(seq, outcome, name, 0)]
        self._outbox.send((Kind.RESULTS, messages))

    def _message(self, seq: int, outcome: Outcome, name: str, mark: int) -> Message:
        if type(outcome) is Value:
            packed = outcome.value
            # A generator gives no value.
            return (seq, VALUE + mark), (pack(None) if packed is None else packed).blobs
        if type(outcome) is Cancelled:
            return (seq, CANCELLED + mark), (outcome.reason.encode(),)
        assert type(outcome) is Failure
        packed, shown = packed_failure(outcome, name, pack, _explain)
        return (seq, FAILURE + mark), (shown.encode("utf-8", "replace"), *packed.blobs)

    def _send_item(self, seq: int, item: Packed) -> None:
        self._outbox.send((Kind.ITEMS, ((seq,), item.blobs)))

    def send_notes(self, seq: int, notes: Sequence[Note]) -> None:
        """Write notes of a visit.  No lock held."""
        messages: list[Message] = [((seq, kind, number), data) for kind, number, data in notes]
        self._outbox.send((Kind.VISIT, messages))

    def container_ready(self, container: Container) -> bool:
        with self.lock:
            if self._must_stop:
                return False
            self._is_ready = True
        self._outbox.send((Kind.READY, NOTHING))
        return True

    def container_failed(self, container: Container, error: BaseException) -> None:
        self._say_error(Kind.FAILED, error)
        self._ended()

    def start_hangs(self, container: Container, error: BaseException) -> None:
        self._say_error(Kind.HANGS, error)

    def _say_error(self, kind: Kind, error: BaseException) -> None:
        failure = explained(failure_of(error))
        packed, shown = packed_failure(failure, "a hook", pack, _explain)
        blobs = (shown.encode("utf-8", "replace"), *packed.blobs)
        self._outbox.send((kind, ((), blobs)))

    def container_stopped(self, container: Container) -> None:
        self._time_is_over()  # no result comes after this frame
        self._outbox.send((Kind.STOPPED, NOTHING))
        self._ended()

    def container_lost(self, container: Container, loss: Loss) -> None:
        raise AssertionError("a container is not lost in its own process")

    def resize(self, container: Container, limit: int) -> None:
        container.slots.set_limit(limit)  # what the user's code reads; the driver grants
        self._outbox.send((Kind.RESIZE, ((limit,), ())))

    def stop_fetching(self, container: Container) -> None:
        self._outbox.send((Kind.NO_MORE, NOTHING))

    # -- writing ---------------------------------------------------------------------------

    def wait_written(self, seconds: float) -> bool:
        """Wait until the carrier has all messages; false if that takes longer than `seconds`."""
        return self._outbox.wait_written(seconds)

    def _write(self, posts: list[Post]) -> None:
        """Write messages: those of one kind that follow each other are one frame."""
        assert self._carrier is not None
        write_all(self._carrier, posts)


def write_all(carrier: Carrier, posts: list[Post]) -> None:
    """Write `posts`, in their order: those of one kind that follow each other are one frame."""
    kind = posts[0][0]
    messages: list[Message] = []
    for its, what in posts:
        if its is not kind:
            carrier.send(encode(kind, messages))
            kind, messages = its, []
        if isinstance(what, list):
            messages += what
        else:
            messages.append(what)
    carrier.send(encode(kind, messages))


def _explain(error: BaseException, refused: Exception) -> str:
    _, culprit = find_culprit([Part("error", error)], refused, _dump_to)
    return culprit.explain("error", "raise")
