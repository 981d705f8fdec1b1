"""Frames: the form of what a driver and a child write to each other.

Owns the kinds of messages, and how messages of one kind become the bytes of one frame.  Pure.
A *driver* is the process that has the pools; a *child* has one container.

To the child:

| kind | numbers | blobs | what it says |
|---|---|---|---|
| SETUP | | one | what the container is, pickled: the first frame |
| INPUTS | seq, target, call, index, members | the arguments | run this now: it has a slot |
| CANCEL | seq | the reason | end the code of this input: rung 1 now, rung 2 by the child's clock |
| CREDIT | seq, count | | the reader has taken so many more items of this generator |
| REPLY | id, outcome | the answer | answers a CALL |
| STACKS | id | one, if it asks for inputs | where do your threads, or your inputs, sit? |
| GIVE_UP | | | cancel the enter hooks: async hooks only |
| STOP | | | run the exit hooks, and end |

From the child:

| kind | numbers | blobs | what it says |
|---|---|---|---|
| HELLO | pid | | the child has begun |
| READY | | | the enter hooks have ended |
| FAILED | | the error | the start has failed; no exit hook runs |
| STOPPED | | | the exit hooks have ended |
| RESULTS | seq, outcome | the value, or the error | the code of this input has ended |
| ITEMS | seq | the item | a generator has yielded; at most `AHEAD` more than were taken |
| PLACES | id | one for each place | answers STACKS; of an input with its seq: see ``host.py`` |
| RESIZE | limit | | ``set_local_input_concurrency`` |
| NO_MORE | | | ``stop_fetching_inputs`` |
| CALL | id, parent seq, what | the arguments | a call of the code of that input |
| HELD | whether | | the loop sits in a blocking call of this library, or does no more |
| LOG | level, once | the text | a record for the driver's logger; once: one in a run is enough |
| HANGS | | the error | the start hangs: the driver gives the container up |

Both ways:

| kind | numbers | blobs | what it says |
|---|---|---|---|
| VISIT | seq, kind, number | the data | a note between the halves of a visit: ``residents.py`` |

*seq* counts the inputs of one container: a number never comes again, so a late message about an
input that has ended finds nothing.  The INPUTS of a batch are one entry that says how many
members follow, and one entry for each member.  The RESULTS of a batch are one entry for each
member, marked `MEMBER`, and then the entry of the batch.

A frame is a header (the length of all that follows, the kind, the number of words), then that many
words of 64 bits, then the blobs.  The words are, for each message: its numbers, how many blobs it
has, and the length of each.  A blob of `LARGE` bytes or more is written from where it is, and read
into memory of its own.

Begin at `Kind`, then `encode` and `decode`.
"""

from __future__ import annotations

import enum
import struct
from array import array
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

Buffer = bytes | bytearray | memoryview

Message = tuple[tuple[int, ...], Sequence[Buffer]]
"""The numbers of one message, and its blobs."""

Frame = tuple[int, int, memoryview]
"""The kind of a frame, how many words it has, and its body: the words and the blobs."""


class Kind(enum.IntEnum):
    """What the messages of a frame say."""

    # To the child.
    SETUP = 1
    INPUTS = 2
    CANCEL = 3
    CREDIT = 4
    REPLY = 5
    STACKS = 6
    GIVE_UP = 7
    STOP = 8
    # From the child.
    HELLO = 32
    READY = 33
    FAILED = 34
    STOPPED = 35
    RESULTS = 36
    ITEMS = 37
    PLACES = 38
    RESIZE = 39
    NO_MORE = 40
    CALL = 41
    HELD = 42
    LOG = 43
    HANGS = 44
    # Both ways.
    VISIT = 64


# How many numbers a message of each kind has.
NUMBERS: Final[dict[int, int]] = {
    **dict.fromkeys(Kind, 0),
    Kind.INPUTS: 5,
    Kind.CANCEL: 1,
    Kind.CREDIT: 2,
    Kind.REPLY: 2,
    Kind.STACKS: 1,
    Kind.HELLO: 1,
    Kind.RESULTS: 2,
    Kind.ITEMS: 1,
    Kind.PLACES: 1,
    Kind.RESIZE: 1,
    Kind.CALL: 3,
    Kind.HELD: 1,
    Kind.LOG: 2,
    Kind.VISIT: 3,
}

# How an input ended: the second number of RESULTS.
VALUE: Final = 0
FAILURE: Final = 1
CANCELLED: Final = 2
BATCH: Final = 3  # the outcomes of the members came before
MEMBER: Final = 16  # added to the outcome of a member of a batch

HEADER: Final = struct.Struct("=QBI")

# The header and the words of a frame of one message with one small blob, by the count of its
# numbers: most frames are of this form when inputs come one at a time.
_SINGLE: Final = tuple(struct.Struct(f"=QBI{count + 2}Q") for count in range(6))

