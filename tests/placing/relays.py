"""A relay between a driver and its first child: it reads frames, and kills the child at a byte.

Owns `Relay`, a source of processes.  Bytes pass until the place where the child is to die; then the
child is killed, its end is waited for, and both ends are closed.  What has passed was written or
read before the death.

Begin at `Relay`, then `Passage.take`.
"""

import os
import select
import signal
import socket
import threading
from typing import NamedTuple

from moorage.placing.frames import HEADER, Kind

from .outside import Watched, wait_for

TO_CHILD, FROM_CHILD = "to the child", "from the child"


class Cut(NamedTuple):
    """Where the child dies: after so many bytes of the nth frame of a kind."""

    direction: str
    kind: Kind
    nth: int
    offset: int

    def __str__(self):
        return f"{self.kind.name} {self.nth}, {self.offset} bytes, {self.direction}"


class Passage:
    """One direction: where frames begin and end, and how much passes."""

    def __init__(self, cut):
        self._cut = cut
        self._head = b""
        self._left = 0
        self._most = None  # bytes of this frame that still pass, then the child dies
        self.frames = []  # kind and length of each, with its header

    def take(self, data):
        """Return what passes now, and whether the child is to die then.

        The header of a frame passes as a whole, or up to the cut: before the header is whole
        nobody knows the kind of its frame.
        """
        passes = b""
        while data:
            if not self._left:
                count = HEADER.size - len(self._head)
                self._head, data = self._head + data[:count], data[count:]
                if len(self._head) < HEADER.size:
                    break
                part, self._head = self._head, b""
                length, number, _ = HEADER.unpack(part)
                kind = Kind(number)
                nth = sum(its is kind for its, _ in self.frames)
                self.frames.append((kind, HEADER.size + length))
                self._left = length
                cut = self._cut
                if cut is not None and (cut.kind, cut.nth) == (kind, nth):
                    self._most = cut.offset
            else:
                part, data = data[: self._left], data[self._left :]
                self._left -= len(part)
            if self._most is not None:
                if len(part) >= self._most:
                    return passes + part[: self._most], True
                self._most -= len(part)
            passes += part
        return passes, False


class Relay:
    """A source of processes that stands between the driver and the first child.

    Args:
        inner: starts the processes.
        cut: where the first one dies; None if it does not.
    """

    def __init__(self, inner, cut=None):
        self._inner = inner
        self._passages = {
            direction: Passage(cut if cut is not None and cut.direction == direction else None)
            for direction in (TO_CHILD, FROM_CHILD)
        }
        self.process = None  # the first one
        self.killed = False

    def frames(self, direction):
        return self._passages[direction].frames

    def launch(self, process, descriptors):
        if self.process is not None:
            self._inner.launch(process, descriptors)
            return
        self.process = process
        channel, crash = descriptors
        driver = socket.socket(fileno=os.dup(channel))
        here, child = socket.socketpair()
        threading.Thread(target=self._carry, args=(process, driver, here), daemon=True).start()
        handed_over = process.handed_over

        def both():
            child.close()
            handed_over()

        process.handed_over = both
        self._inner.launch(process, [child.fileno(), crash])

    def places(self):
        """Ask the first child where its threads are."""
        self.process._container.places()

    def _carry(self, process, driver, child):
        with driver, child:
            while True:
                for end in select.select([driver, child], [], [])[0]:
                    other = child if end is driver else driver
                    passage = self._passages[TO_CHILD if end is driver else FROM_CHILD]
                    dies = False
                    try:
                        data = end.recv(65536)
                        passes, dies = passage.take(data)
                        other.sendall(passes)
                    except OSError:
                        data = b""
                    if dies:
                        self._kill(process)
                    if dies or not data:
                        return

    def _kill(self, process):
        wait_for(lambda: process.pid)
        with Watched(process.pid) as child:
            self.killed = True  # before anybody can see that it is gone
            child.send(signal.SIGKILL)
            assert child.is_gone()
