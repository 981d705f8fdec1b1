"""A box of tools: several entrypoints, functions and a class, each run from the command line.

    modal run toolbox.py::resize --width 80 --height 60.5 --no-keep
    modal run toolbox.py::Cutter.cut --size 3 --text "a long text"
    modal run toolbox.py::app.cut-all --dry-run
    modal run toolbox.py::report --since 2024-02-29 --format csv
"""

import datetime
from typing import Literal, Optional, Union

import modal

app = modal.App("example-toolbox")


@app.function(cpu=1)
def area(width: int, height: float = 1.0) -> float:
    """The area of a rectangle."""
    value = width * height
    print(f"area: {value}")
    return value


@app.function()
def repeat(text: str, times: int = 2, upper: bool = False) -> str:
    """Say it again."""
    said = " ".join([text] * times)
    said = said.upper() if upper else said
    print(said)
    return said


@app.cls(max_containers=2)
class Cutter:
    size: int = modal.parameter(default=2)
    end: str = modal.parameter(default="")
    exact: bool = modal.parameter(default=False)

    @modal.enter()
    def sharpen(self):
        self.blade = "sharp"

    @modal.method()
    def cut(self, text: str) -> list:
        """Cut a text into pieces."""
        pieces = [text[i : i + self.size] + self.end for i in range(0, len(text), self.size)]
        if self.exact and len(pieces[-1]) < self.size:
            raise ValueError(f"{text!r} does not divide by {self.size}")
        print(f"{self.blade}:", *pieces)
        return pieces

    @modal.method()
    def count(self, text: str, letter: Optional[str] = None) -> int:
        found = len(text) if letter is None else text.count(letter)
        print(f"count: {found}")
        return found


@app.local_entrypoint()
def resize(width: int, height: float = 48.0, keep: bool = True, name: Optional[str] = None):
    """Resize a picture."""
    print(f"width={width!r} height={height!r} keep={keep!r} name={name!r}")
    print(f"area={area.remote(width, height)!r}")


@app.local_entrypoint()
def report(
    since: datetime.datetime,
    format: Literal["text", "csv"] = "text",
    limit: Union[int, None] = None,
    level: Literal[1, 2, 3] = 2,
    ratio: float = 0.5,
):
    """Report what happened since a day."""
    row = [since.isoformat(), str(limit), str(level), f"{ratio:.2f}"]
    print((", " if format == "text" else ",").join(row))


@app.local_entrypoint()
def fail(code: int = 4, message: str = "the tool broke"):
    print(message)
    raise SystemExit(code)


@app.local_entrypoint(name="cut-all")
def cut_all(size: int = 3, dry_run: bool = False):
    """Cut several texts."""
    texts = ["harbour", "lighthouse"]
    if dry_run:
        print("would cut", len(texts))
        return
    for pieces in Cutter(size=size, end="|").cut.map(texts):
        print("".join(pieces))
