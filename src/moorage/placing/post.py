"""The post: the thread that reads what other ends have written.

Owns the thread "moorage-post" and its selector.  It reads for all channels of the process, writes
what did not fit at once, and looks at the file descriptors of processes (`watch`), which become
readable when a process has ended.  No user code runs on it, and it waits for nobody.  While another
thread reads at a channel, the post does not: see ``turnstile.py``.

The thread starts with the first channel and ends with the last.  A lock of its own guards the
tables; it is a leaf.

Begin at `Postman.add`, then `Postman._run`.
"""

from __future__ import annotations

import logging
import selectors
import socket
import threading
from collections.abc import Callable
from typing import Final

from ..runtime import forking
from ..runtime.background import keep_time, log_in_background
from ..runtime.real import Real
from ..runtime.thread_state import thread_state
from .channel import Channel

logger: Final = logging.getLogger("moorage")

READ: Final = selectors.EVENT_READ
WRITE: Final = selectors.EVENT_WRITE


class Postman:
    """Reads for all channels that were added, on one daemon thread."""

    def __init__(self, name: str = "moorage-post") -> None:
        self._name = name
        self._begin()
        forking.know(self)

    def _begin(self) -> None:
        self._lock: threading.Lock = Real.Lock()
        # Guarded by `_lock`:
        self._thread: threading.Thread | None = None
        self._bell: socket.socket | None = None  # wakes the thread
        self._rung = False
        # What the thread is to do before it waits again.
        self._due: list[Callable[[], object]] = []
        # Invariant: how many channels and watches the thread has, or is about to have.
        self._count = 0
        # Of the thread only:
        self._selector: selectors.BaseSelector | None = None
        # What is registered, by descriptor, but the bell: the selector's own map is slow to read.
        self._keys: dict[int, selectors.SelectorKey] = {}

    def _after_fork(self) -> None:
        forking.keep(self._selector, self._bell, self._thread)
        self._begin()

    @property
    def is_here(self) -> bool:
        """Whether this code runs on the post's thread."""
        return self._thread is Real.current_thread()

    def add(self, channel: Channel) -> None:
        """Read for `channel` from now on."""
        self._do(lambda: self._register_channel(channel), 1)

    def wants_to_write(self, channel: Channel) -> None:
        """Write the rest of what `channel` has to write as soon as there is room."""
        self._do(lambda: self._write_for(channel, True))

    def remove(self, channel: Channel) -> None:
        """Forget `channel`, and close its socket."""
        self._do(lambda: self._forget_channel(channel))

    def watch(self, fileno: int, ended: Callable[[], object]) -> Callable[[], object]:
        """Call `ended` on the thread, once, when `fileno` is readable; return what ends this."""
        self._do(lambda: self._register(fileno, READ, ended), 1)
        return lambda: self._do(lambda: self._forget(fileno))

    def do(self, work: Callable[[], object]) -> None:
        """Do `work` on the thread."""
        self._do(work)

    def soon(self, work: Callable[[], object]) -> None:
        """Do `work` when all that is readable now was read.  On the thread."""
        with self._lock:
            self._due.append(work)

    # -- the thread ---------------------------------------------------------------------

    def _do(self, work: Callable[[], object], more: int = 0) -> None:
        with self._lock:
            self._count += more
            self._due.append(work)
            if self._thread is None:
                here, self._bell = Real.socketpair()
                here.setblocking(False)
                self._bell.setblocking(False)
                self._rung = False
                self._thread = Real.Thread(
                    target=self._run, args=(here,), name=self._name, daemon=True
                )
                self._thread.start()
            elif not self._rung:
                self._rung = True
                assert self._bell is not None
                self._bell.send(b"\0")

    def _run(self, here: socket.socket) -> None:
        thread_state.reads_for_all = True
        keep_time()  # log records of this thread are written by another thread
        selector = self._selector = Real.DefaultSelector()
        selector.register(here, READ)
        born = forking.process.number
        try:
            while self._works(here) and forking.process.number == born:
                for key, events in selector.select():
                    if key.fileobj is here:
                        # In this order: a ring that is read here is done in `_works`.
                        here.recv(4096)
                        with self._lock:
                            self._rung = False
                    elif self._keys.get(key.fd) is key:  # else it was forgotten just now
                        self._handle(key, events)
        finally:
            if forking.process.number == born:
                selector.close()
                here.close()

    def _works(self, here: socket.socket) -> bool:
        """Do what is due; return false if nothing is left and the thread is to end."""
        while True:
            with self._lock:
                due, self._due = self._due, []
                if not due:
                    if self._count:
                        return True
                    assert self._bell is not None
                    self._bell.close()
                    self._thread = self._bell = None
                    return False
            for work in due:
                self.guarded(work)
            del due

    def _handle(self, key: selectors.SelectorKey, events: int) -> None:
        channel = key.data
        if not isinstance(channel, Channel):
            self._forget(key.fd)
            self.guarded(channel)
            return
        if events & WRITE and not channel.on_writable():
            self._write_for(channel, False)
        if events & READ:
            self.guarded(channel.on_readable)

    def guarded(self, work: Callable[[], object]) -> None:
        try:
            work()
        except Exception as error:  # a bug: the other channels go on
            log_in_background(logger, logging.ERROR, "the post failed", exc_info=error)

    def _register(self, fileno: int, events: int, data: object) -> None:
        assert self._selector is not None
        if fileno < 0:
            self._forgotten()  # it was closed before it was added
            return
        self._keys[fileno] = self._selector.register(fileno, events, data)

    def _register_channel(self, channel: Channel) -> None:
        self._register(channel.read_fileno(), READ, channel)
        # Also what it has written before and the kernel has not taken.
        self._write_for(channel, True)

    def _write_for(self, channel: Channel, wants: bool) -> None:
        """Wait until there is room for what `channel` writes, or do so no more."""
        selector, keys = self._selector, self._keys
        assert selector is not None
        fileno, reads = channel.fileno(), channel.read_fileno()
        if reads not in keys:
            return  # it was closed
        if fileno == reads:
            keys[fileno] = selector.modify(fileno, READ | WRITE if wants else READ, channel)
        elif wants and fileno not in keys:
            keys[fileno] = selector.register(fileno, WRITE, channel)
        elif not wants and keys.pop(fileno, None) is not None:
            selector.unregister(fileno)

    def _forget_channel(self, channel: Channel) -> None:
        fileno, reads = channel.fileno(), channel.read_fileno()
        if fileno >= 0:
            if fileno != reads:
                self._write_for(channel, False)
            self._forget(reads)
        channel.shut()

    def _forget(self, fileno: int) -> None:
        selector = self._selector
        assert selector is not None
        if self._keys.pop(fileno, None) is not None:
            selector.unregister(fileno)
            self._forgotten()

    def _forgotten(self) -> None:
        with self._lock:
            self._count -= 1


process_post: Final = Postman()
