"""The progress of a run, on stderr: stdout belongs to the program.

Owns what a command says about a run: a line when the run begins and one when it ends, the URLs of
web functions, and how far long work is.  On a terminal that is one live line, written anew several
times a second; elsewhere a plain line every ten seconds.  ``--quiet`` says none of it.

A print of the program must not be written into the live line.  So on a terminal ``sys.stdout`` and
``sys.stderr`` are wrapped while a command lasts (`Passing`): what is written removes the live line
first.  Containers that are processes write beside it: see ``placing/terminal.py``.

Begin at `Output.of_run`, then `_Watch`.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Generator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import datetime
from typing import Any, Final

from ..app import App
from ..placing import terminal
from ..placing.passing import Passing
from ..runtime import forking
from ..runtime.clocks.clock import system_clock, wall_seconds
from ..runtime.pools.statistics import PoolStatistics
from ..runtime.real import Real

# Seconds between two plain lines, and between two states of the live line.
PLAIN_EVERY: Final = 10.0
LIVE_EVERY: Final = 0.2
# Seconds after which a run gets a live line.
LIVE_AFTER: Final = 1.0

_REMOVE_LINE: Final = "\r\x1b[2K"


class Output:
    """What one command says on stderr.

    Args:
        quiet: say nothing.
        timestamps: begin each line with the time of day.
    """

    def __init__(self, *, quiet: bool = False, timestamps: bool = False) -> None:
        self._quiet = quiet
        self._timestamps = timestamps
        # Held while something is written to the terminal.
        self.lock: Any = Real.RLock()
        # Guarded by the lock.  Whether a live line is in the last line of the terminal; and
        # whether the program has begun that line, and not ended it: then there is no live line.
        self._is_live = False
        self._is_begun = False
        # As it was when the command began: the program may put a stream of its own there.
        self._stderr: Any = sys.stderr
        # The same; set while the streams are wrapped.
        self._terminal: Any = None
        # The terminal once more, for its locks; -1 if there is none, or no container is a process.
        self._shared = -1
        forking.know(self)

    def _after_fork(self) -> None:
        """In a forked child: the parent says how its run gets on."""
        self.lock = Real.RLock()
        self._quiet, self._terminal, self._is_live = True, None, False

    @contextmanager
    def beside_the_program(self) -> Generator[None, None, None]:
        """Wrap the program's streams, if both are a terminal, until the block ends."""
        streams = sys.stdout, sys.stderr
        if self._quiet or not all(_is_terminal(stream) for stream in streams):
            yield
            return
        self._terminal = streams[1]
        wrapped = Passing(self, streams[0]), Passing(self, streams[1])
        sys.stdout, sys.stderr = wrapped
        sharing = terminal.shared.sharing
        terminal.shared.sharing = sharing._replace(is_live=True)
        self._shared = terminal.open_terminal()
        try:
            yield
        finally:
            terminal.shared.sharing = sharing
            for stream in wrapped:
                stream.end()
            self.live("")
            # Not if the program has put streams of its own there.
            if sys.stdout is wrapped[0]:
                sys.stdout = streams[0]
            if sys.stderr is wrapped[1]:
                sys.stderr = streams[1]
            self._terminal = None
            with self.lock:
                if self._shared >= 0:
                    Real.close(self._shared)
                    self._shared = -1

    @contextmanager
    def of_run(self, app: App, shown: str) -> Generator[None, None, None]:
        """Say how the run of `app` gets on, which begins before and ends after the block."""
        if self._quiet:
            yield
            return
        run = app._runs.run
        if run is not None:
            run.sites.announce = lambda name, url: self.say(f"{name}: {url}")
        watch = _Watch(self, app)
        watch.start()
        try:
            yield
        finally:
            watch.stop()

    def say(self, line: str) -> None:
        """Write one line to stderr."""
        if self._quiet:
            return
        if self._timestamps:
            line = f"{datetime.fromtimestamp(wall_seconds()).isoformat(sep=' ')} {line}"
        # Where stdout and stderr are one file, what the program has printed comes first.
        _write(sys.stdout, "")
        with self.lock:
            self.live("")
            with self._unless_in_use() as is_free:
                begun, self._is_begun = self._is_begun or not is_free, False
                _write(self._terminal or self._stderr, f"\n{line}\n" if begun else f"{line}\n")

    @property
    def has_live_line(self) -> bool:
        """Whether there is a terminal on which a line can be written anew."""
        return self._terminal is not None

    def _unless_in_use(self) -> AbstractContextManager[bool]:
        """Keep containers from beginning a line; false if one has begun a line, or reads."""
        return nullcontext(True) if self._shared < 0 else terminal.unless_in_use(self._shared)

    # -- what the program's streams ask: see `Beside` ------------------------------------------

    @property
    def is_shown(self) -> bool:
        return self._terminal is not None

    def before_text(self) -> str:
        self.live("")
        return ""

    def after_text(self, is_begun: bool) -> None:
        self._is_begun = is_begun

    def live(self, line: str) -> None:
        """Show `line` as the live line; remove the live line if `line` is empty."""
        with self.lock:
            terminal = self._terminal
            if terminal is None or self._is_begun or not (line or self._is_live):
                return
            width = shutil.get_terminal_size().columns - 1
            with self._unless_in_use() as is_free:
                if not is_free:
                    self._is_live = False  # the container has removed it
                    return
                # The cursor goes back to the beginning: what a child process writes goes over it.
                _write(terminal, f"{_REMOVE_LINE}{line[:width]}\r" if line else _REMOVE_LINE)
                self._is_live = bool(line)


