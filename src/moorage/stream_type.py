"""Where the output of a process in a sandbox goes: `StreamType`, a name for arguments."""

from __future__ import annotations

import subprocess
from enum import Enum


class StreamType(Enum):
    """Like the constants of `subprocess`: nowhere, a pipe, or the caller's own output."""

    DEVNULL = subprocess.DEVNULL
    PIPE = subprocess.PIPE
    STDOUT = subprocess.STDOUT

    def __repr__(self) -> str:
        return f"modal.stream_type.StreamType.{self.name}"
