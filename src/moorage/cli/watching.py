"""Watching the files of a program.

Owns `Watched`, which files and folders count, and `Watcher`, which reports changes: each set of
changes that come within half a second at most is one report.  Needs watchfiles (extra ``cli``).

Begin at `Watcher.watch`.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import click

from ..runtime.clocks.clock import join_threads
from ..runtime.real import Real
from .errors import CommandError

# Milliseconds: the most that changes are collected for, and the pause that ends a collection.
DEBOUNCE: Final = 500
STEP: Final = 50

# Milliseconds of silence after which a thread says that it watches, and looks whether it should.
SILENCE: Final = 200

# Seconds that a thread gets to end.
LAST_JOIN: Final = 5.0

# Files of editors beside those that watchfiles knows.
_OF_EDITORS: Final = ("4913", ".DS_Store")


@dataclass(frozen=True)
class Watched:
    """What of the disk a program is made of."""

    files: frozenset[str] = frozenset()  # the sources of its modules
    trees: frozenset[str] = frozenset()  # folders of which every file counts
    # Whether every Python file beside `files` counts: the last import failed, maybe because one is
    # not there yet.
    all_python: bool = False

    @property
    def folders(self) -> frozenset[str]:
        """The folders of `files`."""
        return frozenset(os.path.dirname(file) for file in self.files)

    def counts(self, path: str) -> bool:
        """Whether a change of the file at `path` is a change of the program."""
        if path in self.files:
            return True
        if self.all_python and path.endswith(".py") and os.path.dirname(path) in self.folders:
            return True
        return any(path == tree or path.startswith(tree + os.sep) for tree in self.trees)

    def may_count(self, path: str) -> bool:
        """Whether the file at `path` counts, or may be a module that is imported by now."""
        is_beside = path.endswith(".py") and os.path.dirname(path) in self.folders
        return is_beside or self.counts(path)

    def changed_since(self, when: int) -> list[str]:
        """Return the files that were changed after `when`, in nanoseconds of the wall clock.

        Files of `trees` are left out: there may be many.
        """
        files: set[str] = set(self.files)
        if self.all_python:
            for folder in self.folders:
                files.update(str(path) for path in Path(folder).glob("*.py"))
        return sorted(file for file in files if _changed_at(file) > when)

    def __or__(self, other: Watched) -> Watched:
        return Watched(
            self.files | other.files, self.trees | other.trees, self.all_python or other.all_python
        )


def _changed_at(file: str) -> int:
    try:
        return os.stat(file).st_mtime_ns
    except OSError:
        return 0


def check_installed() -> None:
    """Refuse to begin without watchfiles.

    Raises:
        CommandError: if watchfiles is not installed.
    """
    try:
        import watchfiles  # noqa: F401  # pyright: ignore[reportUnusedImport]
    except ImportError:
        raise CommandError(
            "Reloading needs watchfiles, which is not installed.",
            'Write pip install "moorage[cli]", or serve without reloading: --no-reload',
        ) from None


class Watcher:
    """Reports changes of files, from threads of its own.

    Args:
        changed: called with the paths that have changed, of files that may count.
        began: called when what was given to `watch` is watched.
    """

    def __init__(
        self, changed: Callable[[list[str]], object], began: Callable[[Watched], object]
    ) -> None:
        self._changed = changed
        self._began = began
        self._stop: threading.Event | None = None
        self._threads: list[threading.Thread] = []

    def watch(self, watched: Watched) -> None:
        """Watch this, and nothing else any more."""
        self.close()
        stop = self._stop = Real.Event()
        # Folders, because an editor may replace a file; not what is below the folders.
        parts = [(watched.folders, False), (watched.trees, True)]
        there = [({path for path in paths if os.path.exists(path)}, deep) for paths, deep in parts]
        waiting = [None for paths, _ in there if paths]

        def began() -> None:
            if waiting.pop() is None and not waiting:
                self._began(watched)

        for paths, deep in there:
            if paths:
                thread = Real.Thread(
                    target=self._look,
                    args=(watched, sorted(paths), deep, stop, began),
                    name="moorage-watch",
                    daemon=True,
                )
                self._threads.append(thread)
                thread.start()

    def close(self) -> None:
        """Watch nothing any more."""
        if self._stop is not None:
            self._stop.set()
        join_threads(self._threads, LAST_JOIN)
        self._threads = []

    def _look(
        self,
        watched: Watched,
        paths: Iterable[str],
        deep: bool,
        stop: threading.Event,
        began: Callable[[], object],
    ) -> None:
        import watchfiles

        default: Any = watchfiles.DefaultFilter(
            ignore_entity_patterns=(
                *watchfiles.DefaultFilter.ignore_entity_patterns,
                *(f"^{name}$" for name in _OF_EDITORS),
            )
        )

        def counts(change: Any, path: str) -> bool:
            # The folders above what is watched may have any names.
            inside = next((p for p in paths if path.startswith(p + os.sep)), "")
            return bool(default(change, path[len(inside) :])) and watched.may_count(path)

        is_new = True
        try:
            for changes in watchfiles.watch(
                *paths,
                watch_filter=counts,
                debounce=DEBOUNCE,
                step=STEP,
                stop_event=stop,
                rust_timeout=SILENCE,
                yield_on_timeout=True,
                raise_interrupt=False,
                recursive=deep,
                ignore_permission_denied=True,
            ):
                if is_new:
                    is_new = False
                    began()
                if changes and not stop.is_set():
                    self._changed(sorted({path for _, path in changes}))
        except OSError as error:  # such as the system's limit of watched folders
            click.echo(f"Changes are not noticed any more: {error}", err=True)