class _Watch:
    """Looks at the pools of a run now and then, on a thread of its own."""

    def __init__(self, output: Output, app: App) -> None:
        self._output = output
        self._app = app
        self._end = system_clock.make_waiter()
        self._thread = Real.Thread(target=self._watch, name="moorage-progress", daemon=True)
        # The state at the last look, by the thread only.
        self._seen: dict[str, int] = {}

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._end.wake()
        self._thread.join()

    def _watch(self) -> None:
        live = self._output.has_live_line
        every = LIVE_EVERY if live else PLAIN_EVERY
        began = before = system_clock.now()
        while not system_clock.wait(self._end, LIVE_AFTER if live and before == began else every):
            now = system_clock.now()
            lines = self._lines(now - before)
            before = now
            if live:
                self._output.live("; ".join(lines))
            else:
                for line in lines:
                    self._output.say(line)

    def _lines(self, seconds: float) -> list[str]:
        run = self._app._runs.open_run()
        if run is None:
            return []
        lines: list[str] = []
        for pool in list(run.pools.values()):
            seen = pool.statistics()
            name = f"{seen.name} ({seen.variant})" if seen.variant else seen.name
            done = done_of(seen)
            before = self._seen.get(name, 0)
            self._seen[name] = done
            # Idle pools, and those whose inputs were all there at the last look, say nothing.
            if seen.running or left_of(seen) or done != before:
                lines.append(f"{name}: {line_of(seen, (done - before) / seconds)}")
        return lines


def done_of(seen: PoolStatistics) -> int:
    """Return how many inputs of a pool are done."""
    return seen.succeeded + seen.failed + seen.cancelled


def left_of(seen: PoolStatistics) -> int:
    """Return how many inputs of a pool wait."""
    return seen.queued + seen.waiting + seen.outside


def line_of(seen: PoolStatistics, rate: float) -> str:
    """Return the progress of a pool: ``12/40 done, 8 running, 20 waiting, 2 containers, 4.0/s``."""
    done, containers = done_of(seen), len(seen.containers)
    of = seen.accepted + seen.outside
    parts = [f"{done:,}/{of:,} done" + (f" ({seen.failed:,} failed)" if seen.failed else "")]
    parts += [f"{seen.running:,} running", f"{left_of(seen):,} waiting"]
    parts += [f"{containers} container{'' if containers == 1 else 's'}"]
    return ", ".join([*parts, f"{rate:.1f}/s" if rate < 10 else f"{rate:,.0f}/s"])


def duration(seconds: float) -> str:
    """Return a length of time for people: ``0.4 s``, ``12 s``, ``3 min 5 s``."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    return f"{whole} s" if whole < 60 else f"{whole // 60} min {whole % 60} s"


def _is_terminal(stream: Any) -> bool:
    try:
        return bool(stream.isatty())
    except Exception:  # None, or a stream that is closed
        return False


def _write(stream: Any, text: str) -> None:
    try:
        stream.write(text)
        stream.flush()
    except (AttributeError, OSError, ValueError):  # there is none, or nobody reads, or it is closed
        pass