# Bytes of a blob that is not copied.
LARGE: Final = 64 * 1024

_WORD: Final = 8


class BrokenFrame(AssertionError):
    """A bug: the bytes are no frame of ours."""


def encode(kind: int, messages: Sequence[Message]) -> list[Buffer]:
    """Return the parts of one frame, to be written one after the other."""
    if len(messages) == 1:
        ((numbers, blobs),) = messages
        if len(blobs) == 1 and type(blob := blobs[0]) is bytes and len(blob) < LARGE:
            count, size = len(numbers), len(blob)
            length = (count + 2) * _WORD + size
            return [_SINGLE[count].pack(length, kind, count + 2, *numbers, 1, size) + blob]
    words: list[int] = []
    parts: list[Buffer] = [b""]
    small: list[Buffer] = []
    length = 0
    for numbers, blobs in messages:
        words += numbers
        words.append(len(blobs))
        for blob in blobs:
            size = blob.nbytes if type(blob) is memoryview else len(blob)
            words.append(size)
            length += size
            if size < LARGE:
                small.append(blob)
            else:
                parts.append(b"".join(small))
                parts.append(blob)
                small = []
    packed = array("Q", words).tobytes()
    header = HEADER.pack(len(packed) + length, kind, len(words))
    if len(parts) == 1:
        return [b"".join((header, packed, *small))]
    parts[1] = b"".join((header, packed, parts[1]))
    if small:
        parts.append(b"".join(small))
    return [part for part in parts[1:] if len(part)]


def decode(kind: int, words: int, body: memoryview) -> Iterable[Message]:
    """Return the messages of a frame.

    The blobs of a small frame are bytes; those of a large one are parts of `body`.
    """
    end = words * _WORD
    numbers = tuple(body[:end].cast("Q"))
    data: Buffer = body if len(body) >= LARGE else body.tobytes()
    count = NUMBERS[kind]
    if words == count + 2 and numbers[count] == 1:  # one message, and one blob to the end
        return ((numbers[:count], (data[end:],)),)
    return _messages(numbers, data, count, end)


def _messages(numbers: tuple[int, ...], data: Buffer, count: int, end: int) -> Iterator[Message]:
    """Yield messages of `count` numbers each, whose blobs begin at `end` of `data`."""
    at, words = 0, len(numbers)
    while at < words:
        first = at + count
        if numbers[first] == 1:  # as nearly all: without a list
            start, end = end, end + numbers[first + 1]
            yield numbers[at:first], (data[start:end],)
            at = first + 2
            continue
        blobs: list[Buffer] = []
        for size in numbers[first + 1 : first + 1 + numbers[first]]:
            blobs.append(data[end : end + size])
            end += size
        yield numbers[at:first], blobs
        at = first + 1 + len(blobs)


class FrameReader:
    """Makes frames of the bytes that come.

    `take` is given what was read; `large` says where to read the rest of a large frame.
    """

    __slots__ = ("_body", "_filled", "_head", "_kind", "_words")

    def __init__(self) -> None:
        self._head = bytearray()  # of a frame that has not come whole, while it is small
        # A frame that is read into memory of its own; None if there is none.
        self._body: bytearray | None = None
        self._filled = 0
        self._kind = self._words = 0

    @property
    def large(self) -> memoryview | None:
        """Where the next bytes are to be read; None if they may be read anywhere."""
        return None if self._body is None else memoryview(self._body)[self._filled :]

    def filled(self, count: int) -> Sequence[Frame]:
        """Note that `count` bytes were read into `large`; return the frame if it is whole."""
        self._filled += count
        if self._body is None or self._filled < len(self._body):
            return ()
        body, self._body = self._body, None
        return ((self._kind, self._words, memoryview(body)),)

    def take(self, data: bytes) -> Sequence[Frame]:
        """Return the frames that are whole now."""
        frames: list[Frame] = []
        if self._head:
            self._head += data
            data, self._head = bytes(self._head), bytearray()
        view = memoryview(data)
        at, end = 0, len(data)
        while end - at >= HEADER.size:
            length, kind, words = HEADER.unpack_from(data, at)
            if words * _WORD > length or kind not in NUMBERS:
                raise BrokenFrame(f"a frame of kind {kind} has {length} bytes and {words} words")
            start = at + HEADER.size
            if end - start < length:
                if length >= LARGE:
                    self._kind, self._words = kind, words
                    self._body = bytearray(length)
                    self._filled = end - start
                    self._body[: end - start] = view[start:]
                    return frames
                break
            body = view[start : start + length]
            # A frame that may have large blobs gets memory of its own, which may be written to.
            own = body if length < LARGE else memoryview(bytearray(body))
            frames.append((kind, words, own))
            at = start + length
        if at < end:
            self._head += view[at:]
        return frames
