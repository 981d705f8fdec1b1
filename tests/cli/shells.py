"""The command line in a folder: in this process, which is then as it was before, or as another."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import pytest

import moorage
from moorage import as_modal, config
from moorage.cli.command import moorage as command
from moorage.mounting import namespace, place
from moorage.placing import placements

SRC = str(Path(moorage.__file__).parent.parent)

HELLO = """
    import modal

    app = modal.App("hello")

    @app.function()
    def double(x: int):
        return 2 * x

    @app.local_entrypoint()
    def main(x: int = 3):
        print(sum(double.map(range(x))))
"""

# The end of a program that goes on until a signal ends it.  A signal that comes just before a wait
# without an end, such as ``signal.pause()``, would be noticed after that wait.
UNTIL_A_SIGNAL = """
import time
while True:
    time.sleep(0.05)
"""


@dataclass
class Outcome:
    """How a command ended, and what it wrote."""

    code: int
    out: str
    err: str

    def __iter__(self) -> Iterator[object]:
        return iter((self.code, self.out, self.err))


class Started(subprocess.Popen[str]):
    """A command that runs; a test that fails does not wait for its end."""

    def __exit__(self, kind: type[BaseException] | None, *rest: Any) -> None:
        if kind is not None:
            self.kill()
        super().__exit__(kind, *rest)


class _Streams:
    """The standard streams as files, until the block ends: containers that are processes have them.

    Args:
        input: what the standard input has.
    """

    def __init__(self, input: str | None) -> None:
        self._files = [tempfile.TemporaryFile() for _ in range(3)]  # noqa: SIM115
        self._files[0].write((input or "").encode())
        self._files[0].seek(0)
        self.out = self.err = ""

    def __enter__(self) -> _Streams:
        self._before = sys.stdin, sys.stdout, sys.stderr
        self._descriptors = [os.dup(number) for number in range(3)]
        for number, file in enumerate(self._files):
            os.dup2(file.fileno(), number)
        sys.stdin = open(0, encoding="utf-8", closefd=False)
        sys.stdout = open(1, "w", encoding="utf-8", closefd=False)
        sys.stderr = open(2, "w", encoding="utf-8", closefd=False, buffering=1)
        return self

    def __exit__(self, *exc: object) -> None:
        for stream in (sys.stdin, sys.stdout, sys.stderr):
            stream.close()
        sys.stdin, sys.stdout, sys.stderr = self._before
        for number, descriptor in enumerate(self._descriptors):
            os.dup2(descriptor, number)
            os.close(descriptor)
        self.out, self.err = (self._text_of(file) for file in self._files[1:])
        for file in self._files:
            file.close()

    def _text_of(self, file: IO[bytes]) -> str:
        file.seek(0)
        return file.read().decode()


class Shell:
    """Runs commands in a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def write(self, name: str, text: str) -> Path:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text))
        return path

    def __call__(self, *arguments: str, input: str | None = None) -> Outcome:
        """Run ``moorage *arguments`` in this process, and forget the program's modules."""
        modules, path, argv = dict(sys.modules), list(sys.path), list(sys.argv)
        sys.argv = ["moorage", *arguments]
        code: object = 0
        try:
            with _Streams(input) as streams:
                try:
                    command.main(args=list(arguments), prog_name="moorage")
                except SystemExit as exit:
                    code = exit.code
                    if isinstance(code, str):
                        print(code, file=sys.stderr)
        finally:
            sys.path[:], sys.argv = path, argv
            for name in sys.modules.keys() - modules.keys():
                file = getattr(sys.modules[name], "__file__", None) or ""
                if name in ("modal", "modal_stdin_app") or file.startswith(str(self.folder)):
                    del sys.modules[name]
            sys.modules.update(modules)  # a program may have the name of a module of the tests
            sys.path_importer_cache.pop(str(self.folder), None)
        return Outcome(
            code if isinstance(code, int) else 0 if code is None else 1, streams.out, streams.err
        )

    def started(self, *arguments: str, **options: Any) -> Started:
        """Start ``python -m moorage *arguments`` as a process of its own."""
        environment = {
            **{name: value for name, value in os.environ.items() if "MOORAGE_AS" not in name},
            "PYTHONPATH": SRC,
        }
        return Started(
            [sys.executable, "-W", "error", "-m", "moorage", *arguments],
            cwd=self.folder,
            env=environment,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            **{"stdin": subprocess.DEVNULL, **options},
        )

    def process(self, *arguments: str, input: str | None = None) -> Outcome:
        """Run ``python -m moorage *arguments`` as a process of its own."""
        stdin = subprocess.DEVNULL if input is None else subprocess.PIPE
        with self.started(*arguments, stdin=stdin) as process:
            try:
                out, err = process.communicate(input, timeout=60)
            except BaseException:
                process.kill()
                raise
        return Outcome(process.returncode, out, err)


@contextmanager
def shell_in(folder: Path) -> Iterator[Shell]:
    """Make a folder the working directory, for programs that are run there."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.chdir(folder)
        # What the command sets is put back with what was there.
        for variable in ("MOORAGE_AS_MODAL", "MODAL_ENVIRONMENT"):
            monkeypatch.setenv(variable, "")
            monkeypatch.delenv(variable)
        # Worker processes would write each line in several parts, among those of others.
        monkeypatch.delenv("PYTHONUNBUFFERED", raising=False)
        monkeypatch.setenv("NO_COLOR", "1")
        monkeypatch.setenv("COLUMNS", "100")
        monkeypatch.setattr(config, "persist", config.persist)
        monkeypatch.setattr(config, "placement", config.placement)
        for name in ("given", "default"):
            monkeypatch.setattr(placements.command, name, None)
        monkeypatch.setattr(sys, "dont_write_bytecode", True)
        # The process of the tests enters no namespace; see ``test_shell.py``.
        monkeypatch.setattr(namespace, "enter", namespace.stay_out)
        monkeypatch.setattr(place.state, "why_not", place.state.why_not)
        was_there = as_modal.finder in sys.meta_path
        modal = sys.modules.get("modal")
        try:
            yield Shell(folder)
        finally:
            sys.modules.pop("modal", None)
            if modal is not None:
                sys.modules["modal"] = modal
            if not was_there and as_modal.finder in sys.meta_path:
                sys.meta_path.remove(as_modal.finder)
