"""A child dies after each byte of its conversation with the driver: nothing is lost or doubled.

The driver is real: the pool, `RemoteContainer` and the frames.  The child is a script that reads
and writes the same bytes, keeps a record of what it began and ended, and dies where the test says.
The bytes that it wrote before are in the socket, as with a real process.

Begin reading at `Conversation`, then `hold`.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from contextlib import contextmanager
from contextvars import Context
from dataclasses import dataclass, field
from typing import Any

import pytest

import pool_inside
from moorage.exception import ContainerLostError
from moorage.placing import remote as remote_module
from moorage.placing.frames import (
    BATCH,
    MEMBER,
    VALUE,
    Buffer,
    FrameReader,
    Kind,
    decode,
    encode,
)
from moorage.placing.remote import RemoteContainer
from moorage.placing.shipping import Packed, pack, pack_call
from moorage.runtime.clocks.virtual_clock import VirtualClock
from moorage.runtime.containers.streaming import Stream
from moorage.runtime.input import Input, InputState, Target, next_call_number
from moorage.runtime.input import Kind as CodeKind
from moorage.runtime.outcome import Failure, Value
from moorage.runtime.pools.autoscaler import Limits
from moorage.runtime.pools.batching import BatchOptions, batch_target
from moorage.runtime.pools.capacity import Capacity
from moorage.runtime.pools.pool import Pool
from moorage.runtime.pools.pool_options import PoolOptions

# Every so many bytes; `make kills` takes each.  Not 4: that meets the same byte of each number.
STEP = int(os.environ.get("MOORAGE_WITNESS_STEP", "3"))
SLOTS = 3
INPUTS = 7
ITEMS = 3


@dataclass
class Record:
    """What children did, in the order in which they did it."""

    events: list[tuple[str, int]] = field(default_factory=list)
    # Whose results left a child whole: these must never run again.
    wrote: set[int] = field(default_factory=set)
    delivered: set[int] = field(default_factory=set)
    wrong: list[str] = field(default_factory=list)
    begun: Counter[int] = field(default_factory=Counter)

    def begin(self, index: int) -> None:
        self.events.append(("begin", index))
        self.begun[index] += 1
        if index in self.wrote or index in self.delivered:
            self.wrong.append(f"{index} had ended, and runs again")


class ScriptedChild:
    """A child, and the socket to it; the driver's carrier."""

    def __init__(self, conversation: Conversation, cuts: tuple[int | None, int | None]) -> None:
        self._conversation = conversation
        self._reads_until, self._writes_until = cuts
        self._reader, self._drivers_reader = FrameReader(), FrameReader()
        self._to_child = b""
        self._to_driver = b""
        self._open: set[int] = set()
        self.read = self.wrote = 0
        self.is_dead = self.is_told = self.closed = False
        self.begun = 0
        self.container: RemoteContainer

    # -- the driver's side ------------------------------------------------------------------

    def start(self, container: RemoteContainer) -> None:
        self.container = container
        container.connect(self)
        self._conversation.children.append(self)
        self._write(encode(Kind.READY, [((), ())]))

    def keep(self) -> None:
        """Nothing waits here that somebody may change."""

    def send(self, parts: Sequence[Buffer], mark: int = 0) -> None:
        if not self.closed:
            self._to_child += b"".join(bytes(part) for part in parts)
            self.begun = mark or self.begun

    def close(self) -> None:
        self.closed = True

    def kill(self) -> None:
        self.is_dead = True

    # -- the child ----------------------------------------------------------------------------

    def _write(self, parts: Sequence[Buffer]) -> bool:
        """Write a frame; false if the child died in the middle of it."""
        data = b"".join(bytes(part) for part in parts)
        if self._writes_until is not None and self.wrote + len(data) > self._writes_until:
            data = data[: self._writes_until - self.wrote]
            self.is_dead = True
        self.wrote += len(data)
        self._to_driver += data
        return not self.is_dead

    def _hear(self, kind: int, count: int, body: memoryview) -> None:
        members = 0
        batch: list[int] = []
        seq = 0
        for numbers, blobs in decode(kind, count, body):
            if self.is_dead:
                return
            if kind == Kind.STOP:
                self._write(encode(Kind.STOPPED, [((), ())]))
                self.is_dead = True
            if kind != Kind.INPUTS:
                continue
            if numbers[4]:
                seq, members, batch = numbers[0], numbers[4], []
                continue
            ((x,), _) = Packed.of(blobs).load()
            self._conversation.record.begin(x)
            batch.append(x)
            if members:
                members -= 1
                if members:
                    continue
            else:
                seq = numbers[0]
            self._open.update(batch)
            if len(self._open) > SLOTS * self._conversation.size:
                self._conversation.record.wrong.append(f"{self._open} run at once")
            self._run(seq, batch)
            batch = []

    def _run(self, seq: int, batch: list[int]) -> None:
        conversation = self._conversation
        if conversation.kind.is_generator:
            for item in range(ITEMS):
                blobs = pack((batch[0], item)).blobs
                if not self._write(encode(Kind.ITEMS, [((seq,), blobs)])):
                    return
        if conversation.size > 1:
            messages = [((seq, VALUE + MEMBER), pack(10 * x).blobs) for x in batch]
            messages.append(((seq, BATCH), ()))
        else:
            messages = [((seq, VALUE), pack(10 * x).blobs) for x in batch]
        conversation.record.events += [("end", x) for x in batch]
        if self._write(encode(Kind.RESULTS, messages)):
            conversation.record.wrote.update(batch)
        self._open.difference_update(batch)

    # -- what the kernel does -------------------------------------------------------------------

    def pump(self) -> bool:
        """Move what there is to move; return whether there was something."""
        moved = False
        if self._to_child and not self.is_dead:
            moved = True
            data, self._to_child = self._to_child, b""
            if self._reads_until is not None and self.read + len(data) > self._reads_until:
                data = data[: self._reads_until - self.read]
                self._hear_all(data)
                self.is_dead = True
            else:
                self._hear_all(data)
        if self._to_driver:
            moved = True
            data, self._to_driver = self._to_driver, b""
            if not (self._conversation.forgets_the_rest and self.is_dead):
                for kind, count, body in self._drivers_reader.take(data):
                    self.container.received(kind, count, body)
        if self.is_dead and not self.is_told and not self._to_driver:
            moved = self.is_told = True
            self.container.gone("it was killed")
        return moved

    def _hear_all(self, data: bytes) -> None:
        self.read += len(data)
        for kind, count, body in self._reader.take(data):
            self._hear(kind, count, body)


