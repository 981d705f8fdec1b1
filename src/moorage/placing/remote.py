"""The driver's side: a container whose code runs in another process.

Owns `RemoteContainer`, which keeps the contract of ``runtime/containers/container.py``: what the
pool grants it is written, and what comes back is reported to the pool.  The slots that the pool
has granted are the only truth about what runs in the child: no message acknowledges an input.

Inputs that are placed gather in the outbox; whoever is first writes them, and makes each RUNNING
before its first byte leaves.  The results of one frame are settled under one hold of the pool's
lock; the inputs that get their slots go out together.  No user code runs here: arguments are bytes
when they come, and results stay bytes until their callers read them.

When the child is gone, all that it has written is read first (``channel.py``), and settled; then
`_gone` reports the loss.  From then on nothing is written or settled here.

The pool's lock guards the fields that the contract names, and the table of inputs.

Begin at `RemoteContainer.place`, then `_write`; then `received` and `_take_results`; then `_gone`.
"""

from __future__ import annotations

import importlib
import logging
import threading
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from functools import partial
from typing import Any, Final, Protocol, cast

from ..runtime import forking
from ..runtime.background import log
from ..runtime.clocks.clock import RealWaiter, Waiter
from ..runtime.containers.container import ContainerState, Host, Loss
from ..runtime.containers.residents import Note, RemoteVisit
from ..runtime.containers.slots import Slots
from ..runtime.containers.streaming import AHEAD, Stream, stream_of
from ..runtime.effects import Effect, carry_out
from ..runtime.input import Input, InputState
from ..runtime.outcome import Cancelled, Failure, Outcome, Value
from ..runtime.pools.batching import BatchCall
from ..runtime.pools.verdicts import LOST
from ..runtime.real import Real
from ..runtime.thread_state import thread_state
from .channel import Carrier
from .errors import opened_error
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
from .post import process_post
from .shipping import Packed, Received

logger: Final = logging.getLogger("moorage")

GRANTED: Final = InputState.GRANTED
RUNNING: Final = InputState.RUNNING

# Seconds that `places` waits for a child to say where its threads are.
ASKS_FOR: Final = 0.5

_PACKAGE: Final = __name__.partition(".")[0]

Post = tuple[Kind, Any]
"""What waits to be written: a `Message`; for INPUTS None, because `_begin` makes the messages."""

GRANTS: Final[Post] = (Kind.INPUTS, None)


class Process(Protocol):
    """What a container needs of what runs its child: see ``processes.py``."""

    def start(self, container: RemoteContainer, /) -> None:
        """Begin to start the child.  Never blocks.

        Calls ``container.connect`` with what carries the frames, before the child can say anything.
        The child's frames come to ``container.received``, and its end to ``container.gone``.
        """
        ...

    def kill(self) -> None:
        """End the child at once, whatever it does."""
        ...


class RemoteLine:
    """The line of a visit to a container: see `Line`."""

    __slots__ = ("_outbox", "_seq")

    def __init__(self, outbox: Outbox[Post], seq: int) -> None:
        self._outbox = outbox
        self._seq = seq

    def send(self, *notes: Note) -> None:
        for kind, number, data in notes:
            self._outbox.send((Kind.VISIT, ((self._seq, kind, number), data)))


Place = tuple[str, "str | None"]
"""Where the code of an input is: its thread or task, and the user's line there."""


class Question:
    """A question to the child, where its code is."""

    __slots__ = ("answer", "number", "waiter")

    def __init__(self, waiter: Waiter) -> None:
        self.number: int = 0
        self.waiter: Waiter = waiter
        # Guarded by the container's lock: one text for each place; None until they have come.
        self.answer: list[str] | None = None


Call = tuple[int, "Input | None", int, "list[bytes]"]
"""A call of a child's code: its number, the input whose code calls, what it asks, its blobs."""


class Answers(Protocol):
    """Answers the calls of one child: see ``calling/answers.py``."""

    def called(self, calls: list[Call], /) -> None: ...
    def gone(self) -> None:
        """Cancel what nobody waits for any more: the child is gone."""
        ...


