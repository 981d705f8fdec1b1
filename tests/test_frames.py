"""Frames and channels: what is written comes out on the other side, and nobody waits."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from moorage.exception import ExecutionError
from moorage.placing.channel import Channel, as_the_post
from moorage.placing.frames import (
    HEADER,
    LARGE,
    NUMBERS,
    VALUE,
    BrokenFrame,
    FrameReader,
    Kind,
    decode,
    encode,
)
from moorage.placing.outbox import Outbox
from moorage.placing.post import Postman
from moorage.placing.turnstile import has_turnstiles
from moorage.runtime.background import flush
from moorage.runtime.clocks.clock import RealWaiter, system_clock
from moorage.runtime.clocks.parking import park

# Seconds after which a test that hangs fails.
PATIENCE = 30.0

words = st.integers(0, 2**64 - 1)
blobs = st.lists(
    st.one_of(
        st.binary(max_size=40),
        st.integers(LARGE - 2, 3 * LARGE).map(lambda size: bytes(range(256)) * (size // 256 + 1)),
    ),
    max_size=3,
)


def messages_of(kind: Kind) -> st.SearchStrategy:
    count = NUMBERS[kind]
    return st.lists(
        st.tuples(st.lists(words, min_size=count, max_size=count).map(tuple), blobs), max_size=4
    )


frames = st.lists(
    st.sampled_from(Kind).flatmap(lambda kind: st.tuples(st.just(kind), messages_of(kind))),
    max_size=4,
)


def read(reader: FrameReader, data: bytes, cut: int) -> Iterator[tuple[int, int, memoryview]]:
    """Feed `data` as a socket gives it, at most `cut` bytes at a time."""
    while data:
        large = reader.large
        if large is None:
            yield from reader.take(data[:cut])
            data = data[cut:]
        else:
            size = min(len(large), cut, len(data))
            large[:size] = data[:size]
            yield from reader.filled(size)
            data = data[size:]


@settings(max_examples=150, deadline=None)
@given(frames, st.sampled_from([1, 7, 13, 4096, LARGE, 10 * LARGE]))
def test_what_is_encoded_is_decoded_wherever_the_bytes_are_cut(sent, cut):
    size = sum(len(blob) for _, messages in sent for _, its in messages for blob in its)
    cut = max(cut, size // 500)  # a byte at a time takes too long for the large ones
    data = b"".join(bytes(part) for kind, messages in sent for part in encode(kind, messages))
    came = [
        (kind, [(numbers, [bytes(blob) for blob in its]) for numbers, its in decode(kind, n, body)])
        for kind, n, body in read(FrameReader(), data, cut)
    ]
    assert came == [
        (kind, [(numbers, [bytes(b) for b in its]) for numbers, its in messages])
        for kind, messages in sent
    ]


def test_a_large_blob_is_written_from_where_it_is_and_comes_as_memory_that_may_be_written_to():
    blob = bytearray(b"x" * LARGE)
    parts = encode(Kind.ITEMS, [((1,), [b"small", blob])])
    assert any(part is blob for part in parts)
    ((_, _, body),) = read(FrameReader(), b"".join(map(bytes, parts)), 5000)
    ((_, (_, came)),) = decode(Kind.ITEMS, HEADER.unpack_from(parts[0])[2], body)
    came[0] = 7
    assert bytes(came[1:]) == blob[1:]


def test_what_waits_to_be_written_is_kept_when_its_owner_goes_on(ends):
    mine = bytearray(b"x" * 8_000_000)
    ends.here.send(item(1, memoryview(mine)))  # nobody reads: most of it waits
    ends.here.keep()
    mine[:] = b"y" * len(mine)
    ends.here.begin()
    ends.there.begin()
    ends.wait_for(lambda: ends.came)
    assert ends.came == [(Kind.ITEMS, [1, b"x" * len(mine)])]


def test_bytes_that_are_no_frame_are_refused():
    with pytest.raises(BrokenFrame, match="a frame of kind 99"):
        list(FrameReader().take(HEADER.pack(8, 99, 1) + bytes(8)))


# -- channels --------------------------------------------------------------------------------


class Ends:
    """Two channels that are joined, one post for both."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self.post = Postman("moorage-post-of-tests")
        self.came: list[tuple[int, list]] = []
        self.back: list[tuple[int, list]] = []
        self.gone: list[str] = []
        self.readers: list[str] = []  # the thread that has read each frame that came back
        self.sockets = socket.socketpair()
        mine, its = self.sockets
        self.here = Channel(mine, self.post, self._noting(self.back), lambda: self.end("here"))
        self.there = Channel(its, self.post, self._noting(self.came), lambda: self.end("there"))

    def _noting(self, into):
        def received(kind, count, body):
            came = [
                (kind, [*numbers, *map(bytes, its)]) for numbers, its in decode(kind, count, body)
            ]
            with self._changed:
                into.extend(came)
                if into is self.back:
                    self.readers.append(threading.current_thread().name)
                self._changed.notify_all()

        return received

    def end(self, which: str) -> None:
        with self._changed:
            self.gone.append(which)
            self.lengths = len(self.came), len(self.back)  # at that moment
            self._changed.notify_all()

    def wait_for(self, condition) -> None:
        with self._changed:
            assert self._changed.wait_for(condition, PATIENCE)

    def close(self) -> None:
        thread = self.post._thread
        self.here.close()
        self.there.close()
        if thread is not None:
            thread.join(PATIENCE)
            assert not thread.is_alive()


