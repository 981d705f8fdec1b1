"""Command lines whose outcomes are recorded with the real client, offline.

    python -m tests.cli.lines --python PYTHON     # with modal 1.6.4

records ``recorded.json`` anew.  The client parses, chooses and refuses without its service.  What
it accepts it tries to run: a line with which it connects to its server is recorded as "accepted".
"""

from __future__ import annotations

import argparse
import json
import os
import re
import select
import socket
import subprocess
import sys
import tempfile
import textwrap
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

RECORDED = Path(__file__).with_name("recorded.json")
ACCEPTED = "accepted"
# Seconds that the client may take.
PATIENCE = 300

PROGRAMS = {
    "prog.py": """
        import modal
        app = modal.App("prog")
        other = modal.App("other")

        @app.function()
        def f(x: int = 1):
            return x

        @other.function()
        def h():
            pass

        @app.cls()
        class C:
            n: int = modal.parameter(default=3)

            @modal.method()
            def m(self, y: str = "x"):
                return y

            @modal.method()
            def k(self):
                return 1

        @other.local_entrypoint()
        def hidden():
            pass

        del hidden

        @app.local_entrypoint()
        def main(a: int = 1, flag: bool = False):
            pass
    """,
    "typed.py": """
        import datetime
        import enum
        import modal
        from pathlib import Path
        from typing import Annotated, Any, Literal, Optional, Union
        app = modal.App()

        class Colour(enum.Enum):
            RED = 1

        @app.local_entrypoint()
        def plain(a: int, b: float = 1.5, s: str = "x"):
            pass

        @app.local_entrypoint()
        def flag(on: bool):
            pass

        @app.local_entrypoint()
        def when(at: datetime.datetime):
            pass

        @app.local_entrypoint()
        def optional(a: Optional[int], b: int | None = None, c: Union[str, None] = None):
            pass

        @app.local_entrypoint()
        def literal(mode: Literal["r", "w"], level: Literal[1, 2] = 1):
            pass

        @app.local_entrypoint()
        def annotated(a: Annotated[int, "text"]):
            pass

        @app.local_entrypoint()
        def untyped(a, b=10):
            pass

        @app.local_entrypoint()
        def lists(xs: list[str]):
            pass

        @app.local_entrypoint()
        def enums(colour: Colour):
            pass

        @app.local_entrypoint()
        def paths(a_path: Path):
            pass

        @app.local_entrypoint()
        def either(a: int | str):
            pass

        @app.local_entrypoint()
        def dates(a: datetime.date):
            pass

        @app.local_entrypoint()
        def anything(a: Any):
            pass

        @app.local_entrypoint()
        def flags(a: Literal[True]):
            pass

        @app.local_entrypoint()
        def maybe_literal(a: Optional[Literal["r"]]):
            pass

        @app.local_entrypoint()
        def rest(*args):
            pass

        @app.local_entrypoint()
        def rest_and_more(a: int, *args):
            pass

        @app.local_entrypoint()
        def keywords(**kwargs):
            pass
    """,
    "postponed.py": """
        from __future__ import annotations
        import modal
        app = modal.App()

        @app.local_entrypoint()
        def fine(a: int | None = None):
            pass

        @app.local_entrypoint()
        def unknown(a: pathlib.Path):
            pass
    """,
    "single.py": """
        import modal
        application = modal.App()

        @application.function()
        def only(x: int = 1):
            pass
    """,
    "empty.py": "import modal\napp = modal.App()\n",
    "same.py": """
        import modal
        app = modal.App()

        @app.cls()
        class C:
            size: int = modal.parameter(default=3)

            @modal.method()
            def run(self, size: int = 1):
                pass
    """,
    "generators.py": """
        import modal
        app = modal.App()

        @app.function()
        def f():
            yield 1
    """,
    "fails.py": "def f():\n    return 1 / 0\n\nf()\n",
    "syntax.py": "def f(:\n    pass\n",
    "exits.py": "raise SystemExit(6)\n",
    "my.dotted.py": "import modal\n",
    "pkg/__init__.py": "",
    "pkg/common.py": "import modal\napp = modal.App()\n",
    "pkg/inner.py": """
        from .common import app

        @app.local_entrypoint()
        def main():
            pass
    """,
    "imports_app.py": "from prog import app\n",
    "two.py": """
        import modal
        app = modal.App()

        @app.local_entrypoint()
        def one():
            pass

        @app.local_entrypoint()
        def two():
            pass
    """,
}