class RemoteContainer:
    """One container in another process.  See `Container` for its contract.

    Args:
        host: the pool.
        number, target, limit: the container's.
        max_inputs: the most inputs at a time.
        targets: the index of each target's name among those of the child.
        setup: the frame SETUP: what the child is to be.
        process: starts and kills the child.
        is_single_use: the container gets no input after its first one.
        ended: called once, when the child is gone or was not started.
        is_new: says whether a text was not logged yet, of those of which one is enough.
    """

    def __init__(
        self,
        host: Host,
        number: int,
        target: int,
        limit: int,
        *,
        name: str,
        max_inputs: int,
        targets: dict[str, int],
        setup: Callable[[RemoteContainer], list[Buffer]] | None,
        process: Process,
        is_single_use: bool = False,
        ended: Callable[[], object] | None = None,
        is_new: Callable[[str], bool] | None = None,
    ) -> None:
        self.number = number
        self.state = ContainerState.STARTING
        self.target = target
        self.slots: Slots = Slots(max_inputs)
        self.slots.set_limit(limit)
        self.idle_since: float | None = None
        self.started_at: float = 0.0
        self.takes_no_more: bool = False
        self.given_up: bool = False
        self.name: str = f"moorage-{name}-{number}"
        self.pid: int | None = None  # set when the child has begun
        self._host = host
        self._targets = targets
        self._setup = setup
        self._process = process
        self._is_single_use = is_single_use
        self._ended = ended
        self._is_new = is_new
        self._carrier: Carrier | None = None  # set by `connect`
        self._outbox: Outbox[Post] = Outbox(self._write)
        # Guarded by the pool's lock:
        # The inputs that were placed and are not written.  Invariant: if there is one, `GRANTS` is
        # in the outbox, or some thread is about to write them.
        self._granted: list[Input] = []
        # The inputs that were written, or are about to be, by seq: in the order of their frames.
        # Invariant: each is RUNNING, ABANDONED or SETTLED, and the code of each may run.
        self._inputs: dict[int, Input] = {}
        self._seqs: dict[Input, int] = {}  # the same, the other way round
        self._last_seq = 0
        self._is_lost = False  # once true, nothing is written or settled any more
        # Of the thread that reads:
        self._members: dict[int, list[Outcome]] = {}  # of batches whose end has not come
        self._was_ready = False  # READY has come, and the container was to get inputs
        self._ended_well = False  # FAILED or STOPPED has come
        self._answers: Answers | None = None  # made at the first call of the child's code
        self._holds = 0  # how many blocking calls the child's loop sits in
        # Set once the child is gone.  `_asked` has what it was asked and has not answered.
        self._is_gone = Real.Event()
        self._asked: dict[int, Question] = {}
        self._questions: int = 0
        self._lock: threading.Lock = Real.Lock()  # guards the two and `_unsaid`; a leaf
        # What waits to be said to a child that does not start at once; None once it hears.
        self._unsaid: list[Kind] | None = None if ended is None else []
        forking.know(self)

    def _after_fork(self) -> None:
        """In a forked child of the driver: the container belongs to the parent."""
        self._is_lost = True
        self._lock = Real.Lock()
        self._outbox.renew()

    # -- the contract -------------------------------------------------------------------

    @property
    def host(self) -> Host:
        return self._host

    @property
    def has_ended_well(self) -> bool:
        """Whether the child has said that it has ended."""
        return self._ended_well

    @property
    def thread(self) -> None:
        """None: no thread of this process runs the hooks."""
        return None

    def boot(self) -> None:
        try:
            self._process.start(self)
        except Exception as error:  # no file descriptor is left, or no process
            self.not_started(error)

    def not_started(self, error: BaseException) -> None:
        """Note that there will be no child, because of `error`."""
        self._ended_well = True
        self._is_gone.set()
        if self._ended is not None:
            self._ended()
        self._host.container_failed(self, error)

    def connect(self, carrier: Carrier) -> None:
        """Write to `carrier` from now on; first the frame SETUP, if there is one."""
        self._carrier = carrier
        if self._setup is not None:
            carrier.send(self._setup(self))

    def place(self, input: Input) -> Effect | None:
        granted = self._granted
        granted.append(input)
        return self._outbox.put(GRANTS) if len(granted) == 1 else None

    def cancel(self, input: Input) -> Effect | None:
        seq = self._seqs.get(input)
        if seq is None:
            return None
        outcome = input.cancellation
        reason = outcome.reason if isinstance(outcome, Cancelled) else "its time is over"
        return partial(self._send_cancel, seq, reason)

    def _send_cancel(self, seq: int, reason: str) -> None:
        if self._carrier is not None:
            self._carrier.keep()  # the caller goes on, and its array is its own again
        self._outbox.send((Kind.CANCEL, ((seq,), (reason.encode(),))))

    def stop(self) -> None:
        self._say(Kind.STOP)

    def places(self) -> list[str]:
        """Ask the child where its threads are; nothing if it does not answer at once.

        Threads that must not wait get no answer: they keep time, or read the answers.
        """
        question = self._ask(())
        return [] if question is None else self._answer(question, ASKS_FOR) or []

    def ask_for_inputs(self) -> Question | None:
        """Ask the child where the code of its inputs is, for `places_of_inputs`."""
        return self._ask((b"inputs",))

    def places_of_inputs(self, question: Question, timeout: float) -> dict[Input, Place] | None:
        """Return where the code of the inputs was; None if the child has not said it."""
        answer = self._answer(question, timeout)
        if answer is None:
            return None
        places: dict[Input, Place] = {}
        for text in answer:
            seq, where, place = text.split("\n", 2)
            input = self._inputs.get(int(seq))
            if input is not None:
                places[input] = where, place or None
        return places

    def _ask(self, what: Sequence[Buffer]) -> Question | None:
        if thread_state.keeps_time or self._is_gone.is_set():
            return None
        question = Question(self._host.clock.make_waiter())
        with self._lock:
            self._questions += 1
            question.number = self._questions
            self._asked[question.number] = question
        self._outbox.send((Kind.STACKS, ((question.number,), what)))
        return question

    def _answer(self, question: Question, timeout: float) -> list[str] | None:
        self._host.clock.wait(question.waiter, timeout)
        with self._lock:
            self._asked.pop(question.number, None)
            return question.answer

    def give_up(self) -> None:
        """Cancel the enter hooks; kill the child if it does not end soon."""
        self._say(Kind.GIVE_UP)
        self._host.clock.call_at(self._host.clock.now() + GIVES_UP_WITHIN, self.kill)

    def kill(self) -> None:
        """End the child at once: what runs in it is lost."""
        self._process.kill()

    @property
    def ended(self) -> bool:
        return self._is_gone.is_set()

    def join(self, timeout: float) -> list[str]:
        """Wait for the child's end; kill the child if that takes too long."""
        if self._ended_well:
            timeout = max(timeout, LEAVES_WITHIN)
        if self._is_gone.wait(timeout):
            return []
        places = self.places()
        self.kill()
        if self._is_gone.wait(KILLED_WITHIN):
            return [f"{place}, whose process was killed" for place in places]
        return [f"{self.name}, a process that has not ended"]

    def __repr__(self) -> str:
        return f"<container {self.name}: {self.state.value}, {self.slots!r}>"

    def read_for(self, input: Input, waiter: RealWaiter) -> None:
        """Read what comes of `input` on the thread of its caller: see `Container`.

        Only if it is alone here.  Else the post reads: then there is more of it at a time.
        """
        carrier = self._carrier
        if carrier is not None and len(self._inputs) == 1:
            carrier.read_for(waiter, Kind.RESULTS)

    # -- writing ------------------------------------------------------------------------

    def _say(self, kind: Kind) -> None:
        with self._lock:
            if self._unsaid is not None:
                self._unsaid.append(kind)
                return
        self._outbox.send((kind, ((), ())))

    def hears(self) -> None:
        """Note that SETUP is written, of a child that does not start at once."""
        with self._lock:
            unsaid, self._unsaid = self._unsaid, None
        for kind in unsaid or ():
            self._say(kind)

    def _write(self, posts: list[Post]) -> None:
        """Write messages: those of one kind that follow each other are one frame."""
        at = 0
        while at < len(posts):
            kind, end = posts[at][0], at + 1
            while end < len(posts) and posts[end][0] is kind:
                end += 1
            run: list[Message] = [what for _, what in posts[at:end]]
            at = end
            mark = 0
            visits: Sequence[RemoteVisit] = ()
            if kind is Kind.INPUTS:
                run, mark, visits = self._begin()
                if not run:
                    continue
                if self._is_single_use:
                    # Before the input can end, and its slot can be given to another one.
                    self._host.stop_fetching(self)
            if self._carrier is not None:
                self._carrier.send(encode(kind, run), mark)
            for visit in visits:
                visit.departed()

    def _begin(self) -> tuple[list[Message], int, Sequence[RemoteVisit]]:
        """Make the placed inputs RUNNING; return messages, the mark, and visits.

        Some were placed and then cancelled, or the container was lost meanwhile, and another one
        may have them now.
        """
        messages: list[Message] = []
        visits: list[RemoteVisit] = []
        with self._host.lock:
            granted, self._granted = self._granted, []
            if self._is_lost:
                return [], 0, ()
            for input in granted:
                if input.state is not GRANTED or input.container is not self:
                    continue
                input.state = RUNNING
                self._last_seq += 1
                seq = self._last_seq
                self._inputs[seq], self._seqs[input] = input, seq
                call = input.call
                if isinstance(call, BatchCall):
                    members = call.ran = [m for m in call.members if m.outcome is None]
                    call.run_for(members)
                    messages.append(((seq, 0, 0, 0, len(members)), ()))
                    messages += [self._message(seq, member) for member in members]
                else:
                    if type(input.args[0]) is not Packed:
                        visit: RemoteVisit = input.args[0]
                        visits.append(visit)
                    messages.append(self._message(seq, input))
                    if call.target.is_generator:
                        stream: Any = stream_of(call)
                        stream.__class__ = RemoteStream
        return messages, self._last_seq, visits

    def _message(self, seq: int, input: Input) -> Message:
        call = input.call
        packed = input.args[0]
        if type(packed) is Packed:
            blobs: Sequence[Buffer] = packed.blobs
        else:
            blobs = packed.departs(RemoteLine(self._outbox, seq))
        return (seq, self._targets[call.target.name], call.number, input.index, 0), blobs

    # -- reading: on the thread that reads -------------------------------------------------

    def received(self, kind: int, words: int, body: memoryview) -> None:
        """Do what a frame says."""
        if self._is_lost:
            return
        messages = decode(kind, words, body)
        if kind == Kind.RESULTS:
            self._take_results(messages)
            return
        if kind == Kind.CALL:
            self._take_calls(messages)
            return
        host = self._host
        for numbers, blobs in messages:
            if kind == Kind.VISIT:
                seq, what, number = numbers
                self._take_note(seq, what, number, blobs)
            elif kind == Kind.ITEMS:
                self._take_item(numbers[0], blobs)
            elif kind == Kind.HELLO:
                self.pid = numbers[0]
            elif kind == Kind.READY:
                self._was_ready = host.container_ready(self)
                if not self._was_ready:
                    self.stop()
            elif kind == Kind.FAILED:
                self._ended_well = True
                self._report(host.container_failed, blobs)
            elif kind == Kind.HANGS:
                self._report(host.start_hangs, blobs)
            elif kind == Kind.STOPPED:
                self._ended_well = True
                host.container_stopped(self)
                self._end_leftovers()
            elif kind == Kind.RESIZE:
                host.resize(self, numbers[0])
            elif kind == Kind.NO_MORE:
                host.stop_fetching(self)
            elif kind == Kind.PLACES:
                self._take_places(numbers[0], blobs)
            elif kind == Kind.HELD:
                self._hold_loop(bool(numbers[0]))
            elif kind == Kind.LOG:
                self._log(numbers[0], bool(numbers[1]), _text(blobs[0]))

    def _log(self, level: int, once: bool, text: str) -> None:
        if not once or self._is_new is None or self._is_new(text):
            log(logger, level, "%s", text)

    def _take_results(self, messages: Iterable[Message]) -> None:
        """Settle all inputs of one frame in one step."""
        settled: list[Input] = []
        after: list[Effect] = []
        settle = self._host.settle
        with self._host.lock:
            for (seq, how), blobs in messages:
                if how & MEMBER:
                    outcome = self._outcome(seq, how - MEMBER, blobs)
                    self._members.setdefault(seq, []).append(outcome)
                    continue
                input = self._inputs.pop(seq, None)
                if input is None or self._is_lost:
                    continue
                if how == BATCH:
                    outcome = Value(self._members.pop(seq, []))
                elif how == VALUE:
                    outcome = Value.sealed(Received(blobs, "result", input.call.target.name))
                else:
                    outcome = self._outcome(seq, how, blobs, input)
                del self._seqs[input]
                after += settle(self, input, outcome, None)[1]
                if input.outcome is not None:  # else it may run its next attempt by now
                    settled.append(input)
        gone: list[Any] = []
        for input in settled:
            gone += input.args
            input.args, input.kwargs, input.runner = (), None, None
        carry_out(after)

    def _outcome(
        self, seq: int, how: int, blobs: Iterable[Buffer], input: Input | None = None
    ) -> Outcome:
        parts = list(blobs)
        name = (self._inputs.get(seq) if input is None else input) or None
        shown = self.name if name is None else name.call.target.name
        if how == VALUE:
            return Value.sealed(Received(parts, "result", shown))
        if how == CANCELLED:
            return Cancelled(_text(parts[0]))
        assert how == FAILURE
        text = _text(parts[0])
        return Failure.sealed(SealedError(parts[1:], text, f"{shown}()"), text)

    def _take_item(self, seq: int, blobs: Iterable[Buffer]) -> None:
        with self._host.lock:
            input = self._inputs.get(seq)
        if input is None:
            return
        stream = stream_of(input.call)
        sent = _sent_of(stream)
        sent.came += 1
        if stream.offer(Received(list(blobs), "item", input.call.target.name)):
            self._credit(seq, stream, sent)

    def _credit(self, seq: int, stream: Stream, sent: Counts) -> None:
        """Let the generator go on, if it waits for the reader and the reader has taken something.

        The generator may be `AHEAD` items ahead of the credits.  So only when that many have come
        does it wait; then either the reader has taken some, or its next step says so.
        """
        while sent.came - sent.credited >= AHEAD:
            taken = sent.came - sent.credited - stream.buffered
            if taken:
                sent.credited += taken
                self._outbox.send((Kind.CREDIT, ((seq, taken), ())))
                return
            if not stream.may_go_on(partial(self._credit, seq, stream, sent)):
                stream.tell_full()
                return

    def _take_calls(self, messages: Iterable[Message]) -> None:
        """Have calls of the child's code answered: see ``calling/answers.py``."""
        answers = self._answers
        if answers is None:
            # By its name, because its layer is above this one.
            module: Any = importlib.import_module(f"{_PACKAGE}.calling.answers")
            answers = self._answers = cast(Answers, module.Answers(self))
        calls: list[Call] = []
        with self._host.lock:
            for (number, seq, what), blobs in messages:
                owned = [bytes(blob) for blob in blobs]
                calls.append((number, self._inputs.get(seq), what, owned))
        answers.called(calls)

    def reply(self, number: int, how: int, blobs: Sequence[Buffer]) -> None:
        """Answer a call of the child's code.  No lock held."""
        effect = self._outbox.put((Kind.REPLY, ((number, how), blobs)))
        if effect is not None:
            if process_post.is_here:
                process_post.soon(effect)  # with the answers to other calls, if there are any
            else:
                effect()

    def _hold_loop(self, holds: bool) -> None:
        """Note that the loop of the child sits in a blocking call, or does no more."""
        pool: Any = self._host
        self._holds += 1 if holds else -1
        if self._holds == holds:  # the first one began, or the last one ended
            (pool.block_loop if holds else pool.unblock_loop)(self)

    def _take_places(self, number: int, blobs: Iterable[Buffer]) -> None:
        with self._lock:
            question = self._asked.pop(number, None)
            if question is not None:
                question.answer = list(map(_text, blobs))
        if question is not None:
            question.waiter.wake()

    def _take_note(self, seq: int, kind: int, number: int, blobs: Sequence[Buffer]) -> None:
        with self._host.lock:
            input = self._inputs.get(seq)
            args = () if input is None else input.args
        if args:
            args[0].heard(kind, number, blobs)

    def _report(
        self, to: Callable[[RemoteContainer, BaseException], object], blobs: Sequence[Buffer]
    ) -> None:
        """Report an error of the start, on a thread of its own: reading it runs user code."""
        packed, shown = Received(blobs[1:], "error", self.name), _text(blobs[0])

        def report() -> None:
            to(self, opened_error(packed.load, shown, "a hook"))

        in_a_thread(report, self._host, f"{self.name}-failed")

    # -- the end -------------------------------------------------------------------------

    def gone(self, how: str, *, counts: bool = True) -> None:
        """Note that the child is gone, and that all it has written was read.

        Args:
            how: how it ended: see `Loss`.
            counts: see `Loss`.
        """
        carrier = self._carrier
        if carrier is not None:
            carrier.close()
        begun = 0 if carrier is None else carrier.begun
        if not self._ended_well:
            unwritten = Unwritten(self._seqs, begun)
            self._host.container_lost(self, Loss(how, unwritten, counts, self._was_ready))
        with self._host.lock:
            self._is_lost = True
            answers = self._answers
            self._inputs.clear()
            self._seqs.clear()
        if answers is not None:
            answers.gone()
        self._is_gone.set()
        with self._lock:
            asked, self._asked = self._asked, {}
        for question in asked.values():
            question.waiter.wake()
        if self._ended is not None:
            self._ended()

    def _end_leftovers(self) -> None:
        """End the inputs whose threads the child did not wait for: it was stopped by force."""
        after: list[Effect] = []
        with self._host.lock:
            left, self._inputs = list(self._inputs.values()), {}
            self._seqs.clear()
            for input in left:
                if input in self.slots.held:
                    after += self._host.settle(self, input, LOST, None)[1]
        carry_out(after)