@pytest.fixture
def ends():
    made = Ends()
    yield made
    made.close()


def item(number: int, blob: bytes = b"") -> list:
    return encode(Kind.ITEMS, [((number,), [blob])])


def test_an_end_that_does_not_read_stops_nobody(ends):
    """Far more than a socket takes, from both sides at once, and then both read."""
    blob = bytes(200_000)
    for number in range(50):
        ends.here.send(item(number, blob), number + 1)
        ends.there.send(item(number, blob))
    assert 0 < ends.here.begun < 50
    ends.here.begin()
    ends.there.begin()
    ends.wait_for(lambda: len(ends.came) == len(ends.back) == 50)
    assert [numbers[0] for _, numbers in ends.came] == list(range(50))
    assert [numbers[0] for _, numbers in ends.back] == list(range(50))
    assert ends.here.begun == 50


def test_a_frame_has_begun_with_its_first_byte_and_not_before(ends):
    blob = bytes(5_000_000)
    ends.here.send(item(1, blob), 1)
    ends.here.send(item(2, blob), 2)
    assert ends.here.begun == 1
    ends.here.close()
    ends.here.send(item(3), 3)
    assert ends.here.begun == 1


def test_all_that_was_written_is_read_before_the_end_is_told(ends):
    for number in range(100):
        ends.there.send(item(number))
    ends.sockets[1].shutdown(socket.SHUT_RDWR)
    ends.here.begin()
    ends.wait_for(lambda: ends.gone == ["here"])
    assert ends.lengths == (0, 100)
    assert [numbers[0] for _, numbers in ends.back] == list(range(100))


def test_an_end_that_is_lost_is_read_to_its_last_byte_though_somebody_holds_its_socket(ends):
    ends.there.send(item(1))
    ends.there.send(item(2))
    told = threading.Event()

    def look() -> None:
        ends.here.is_lost()
        told.set()

    ends.post.do(look)
    ends.here.begin()
    assert told.wait(PATIENCE)
    assert [numbers[0] for _, numbers in ends.back] == [1, 2]
    assert ends.gone == ["here"]
    ends.there.send(item(3))  # the socket is still open there: too late
    assert len(ends.back) == 2


def test_closing_when_written_loses_nothing(ends):
    blob = bytes(300_000)
    for number in range(10):
        ends.here.send(item(number, blob))
    ends.here.begin()
    ends.here.close_when_written()
    ends.there.begin()
    ends.wait_for(lambda: ends.gone == ["there"])
    assert [numbers[0] for _, numbers in ends.came] == list(range(10))


def test_the_post_ends_with_its_last_channel_and_begins_again():
    for _ in range(3):
        ends = Ends()
        ends.here.begin()
        ends.there.begin()
        ends.here.send(item(1))
        ends.wait_for(lambda: len(ends.came) == 1)  # noqa: B023
        ends.close()


# -- threads that read in place of the post ------------------------------------------------------


@pytest.fixture
def turnstile(ends):
    if not has_turnstiles:
        pytest.skip("this system has no epoll")
    ends.here.open_turnstile()
    ends.here.begin()
    ends.there.begin()
    return ends