LINES = """
run
run --help
run -q
run --bogus prog.py
run prog.py
run prog.py::main
run prog.py::main --a 2 --flag
run prog.py::main --a=2 --no-flag
run prog.py::main --a x
run prog.py::main --bogus
run prog.py::main --fla
run prog.py::main pos
run prog.py::main --help
run prog.py::main -h
run prog.py::app
run prog.py::app.main
run prog.py::app.f
run prog.py::app.C.m
run prog.py::f --x 2
run prog.py::C
run prog.py::C.m --n 4 --y z
run prog.py::C.k --y z
run prog.py::other
run prog.py::hidden
run prog.py::other.hidden
run prog.py::nope
run prog.py::mian
run prog.py:main
run prog
run -m prog
run -m prog::main --a 3
run my.dotted.py
run two.py
run two.py::one
run single.py
run single.py --x 2
run single.py::nope
run imports_app.py
run imports_app.py::f
run imports_app.py::app.f
run empty.py
run fails.py
run syntax.py
run exits.py
run same.py
run generators.py
run pkg/inner.py
run -m pkg.inner
run -i -q prog.py
run typed.py::plain
run typed.py::plain --a 1
run typed.py::plain --a 1 --b x
run typed.py::plain --a 1 --a 2
run typed.py::flag
run typed.py::flag --no-on
run typed.py::when --at 2026-01-31
run typed.py::when --at tomorrow
run typed.py::optional
run typed.py::optional --a 1 --c x
run typed.py::literal --mode r --level 2
run typed.py::literal --mode z
run typed.py::literal --mode r --level 3
run typed.py::literal --mode --level
run typed.py::literal --mod r
run typed.py::annotated --a 1
run typed.py::untyped --a 1
run typed.py::untyped
run typed.py::lists --xs a
run typed.py::enums --colour RED
run typed.py::paths --a-path x
run typed.py::either --a 1
run typed.py::dates --a 2026-01-31
run typed.py::anything --a 1
run typed.py::flags --a 1
run typed.py::maybe_literal --a r
run typed.py::rest x --bogus -v
run typed.py::rest -- --help
run typed.py::rest_and_more --a 1
run typed.py::keywords
run typed.py::keywords --kwargs 1
run postponed.py::fine --a 1
run postponed.py::unknown --a 1
run --detach prog.py
run --timestamps -n x -e dev prog.py
run --profile p prog.py
""".strip().splitlines()


def write_programs(folder: Path) -> None:
    for name, text in PROGRAMS.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text))


def error_of(err: str, folder: Path) -> str:
    """The line of stderr that says what is wrong: of a message, or the last of a traceback."""
    lines = [line.rstrip() for line in err.replace(str(folder), ".").splitlines() if line.strip()]
    for line in lines:
        if line.startswith("Error: "):
            return line
    for line in reversed(lines):
        if re.match(r"[A-Za-z_.]+(Error|Exception): ", line):
            return line
    return ""


def outcome(python: str, line: str) -> dict[str, object]:
    """What the client of `python` makes of a command line."""
    with tempfile.TemporaryDirectory() as folder, socket.create_server(("127.0.0.1", 0)) as server:
        write_programs(Path(folder))
        environment = {
            **{name: value for name, value in os.environ.items() if "MOORAGE" not in name},
            "COLUMNS": "1000",
            "HOME": folder,
            "MODAL_RICH_CLI": "0",
            "MODAL_SERVER_URL": f"http://127.0.0.1:{server.getsockname()[1]}",
            "MODAL_TOKEN_ID": "ak-nobody",
            "MODAL_TOKEN_SECRET": "as-nobody",
            "NO_COLOR": "1",
            "PYTHONPATH": "",
        }
        process = subprocess.Popen(
            [str(Path(python).with_name("modal")), *line.split()],
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert process.stderr is not None
        with process:
            err = ""
            # The client has said what it refuses when its stderr ends.
            while True:
                ready, _, _ = select.select([server, process.stderr], [], [], PATIENCE)
                if server in ready or not ready:
                    process.kill()
                    assert ready, f"{line}: neither refused nor accepted"
                    return {"code": ACCEPTED, "error": ""}
                data = os.read(process.stderr.fileno(), 65536).decode()
                if not data:
                    break
                err += data
            return {"code": process.wait(), "error": error_of(err, Path(folder))}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--python", required=True)
    python = parser.parse_args().python
    with ThreadPoolExecutor(4) as pool:
        found = pool.map(lambda line: outcome(python, line), LINES)
        recorded = dict(zip(LINES, found, strict=True))
    RECORDED.write_text(json.dumps(recorded, indent=1) + "\n")
    print(f"{len(recorded)} command lines", file=sys.stderr)


if __name__ == "__main__":
    main()
