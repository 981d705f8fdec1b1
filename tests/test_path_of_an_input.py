"""The walk in docs/path-of-an-input.md: each function there is called, in that order."""

from __future__ import annotations

import re
import sys
import threading
from pathlib import Path

import moorage

PAGE = Path(__file__).resolve().parent.parent / "docs" / "path-of-an-input.md"
ROOT = f"{Path(moorage.__file__).parent}/"


def walk_of_the_page():
    text = PAGE.read_text().partition("## One argument")[2].partition("\n## ")[0]
    return re.findall(r"^\| [\w' ]*\| `([\w.]+)` \| `([\w/.]+)` \|", text, re.MULTILINE)


def calls_of(function, argument):
    """All functions of the library that are called while `function.remote` runs, in order."""
    calls = []

    def note(frame, event, _):
        code = frame.f_code
        if event == "call" and code.co_filename.startswith(ROOT):
            calls.append((code.co_qualname, code.co_filename.removeprefix(ROOT)))

    before = threading.getprofile(), sys.getprofile()
    threading.setprofile(note)  # for the worker, which starts in the run
    app = function.app
    try:
        with app.run():
            function.remote(argument)  # its container and its worker are there from now on
            calls.clear()
            sys.setprofile(note)
            function.remote(argument)
            sys.setprofile(before[1])
            return list(calls)
    finally:
        threading.setprofile(before[0])
        sys.setprofile(before[1])


def is_walk(walk, calls):
    left = iter(calls)
    return all(step in left for step in walk)


def test_an_argument_goes_the_way_of_the_page_and_its_result_comes_back():
    app = moorage.App("walk")

    @app.function()
    def double(x):
        return 2 * x

    walk = walk_of_the_page()
    assert len(walk) == 11
    calls = calls_of(double, 3)
    assert is_walk(walk, calls), [step for step in walk if step not in calls]
    assert not is_walk(walk[::-1], calls)


def test_an_async_input_goes_through_the_other_lane():
    app = moorage.App("walk")

    @app.function()
    async def double(x):
        return 2 * x

    file_of_tasks = "runtime/containers/task_lane.py"
    other = {"ThreadLane.place": "TaskLane.place", "ThreadLane._run": "TaskLane._code"}
    walk = [
        (other[name], file_of_tasks) if name in other else (name, file)
        for name, file in walk_of_the_page()
    ]
    assert is_walk(walk, calls_of(double, 3))