class Waits(RealWaiter):
    """A waiter that is woken by `wake`, or once so many frames have come."""

    def __init__(self, ends: Ends, frames: int) -> None:
        super().__init__()
        self._ends = ends
        self._frames = frames

    @property
    def is_woken(self) -> bool:
        return super().is_woken or len(self._ends.readers) >= self._frames


def result(number: int, blob: bytes = b"") -> list:
    return encode(Kind.RESULTS, [((number, VALUE), [blob])])


def numbers_of(messages: list) -> list[int]:
    return [message[0] for _, message in messages]


def test_a_thread_that_waits_reads_what_comes_itself(turnstile):
    me = threading.current_thread().name
    turnstile.there.send(result(1))
    turnstile.here.read_for(Waits(turnstile, 1), Kind.RESULTS)
    turnstile.wait_for(lambda: turnstile.back)
    assert numbers_of(turnstile.back) == [1]
    # It reads, unless the post was about to: at the latest the second time.
    while me not in turnstile.readers:
        turnstile.there.send(result(1))
        turnstile.here.read_for(Waits(turnstile, len(turnstile.back) + 1), Kind.RESULTS)


def test_no_finalizer_may_wait_on_a_thread_while_it_reads():
    with pytest.raises(ExecutionError, match="write spawn"):
        as_the_post(lambda: park(system_clock, RealWaiter()))
    assert park(system_clock, RealWaiter(), 0.0) is False


def test_a_thread_that_waits_in_vain_leaves_what_comes_to_the_post(turnstile):
    turnstile.here.read_for(Waits(turnstile, 1), Kind.RESULTS)  # for a moment
    turnstile.there.send(result(1))
    turnstile.wait_for(lambda: turnstile.back)
    assert turnstile.readers == ["moorage-post-of-tests"]


