"""The terminal of a program whose containers are processes.

A container is in a process group of its own, so that Ctrl-C is the program's.  It may write to the
terminal, and the system does not let it read there.  Owns what goes beyond that:

- The live line of a command.  A container that prints removes it: it writes "erase the rest of this
  line" before its own.  While its line has no end, as a progress bar's, it holds a lock on the
  terminal, and the command shows no live line (`unless_in_use`).
- Reading, with ``moorage run -i``.  A container that reads takes the terminal: it makes its group
  the one in the foreground, and gives that back at the end of a prompt of `pdb`, of `input`, or of
  the input (of the function) that has read.  One container has the terminal at a time.  If it dies,
  the program takes the terminal back (`take_back`).

Locks: of ``flock``, shared by all whose line has no end, and by whoever has the terminal; of
``lockf``, exclusive, by whoever has the terminal.  The system lets go of both when a process dies.

Begin at `shared`, which the command sets; in a container at `enter`, then `Terminal.taken`.
"""

from __future__ import annotations

import atexit
import builtins
import os
import signal
import sys
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from ..exception import InvalidError
from ..runtime.real import Real
from .passing import Passing

if TYPE_CHECKING:
    from .host import ChildHost

_ERASE_REST: Final = "\x1b[K"

INSTEAD: Final = (
    "run the program with `moorage run -i`, which lets containers have the terminal, or with "
    '`--placement thread` (placement="thread")'
)


class Sharing(NamedTuple):
    """How a container shares the terminal."""

    is_live: bool = False  # the program's process writes a live line
    is_interactive: bool = False  # containers may read


class Shared:
    """What the command of this process has said about the terminal; the driver's side."""

    def __init__(self) -> None:
        self.sharing: Sharing = Sharing()


shared: Final = Shared()


def is_terminal(number: int) -> bool:
    """Whether a descriptor is open, and a terminal."""
    try:
        return os.isatty(number)
    except OSError:
        return False


# -- in the program's process ----------------------------------------------------------------


