"""References to a program, and to what is in it: ``app.py::main``, ``-m package.module::App.f``.

Owns how such a reference is read.  ``loading.py`` imports the program; ``choosing.py`` finds what
the part behind ``::`` names.

Begin at `Reference.read`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from .errors import CommandError

# Stands for a program on the standard input.
STDIN: Final = "-"


@dataclass(frozen=True)
class Reference:
    """A program, and the name of something in it."""

    program: str  # a file, the path of a module, or `STDIN`
    name: str  # what follows "::", such as ``app.Model.run``; "" for nothing
    is_module: bool  # whether -m was given
    command: str  # the command so far, for messages: ``moorage run``

    @classmethod
    def read(cls, text: str, *, is_module: bool, command: str) -> Reference:
        """Read a reference.

        Raises:
            CommandError: if there is a single colon.
        """
        # The separator is behind the second character: "C:\\app.py" has the letter of a drive.
        if text.find("::") > 1:
            program, _, name = text.partition("::")
            return cls(program, name, is_module, command)
        if text.find(":") > 1:
            program, _, name = text.rpartition(":")
            raise CommandError(
                f"Invalid object reference: {text}.",
                f"Did you mean '::' instead of ':'?  {program}::{name}",
            )
        return cls(text, "", is_module, command)

    @property
    def shown(self) -> str:
        """The program and the name, as the user wrote them."""
        return f"{self.program}::{self.name}" if self.name else self.program

    @property
    def call(self) -> str:
        """The command with this reference, for messages that show what to write."""
        return f"{self.command} {'-m ' if self.is_module else ''}{self.shown}"

    @property
    def kind(self) -> str:
        """``file`` or ``module``, for messages."""
        return "module" if self.is_module else "file"

    def to(self, name: str) -> Reference:
        """Return the reference to another name in the same program."""
        return replace(self, name=name)