class Call:
    """The call of one input."""

    def __init__(self, conversation: Conversation, target: Target, x: int) -> None:
        self.number = next_call_number()
        self.target = target
        self.context = Context()
        self.input = Input(self, x, (x,), None)
        self._conversation = conversation
        if target.is_generator:
            self.stream = Stream(conversation.clock)

    def settled(self, input: Input, /) -> None:
        assert input.index not in self._conversation.record.delivered
        self._conversation.record.delivered.add(input.index)


class Conversation:
    """A pool with one container at a time, whose first child dies at a byte of what it reads or
    writes; and some inputs.
    """

    forgets_the_rest = False  # a mutant: what the child wrote last is not read

    def __init__(
        self,
        kind: CodeKind = CodeKind.SYNC,
        size: int = 1,
        cuts: tuple[int | None, int | None] = (None, None),
        *,
        deaths: int = 1,
        nonpreemptible: bool = False,
    ) -> None:
        self.kind, self.size = kind, size
        self.clock = VirtualClock()
        self.record = Record()
        self.children: list[ScriptedChild] = []
        self._cuts = cuts
        self._deaths = deaths
        self._made = 0
        target = Target("f", lambda x: x, kind)
        batching = None if size == 1 else BatchOptions(batch_target(target), size, 0.0)
        options = PoolOptions(
            "f",
            Limits(SLOTS, SLOTS, max_containers=1),
            timeout=None,
            batching=batching,
            nonpreemptible=nonpreemptible,
        )
        self.pool = Pool(options, self._make, clock=self.clock, capacity=Capacity(8, 8))
        self.calls = [Call(self, target, x) for x in range(INPUTS)]

    def _make(self, host: Any, number: int, target: int, limit: int) -> RemoteContainer:
        cuts = self._cuts if self._made < self._deaths else (None, None)
        self._made += 1
        return RemoteContainer(
            host,
            number,
            target,
            limit,
            name="f",
            max_inputs=SLOTS,
            targets={"f": 0},
            setup=None,
            process=ScriptedChild(self, cuts),
        )

    def _pump_all(self) -> None:
        moved = True
        while moved:
            moved = False
            for child in list(self.children):
                moved = child.pump() or moved

    def hold(self) -> None:
        """Have the whole conversation."""
        with self.clock:
            inputs = [call.input for call in self.calls]
            pack_call(inputs)
            assert self.pool.submit(inputs)
            for _ in range(20):
                self._pump_all()
                if all(input.outcome is not None for input in inputs):
                    break
                self.clock.sleep(10.0)  # a failed start is followed by another one, later
            self.pool.close()
            self._pump_all()
            self.pool.join(0.0)

    def check(self) -> None:
        """What must be so, wherever the child died."""
        record = self.record
        assert not record.wrong, record.wrong
        seen = self.pool.statistics()
        assert (seen.running, seen.queued) == (0, 0)
        most = 1 if self.pool.options.nonpreemptible else 3
        for call in self.calls:
            input, x = call.input, call.input.index
            assert input.state is InputState.SETTLED
            assert record.begun[x] <= most
            items = []
            if self.kind.is_generator:
                while (got := call.stream.take_nowait(lambda: None))[0]:
                    items.append(got[1])
                assert items == [(x, item) for item in range(len(items))]
            if isinstance(input.outcome, Value):
                assert input.outcome.value == 10 * x
                assert record.begun[x] >= 1
                assert not self.kind.is_generator or len(items) == ITEMS
            else:
                assert isinstance(input.outcome, Failure)
                error = input.outcome.error
                assert isinstance(error, ContainerLostError)
                # It was lost twice, the last time alone.
                is_culprit = self._deaths > 1 and error.losses == 2
                assert items or self.pool.options.nonpreemptible or is_culprit
                assert x not in record.wrote