@contextmanager
def unless_in_use(terminal: int) -> Generator[bool]:
    """Keep containers from beginning a line until the block ends.

    False in the block if one has begun a line on the terminal, or reads there.

    Args:
        terminal: a descriptor of `open_terminal`.
    """
    import fcntl

    try:
        fcntl.flock(terminal, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        yield False
        return
    try:
        yield True
    finally:
        fcntl.flock(terminal, fcntl.LOCK_UN)


def open_terminal() -> int:
    """Return a descriptor of the terminal, for locks of its own; -1 if that is not possible."""
    for number in (2, 1, 0):
        if is_terminal(number):
            try:
                return os.open(os.ttyname(number), os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)
            except OSError:
                continue
    return -1


def take_back(group: int | None) -> None:
    """Take the terminal back, if a container had it that is dead.

    Args:
        group: the process group of a container that has just died, and may wait for its reaper.
    """
    if not shared.sharing.is_interactive or not is_terminal(0):
        return
    try:
        in_front = os.tcgetpgrp(0)
        if in_front != os.getpgrp() and (in_front == group or not _is_alive(in_front)):
            with _not_stopped():
                os.tcsetpgrp(0, os.getpgrp())
    except OSError:
        pass


def _is_alive(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    except OSError:
        pass
    return True


@contextmanager
def _not_stopped() -> Generator[None, None, None]:
    """Let this thread change the group in the foreground from the background."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTTOU})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


# -- in the process of a container ---------------------------------------------------------------


class Terminal:
    """The terminal, in the process of a container.

    Args:
        descriptor: see `open_terminal`.
        is_interactive: whether this process may read there.
    """

    def __init__(self, descriptor: int, is_interactive: bool) -> None:
        self.is_interactive: bool = is_interactive
        # Where the results of inputs go; None before there is a host.
        self.host: ChildHost | None = None
        self._descriptor = descriptor
        self._turn: threading.RLock = Real.RLock()  # held by the thread that has the terminal
        self._depth = 0  # guarded by `_turn`: how often that thread has it
        self._group = 0  # the one that was in the foreground before
        self._is_prompt = False  # Ctrl-C is for the debugger
        self._until_the_end = False  # taken by a read, until the input ends
        self._lock: threading.Lock = Real.Lock()
        self._lines: set[object] = set()  # why the lock on the line is held.  Guarded by `_lock`.

    def hold_line(self, why: object) -> None:
        """Keep the live line away."""
        import fcntl

        with self._lock:
            if not self._lines and self._descriptor >= 0:
                fcntl.flock(self._descriptor, fcntl.LOCK_SH)
            self._lines.add(why)

    def let_line_go(self, why: object) -> None:
        import fcntl

        with self._lock:
            if why in self._lines:
                self._lines.discard(why)
                if not self._lines and self._descriptor >= 0:
                    fcntl.flock(self._descriptor, fcntl.LOCK_UN)

    # -- reading -----------------------------------------------------------------------------

    def check(self, what: str) -> None:
        """Raise unless this process may read at the terminal.

        Raises:
            InvalidError: if it may not.
        """
        if not self.is_interactive:
            raise InvalidError(
                f"{what} needs the terminal, which a worker process does not have; {INSTEAD}"
            )

    @contextmanager
    def taken(self, *, is_prompt: bool = False) -> Generator[None, None, None]:
        """Have the terminal until the block ends, as the only process.

        Args:
            is_prompt: whether Ctrl-C raises KeyboardInterrupt in the block, if this is the main
                thread; else Ctrl-C is for the program.
        """
        with self._turn:
            self._take()
            prompts = self._is_prompt
            self._is_prompt = prompts or is_prompt  # `pdb` calls `input`
            try:
                yield
            finally:
                self._is_prompt = prompts
                self._give_back()

    def take_until_the_input_ends(self) -> None:
        """Have the terminal until the next input of this process has ended."""
        with self._turn:
            if self._until_the_end:
                return
            self._until_the_end = True
            self._take()
        if self.host is not None:
            self.host.at_next_end(self._end_of_input)

    def _end_of_input(self) -> None:
        """Give back what `take_until_the_input_ends` has taken."""
        with self._turn:
            if self._until_the_end:
                self._until_the_end = False
                self._give_back()

    def _take(self) -> None:
        import fcntl

        self._depth += 1
        if self._depth > 1:
            return
        if self._descriptor >= 0:
            fcntl.lockf(self._descriptor, fcntl.LOCK_EX)
        self.hold_line(self)
        self._group = os.tcgetpgrp(0)
        # SIGTTOU is ignored, so this process is not stopped.
        os.tcsetpgrp(0, os.getpgrp())

    def _give_back(self) -> None:
        import fcntl

        self._depth -= 1
        if self._depth:
            return
        try:
            os.tcsetpgrp(0, self._group)
        except OSError:
            pass  # the terminal is gone
        self.let_line_go(self)
        if self._descriptor >= 0:
            fcntl.lockf(self._descriptor, fcntl.LOCK_UN)

    def interrupted(self, number: int, frame: FrameType | None) -> None:
        """Ctrl-C, on the main thread: it is for the program, except at a prompt of this thread."""
        if self._is_prompt and self._has_turn():
            raise KeyboardInterrupt
        if self._depth:
            try:
                os.killpg(self._group, signal.SIGINT)
            except OSError:
                pass

    def _has_turn(self) -> bool:
        owned: Callable[[], bool] = getattr(self._turn, "_is_owned", lambda: False)
        return owned()

    def wants_to_read(self, number: int, frame: FrameType | None) -> None:
        """SIGTTIN: some thread of this process reads.  The read is done again after this."""
        self.take_until_the_input_ends()


class _Lines:
    """The lines of one stream, beside the live line of the program: see `Beside`."""

    def __init__(self, terminal: Terminal, lock: Any) -> None:
        self._terminal = terminal
        self.lock: Any = lock
        self.is_shown: bool = True
        self._is_begun = False

    def before_text(self) -> str:
        if self._is_begun:
            return ""
        self._terminal.hold_line(self)  # before the text: a live line would stand behind it
        return _ERASE_REST

    def after_text(self, is_begun: bool) -> None:
        if not is_begun:
            self._terminal.let_line_go(self)
        self._is_begun = is_begun


class Here:
    """The terminal of this process, if it is a container's."""

    def __init__(self) -> None:
        self.terminal: Terminal | None = None  # None: this process has none


here: Final = Here()


def enter(sharing: Sharing) -> None:
    """Share the terminal as the program says.  On the main thread, before the user's code."""
    if not any(map(is_terminal, (0, 1, 2))):
        return
    # Where the user has said "stty tostop", this process may write all the same.
    Real.set_signal(signal.SIGTTOU, signal.SIG_IGN)
    interactive = sharing.is_interactive and is_terminal(0)
    terminal = here.terminal = Terminal(open_terminal(), interactive)
    if interactive:
        Real.set_signal(signal.SIGTTIN, terminal.wants_to_read)
        Real.set_signal(signal.SIGINT, terminal.interrupted)
        builtins.input = _input_of(terminal, builtins.input)
    else:
        # A read of /dev/tty, as by getpass, fails: this process must not be stopped by it.
        Real.set_signal(signal.SIGTTIN, signal.SIG_IGN)
    if sharing.is_live:
        lock = Real.RLock()
        for name in ("stdout", "stderr"):
            stream = getattr(sys, name)
            if stream is not None and stream.isatty():
                passing = Passing(_Lines(terminal, lock), stream)
                setattr(sys, name, passing)
                atexit.register(passing.end)


def _input_of(terminal: Terminal, original: Callable[..., str]) -> Callable[..., str]:
    def input(prompt: object = "", /) -> str:
        """Read a line at the terminal of the program."""
        with terminal.taken():
            return original(prompt)

    return input


def breakpoint_here(*args: Any, **kwargs: Any) -> Any:
    """What `breakpoint` does in the process of a container."""
    if os.environ.get("PYTHONBREAKPOINT"):
        return sys.__breakpointhook__(*args, **kwargs)
    terminal = here.terminal
    (terminal or Terminal(-1, False)).check("breakpoint()")
    assert terminal is not None
    return _debugger(terminal).set_trace(sys._getframe().f_back)


def _debugger(terminal: Terminal) -> Any:
    import pdb

    class Debugger(pdb.Pdb):
        """A debugger that has the terminal while it prompts."""

        def interaction(self, *args: Any, **kwargs: Any) -> None:
            with terminal.taken(is_prompt=True):
                super().interaction(*args, **kwargs)

    return Debugger(nosigint=True)
