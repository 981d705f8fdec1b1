"""Runs programs, each in a fork of this interpreter, and prints what each wrote to stderr.

A program of its own, started by ``harness.py`` with the paths as arguments.
Each is run as ``__main__`` by a process that exits as any does: its uncaught
exception is shown by the interpreter's own hook, without this file's frames,
and the interpreter's exit ends what was left running.
"""

import gc
import json
import os
import signal
import sys
import tempfile
import types
from typing import Any

import moorage

# Seconds that one program may run.
ENDS_AFTER = 20


def main(paths: list[str]) -> None:
    seen: dict[str, dict[str, Any]] = {}
    # What is imported here, not each child imports, nor looks through as it exits.
    for name in moorage.__all__:
        getattr(moorage, name)
    gc.freeze()
    for path in paths:
        with tempfile.TemporaryFile() as stderr:
            child = os.fork()
            if not child:
                os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
                os.dup2(stderr.fileno(), 2)
                run(path)  # and exits, by falling off the end of this module
                return
            _, status = os.waitpid(child, 0)
            stderr.seek(0)
            seen[path] = {
                "stderr": stderr.read().decode(),
                "exit": os.waitstatus_to_exitcode(status),
            }
    print(json.dumps(seen))


def run(path: str) -> None:
    signal.alarm(ENDS_AFTER)
    with open(path, encoding="utf-8") as file:
        source = file.read()
    moorage.config.strict = "# strict\n" in source
    module = sys.modules["__main__"] = types.ModuleType("__main__")
    module.__dict__.update(__file__=path, __builtins__=__builtins__)
    sys.argv = [path]
    try:
        exec(compile(source, path, "exec"), module.__dict__)
    except Exception as error:
        mine = error.__traceback__
        without_mine = mine and mine.tb_next
        sys.excepthook(type(error), error.with_traceback(without_mine), without_mine)


if __name__ == "__main__":
    main(sys.argv[1:])