# Seconds that a child whose start has taken too long gets to end by itself.
GIVES_UP_WITHIN: Final = 1.0

# Seconds that a child whose container has ended gets to leave: ``atexit``, the flush of files.
LEAVES_WITHIN: Final = 6.0

# Seconds after which a killed child that has not gone is reported as left.
KILLED_WITHIN: Final = 5.0


class Unwritten(Collection[Input]):
    """The inputs of which nothing has left this process: looked up under the pool's lock.

    The pool asks under its lock, after which no input is written to that container.
    """

    def __init__(self, seqs: dict[Input, int], begun: int) -> None:
        self._seqs = seqs
        self._begun = begun

    def __contains__(self, input: object) -> bool:
        return isinstance(input, Input) and self._seqs.get(input, 0) > self._begun

    def __iter__(self) -> Iterator[Input]:
        return (input for input in list(self._seqs) if input in self)

    def __len__(self) -> int:
        return sum(1 for _ in self)


class SealedError:
    """The error of an input in another process, until a caller reads it: see `Sealed`."""

    __slots__ = ("_name", "_packed", "_shown")

    def __init__(self, blobs: list[Buffer], shown: str, name: str) -> None:
        self._packed = Packed.of(blobs)
        self._shown = shown
        self._name = name

    @property
    def parts(self) -> tuple[str, Sequence[Buffer]]:
        """The text of the error, and its bytes, for whoever passes them on."""
        return self._shown, self._packed.blobs

    def open(self) -> BaseException:
        return opened_error(self._packed.load, self._shown, self._name)


class Counts:
    """How many items of a generator have come, and for how many it got credit."""

    __slots__ = ("came", "credited")

    def __init__(self) -> None:
        # `came` is of the thread that reads; `credited` of that thread, or of the reader that it
        # has given the wake-up, one at a time.
        self.came: int = 0
        self.credited: int = 0


class RemoteStream(Stream):
    """The stream of a generator in another process: its items are bytes until they are taken."""

    __slots__ = ()

    def take_nowait(self, wake: Callable[[], object] | None = None) -> tuple[bool, Any]:
        there, item = super().take_nowait(wake)
        if there and isinstance(item, Received):
            item = item.open()
        return there, item


def _sent_of(stream: Stream) -> Counts:
    counts: Counts | None = stream.sent
    if counts is None:
        counts = stream.sent = Counts()
    return counts


def in_a_thread(work: Callable[[], object], host: Host, name: str) -> None:
    """Do `work` on a thread of its own; in virtual time, time stands until it is done."""
    participants = host.clock.participants
    if participants is not None:
        work = participants.expected(work, name)
    Real.Thread(target=work, name=name, daemon=True).start()


def _text(blob: Buffer) -> str:
    return str(bytes(blob), "utf-8", "replace")
