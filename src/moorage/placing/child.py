"""A container's process: from the first frame to the end of the process.

Owns what runs on the main thread of a child: it reads SETUP, becomes what SETUP says
(``world.py``), is the thread T of the container, and leaves by the interpreter's normal way, so
that ``atexit``, the flush of files and ``coverage`` work.  Frames come on the thread that
reads: the post, or one of the container's that waits for them.

Begin at `live`, then `_Life.run`.
"""

from __future__ import annotations

import faulthandler
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable
from typing import Any, Final, NamedTuple

from ..runtime import forking
from ..runtime.background import flush
from ..runtime.garbage import keep_what_is_there
from ..runtime.outcome import failure_of
from ..runtime.real import Real
from . import world
from .calls import driver_link
from .channel import Channel
from .errors import packed_failure
from .frames import Kind, decode, encode
from .host import ChildHost
from .post import process_post
from .shipping import pack
from .terminal import breakpoint_here

# Seconds that a child has to leave by the normal way, once the container has ended.
LEAVES_WITHIN: Final = 5.0
# The same, if the driver is gone.
LEAVES_ALONE_WITHIN: Final = 1.0


class Kit(NamedTuple):
    """What a child is given when it begins: numbers of descriptors, -1 for none."""

    channel: int
    crash: int
    # A pidfd of the driver, or -1.  A child of the zygote needs none: it dies with the zygote.
    driver: int = -1


def live(kit: Kit) -> None:
    """Be a container, on the main thread; returns when the process is to end."""
    _Life(kit).run()


def spawned(channel: int, crash: int, driver: int, has_mounts: bool = False) -> None:
    """Be a container that was not forked from a zygote: see ``processes.py``."""
    Real.set_signal(signal.SIGINT, _nothing)
    if has_mounts:
        enter_namespace()
    watch = -1
    if hasattr(os, "pidfd_open"):
        watch = os.pidfd_open(driver)
    if os.getppid() != driver:
        Real.exit_now(1)
    if watch < 0:
        Real.Thread(target=_end_with, args=(driver,), name="moorage-driver", daemon=True).start()
    live(Kit(channel, crash, watch))


def enter_namespace() -> None:
    """Give this process, which has one thread, a mount namespace of its own, if that is possible.

    What is mounted in it is known later: see ``world.py``, which also says why it is not possible.
    """
    from ..mounting.namespace import enter

    enter()


def _end_with(driver: int) -> None:
    """End this process when the driver is gone, where there is no pidfd."""
    never = Real.Event()
    while os.getppid() == driver:
        never.wait(_LOOKS_EVERY)
    Real.exit_now(1)


_LOOKS_EVERY: Final = 0.25


class _ChildChannel(Channel):
    """A channel that says when its socket is closed."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.is_shut = Real.Event()
        forking.know(self)

    def _after_fork(self) -> None:
        """In a process that was forked from the container's: it must neither write nor read here,
        nor keep the socket open.
        """
        self.renew()

    def shut(self) -> None:
        super().shut()
        self.is_shut.set()


class _Life:
    """The life of this process."""

    def __init__(self, kit: Kit) -> None:
        self._kit = kit
        self._channel = _ChildChannel(
            Real.socket(fileno=kit.channel), process_post, self._received, self._gone
        )
        # SETUP, or None: the driver is gone.
        self._setup: Any = Real.SimpleQueue()
        self._lock: threading.Lock = Real.Lock()
        # Guarded by the lock.  Invariant: `_early` is empty once there is a host.
        self._host: ChildHost | None = None
        self._early: list[Callable[[ChildHost], object]] = []  # what came before the host
        self._is_leaving = Real.Event()

    def run(self) -> None:
        prepare_streams()
        sys.breakpointhook = breakpoint_here
        if self._kit.crash >= 0:
            faulthandler.enable(file=self._kit.crash)
        if self._kit.driver >= 0:
            process_post.watch(self._kit.driver, self._gone)
        self._channel.open_turnstile()
        self._channel.begin()
        self._channel.send(encode(Kind.HELLO, [((os.getpid(),), ())]))
        setup = self._setup.get()
        if setup is not None:
            try:
                host = world.enter(setup, self._channel)
            except BaseException as error:
                self._say_failed(error)
            else:
                host.connect(self._channel)
                self._take(host)
                keep_what_is_there()  # before hooks: what they load, the program may replace
                host.container.boot_here()
        self._leave()

    def _take(self, host: ChildHost) -> None:
        """Give the host what came before there was one."""
        while True:
            with self._lock:
                early, self._early = self._early, []
                if not early:
                    self._host = host
                    return
            for each in early:
                each(host)

    def _say_failed(self, error: BaseException) -> None:
        packed, shown = packed_failure(failure_of(error), "the start", pack, _explain)
        blobs = (shown.encode("utf-8", "replace"), *packed.blobs)
        self._channel.send(encode(Kind.FAILED, [((), blobs)]))

    def _leave(self) -> None:
        """Write what is left to write; see that the process ends."""
        self._end_within(LEAVES_WITHIN)
        flush(1.0)  # records that the handler of this process passes on to the driver
        logging.getLogger("moorage").handlers.clear()
        flush(1.0)
        if self._host is not None:
            # Some other thread of the container may be about to write the last messages.
            self._host.wait_written(LEAVES_WITHIN)
        self._channel.close_when_written()
        self._channel.is_shut.wait(LEAVES_WITHIN)
        let_go_of_pipes()
        # From here on the interpreter ends: it joins threads, and calls what atexit knows.

    def _end_within(self, seconds: float) -> None:
        """End this process after so many seconds, whatever its threads do."""

        def end() -> None:
            Real.Event().wait(seconds)
            for stream in (sys.stdout, sys.stderr):
                try:
                    stream.flush()
                except Exception:
                    pass
            Real.exit_now(1)

        Real.Thread(target=end, name="moorage-end", daemon=True).start()

    # -- on the thread that reads -------------------------------------------------------------

    def _received(self, kind: int, words: int, body: memoryview) -> None:
        if kind == Kind.SETUP:
            for _, blobs in decode(kind, words, body):
                self._setup.put(bytes(blobs[0]))
            return
        host = self._host
        if host is None and kind == Kind.REPLY:
            link = driver_link()
            for (number, how), blobs in decode(kind, words, body):
                link.replied(number, how, list(blobs))
            return
        if host is None:
            copy = memoryview(bytes(body))
            with self._lock:
                host = self._host
                if host is None:
                    self._early.append(lambda host: host.received(kind, words, copy))
                    return
        host.received(kind, words, body)

    def _gone(self) -> None:
        """The driver is gone: end, within a moment."""
        self._end_within(LEAVES_ALONE_WITHIN)
        self._channel.close()
        self._setup.put(None)
        with self._lock:
            host = self._host
            if host is None:
                self._early.append(lambda host: host.gone())
                return
        host.gone()


def prepare_streams() -> None:
    """Have whole lines written at once: what was printed before a crash is there after it."""
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(line_buffering=True)


def let_go_of_pipes() -> None:
    """Have the interpreter end without a word about a pipe that nobody reads any more."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except BrokenPipeError:
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, stream.fileno())
            Real.close(null)
        except Exception:
            pass  # it is closed, or not there


def _explain(error: BaseException, refused: Exception) -> str:
    return f"{type(refused).__name__}: {refused}"


def _nothing(number: int, frame: object) -> None:
    pass