def test_frames_of_other_kinds_are_left_to_the_post_and_come_in_their_order(turnstile):
    sent = 0
    while threading.current_thread().name not in turnstile.readers:
        data = b"".join(map(bytes, [*result(1), *item(2), *result(3), *item(4)]))
        turnstile.sockets[1].sendall(data)
        sent += 4
        turnstile.here.read_for(Waits(turnstile, sent), Kind.RESULTS)
        turnstile.wait_for(lambda all=sent: len(turnstile.back) == all)
    assert numbers_of(turnstile.back) == [1, 2, 3, 4] * (sent // 4)
    others = turnstile.readers[1::2]
    assert set(others) == {"moorage-post-of-tests"}


def test_a_large_frame_that_a_waiting_thread_has_begun_to_read_comes_whole(turnstile):
    large = b"large" * LARGE
    for count in range(1, 20):
        turnstile.there.send(result(count, large))
        turnstile.here.read_for(Waits(turnstile, count), Kind.RESULTS)
        turnstile.wait_for(lambda all=count: len(turnstile.back) == all)
    assert all(message[2] == large for _, message in turnstile.back)


def test_what_is_no_frame_is_the_end_also_if_a_waiting_thread_reads_it(turnstile, caplog):
    while threading.current_thread().name not in turnstile.readers:
        turnstile.there.send(result(1))
        turnstile.here.read_for(Waits(turnstile, len(turnstile.back) + 1), Kind.RESULTS)
    turnstile.sockets[1].sendall(b"\xff" * 64)
    turnstile.here.read_for(Waits(turnstile, len(turnstile.readers) + 1), Kind.RESULTS)
    turnstile.wait_for(lambda: "here" in turnstile.gone)
    flush(10.0)
    assert caplog.text.count("the post failed") == 1


def test_a_closed_end_is_not_read(turnstile):
    thread = turnstile.post._thread
    turnstile.here.close()
    turnstile.there.close()
    thread.join(PATIENCE)  # it has closed the sockets
    assert not turnstile.here.read_until(lambda: False)
    turnstile.here.read_for(Waits(turnstile, 1), Kind.RESULTS)
    turnstile.here.interrupt()


def test_the_end_is_told_once_though_a_thread_reads(turnstile, in_threads):
    reading = in_threads(turnstile.here.read_until, lambda: False)
    turnstile.there.close()
    reading.result()
    turnstile.wait_for(lambda: turnstile.gone)
    assert turnstile.gone == ["here"]


def test_a_lost_end_takes_the_place_of_a_thread_that_reads(turnstile, in_threads):
    holder = turnstile.sockets[1].dup()  # so that the end never comes by itself
    reading = in_threads(turnstile.here.read_for, Waits(turnstile, 1), Kind.RESULTS)
    turnstile.post.do(turnstile.here.is_lost)
    reading.result()
    turnstile.wait_for(lambda: turnstile.gone)
    holder.close()


def test_a_thread_that_reads_ends_when_it_is_done_and_another_one_takes_its_place(
    turnstile, in_threads
):
    is_done = threading.Event()
    begins = threading.Event()

    def done() -> bool:
        begins.set()
        return is_done.is_set()

    reading = in_threads(turnstile.here.read_until, done)
    assert begins.wait(PATIENCE)
    assert not turnstile.here.read_until(lambda: True)  # one at a time
    turnstile.there.send(result(1))
    turnstile.wait_for(lambda: turnstile.back)
    assert turnstile.readers != ["moorage-post-of-tests"]
    is_done.set()
    turnstile.here.interrupt()
    assert reading.result()
    assert turnstile.here.read_until(lambda: True)
    turnstile.there.send(result(2))
    turnstile.wait_for(lambda: len(turnstile.back) == 2)
    assert turnstile.readers[-1] == "moorage-post-of-tests"


def test_threads_come_and_go_and_nothing_is_lost_or_turned_round(
    turnstile, in_threads, often_switching
):
    count = 2000

    def send() -> None:
        for number in range(count):
            turnstile.there.send((result if number % 5 else item)(number))

    def read() -> None:
        while len(turnstile.back) < count:
            turnstile.here.read_for(Waits(turnstile, len(turnstile.readers) + 1), Kind.RESULTS)

    sending = in_threads(send)
    for reading in [in_threads(read) for _ in range(2)]:
        reading.result()
    sending.result()
    assert numbers_of(turnstile.back) == list(range(count))


# -- the outbox ------------------------------------------------------------------------------


def test_messages_that_come_while_others_are_written_go_out_together_and_in_order():
    written: list[list[int]] = []

    def write(messages: list[int]) -> None:
        if not written:
            for number in (2, 3, 4):
                assert outbox.put(number) is None
        written.append(messages)

    outbox: Outbox[int] = Outbox(write)
    effect = outbox.put(1)
    assert effect is not None
    effect()
    assert written == [[1], [2, 3, 4]]
    outbox.send(5)
    assert written[2:] == [[5]]


def test_an_error_while_writing_leaves_the_outbox_usable():
    fails = [True]
    written: list[int] = []

    def write(messages: list[int]) -> None:
        if fails.pop():
            fails.append(False)
            raise OSError
        fails.append(False)
        written.extend(messages)

    outbox: Outbox[int] = Outbox(write)
    with pytest.raises(OSError):
        outbox.send(1)
    outbox.send(2)
    assert written == [2]


@pytest.mark.parametrize("fails", [False, True])
def test_the_end_of_writing_is_waited_for(in_threads, fails):
    writing, go_on = threading.Event(), threading.Event()
    written: list[int] = []

    def write(messages: list[int]) -> None:
        writing.set()
        assert go_on.wait(PATIENCE)
        written.extend(messages)
        if fails:
            raise OSError

    outbox: Outbox[int] = Outbox(write)
    assert outbox.wait_written(0)
    writer = in_threads(outbox.send, 1)
    assert writing.wait(PATIENCE)
    outbox.send(2)  # the other thread writes it
    assert not outbox.wait_written(0.01)
    waiter = in_threads(outbox.wait_written, PATIENCE)
    go_on.set()
    assert waiter.result()
    assert written == ([1] if fails else [1, 2])
    if fails:
        with pytest.raises(OSError):
            writer.result()


def test_many_threads_put_and_nothing_is_lost_or_written_twice(in_threads, often_switching):
    written: list[tuple[int, int]] = []
    outbox: Outbox[tuple[int, int]] = Outbox(written.extend)

    def put(which: int) -> None:
        for number in range(500):
            outbox.send((which, number))

    for thread in [in_threads(put, which) for which in range(4)]:
        thread.result()
    assert sorted(written) == sorted((which, n) for which in range(4) for n in range(500))
    for which in range(4):
        assert [n for its, n in written if its == which] == list(range(500))
