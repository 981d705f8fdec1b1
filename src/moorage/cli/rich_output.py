"""Tables and tracebacks by rich, on a terminal.

Owns the use of rich, which need not be installed: each function returns false then, and the caller
writes plain text.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import IO, Any

from ..runtime.error_copies import traceback_of


def show_traceback(error: BaseException, file: IO[Any]) -> bool:
    """Write the traceback of `error`; return whether it was written."""
    try:
        from rich.console import Console
        from rich.traceback import Traceback

        shown = Traceback.from_exception(type(error), error, traceback_of(error))
        Console(file=file).print(shown)
    except Exception:  # the error itself must be seen, whatever its `__str__` or rich does
        return False
    return True


def show_table(columns: Sequence[str], rows: Sequence[Sequence[str]], title: str) -> bool:
    """Write a table to stdout; return whether it was written."""
    try:
        from rich.console import Console
        from rich.table import Table
        from rich.text import Text
    except ImportError:
        return False
    table = Table(*columns, title=title or None)
    for row in rows:
        table.add_row(*map(Text, row))
    Console().print(table)
    return True
