"""The command line in a folder: in this process, which is then as it was before, or as another."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

import moorage
from moorage import as_modal, config
from moorage.cli.command import moorage as command
from moorage.mounting import namespace, place

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
        try:
            done = CliRunner().invoke(command, arguments, input=input)
        finally:
            sys.path[:], sys.argv = path, argv
            for name in sys.modules.keys() - modules.keys():
                file = getattr(sys.modules[name], "__file__", None) or ""
                if name in ("modal", "modal_stdin_app") or file.startswith(str(self.folder)):
                    del sys.modules[name]
            sys.path_importer_cache.pop(str(self.folder), None)
        if done.exception is not None and not isinstance(done.exception, SystemExit):
            raise done.exception
        return Outcome(done.exit_code, done.stdout, done.stderr)

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
        monkeypatch.setenv("NO_COLOR", "1")
        monkeypatch.setenv("COLUMNS", "100")
        monkeypatch.setattr(config, "persist", config.persist)
        monkeypatch.setattr(config, "placement", config.placement)
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