SHAPES = [(CodeKind.SYNC, 1), (CodeKind.ASYNC, 1), (CodeKind.SYNC, 3), (CodeKind.SYNC_GENERATOR, 1)]
in_every_shape = pytest.mark.parametrize(("kind", "size"), SHAPES, ids=str)


@pytest.fixture(autouse=True)
def quiet(caplog):
    with caplog.at_level("CRITICAL", "moorage"):
        yield


def lengths(kind: CodeKind, size: int) -> tuple[int, int]:
    """How many bytes the one child reads and writes, if nobody dies."""
    conversation = Conversation(kind, size)
    conversation.hold()
    conversation.check()
    assert len(conversation.children) == 1
    assert set(conversation.record.begun.values()) == {1}
    (child,) = conversation.children
    return child.read, child.wrote


@in_every_shape
@pytest.mark.parametrize("nonpreemptible", [False, True])
@pytest.mark.parametrize("side", ["reads", "writes"])
def test_a_child_may_die_after_any_byte(kind, size, nonpreemptible, side):
    reads, writes = lengths(kind, size)
    for at in range(0, reads if side == "reads" else writes, STEP):
        cuts = (at, None) if side == "reads" else (None, at)
        conversation = Conversation(kind, size, cuts, nonpreemptible=nonpreemptible)
        conversation.hold()
        conversation.check()
        if not nonpreemptible and not kind.is_generator:
            assert all(isinstance(call.input.outcome, Value) for call in conversation.calls)


@in_every_shape
def test_two_children_in_a_row_may_die_after_any_byte(kind, size):
    reads, writes = lengths(kind, size)
    for at in range(0, reads, 5):
        conversation = Conversation(kind, size, (at, None), deaths=2)
        conversation.hold()
        conversation.check()
    for at in range(0, writes, 5):
        conversation = Conversation(kind, size, (None, at), deaths=2)
        conversation.hold()
        conversation.check()


# -- mutants: the same checks find what each of these loses ----------------------------------


@contextmanager
def found():
    with pytest.raises(AssertionError):
        yield


def hold_all(kind: CodeKind = CodeKind.SYNC) -> None:
    reads, writes = lengths(kind, 1)
    for cuts in [(at, None) for at in range(reads)] + [(None, at) for at in range(writes)]:
        conversation = Conversation(kind, 1, cuts)
        conversation.hold()
        conversation.check()
        assert all(isinstance(call.input.outcome, Value) for call in conversation.calls)


def test_the_checks_find_a_driver_that_does_not_read_to_the_end(monkeypatch):
    monkeypatch.setattr(Conversation, "forgets_the_rest", True)
    with found():
        hold_all()


def test_the_checks_find_a_pool_that_forgets_granted_inputs(monkeypatch):
    after_loss = Pool._after_loss

    def forget(pool, input, loss, *, alone):
        return loss is not None and after_loss(pool, input, loss, alone=alone)

    monkeypatch.setattr(Pool, "_after_loss", forget)
    # The child is lost while inputs have a slot and are not written.
    monkeypatch.setattr(remote_module.Unwritten, "__contains__", lambda self, input: True)
    with found():
        hold_all()


def test_what_comes_after_the_loss_settles_nothing(monkeypatch):
    """Bytes that are read too late, for example by a post that another thread overtook."""
    late: list[tuple[int, int, memoryview]] = []
    conversation = Conversation(cuts=(None, lengths(CodeKind.SYNC, 1)[1] // 2))
    received = RemoteContainer.received

    def note(self, kind, count, body):
        late.append((kind, count, memoryview(bytes(body))))
        received(self, kind, count, body)

    monkeypatch.setattr(RemoteContainer, "received", note)
    conversation.hold()
    first = conversation.children[0].container
    for kind, count, body in late:
        received(first, kind, count, body)
    conversation.check()
    assert conversation.pool.statistics().succeeded == INPUTS


def test_what_was_not_written_counts_no_loss():
    """Two inputs fit; the third waits in the outbox as the child dies."""
    conversation = Conversation(cuts=(0, None))
    conversation.hold()
    conversation.check()
    assert pool_inside.queued(conversation.pool) == []
    assert conversation.pool.statistics().lost_containers == 1
