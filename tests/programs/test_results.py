"""Programs that compute: maps in maps, searches, streams, reports."""

import datetime
import json
import re
from importlib.util import find_spec
from pathlib import Path

from .running import HERE, Shell, needs_mounts


def test_maps_in_maps(shell: Shell) -> None:
    assert shell("run", "nested.py").well() == (
        "60 chapters of 12 books\n"
        "     the 71\n"
        "     sea 60\n"
        "   whale 59\n"
        "levels: book, chapter, shelf\n"
        "factorials: [1, 2, 6, 24, 120, 720]\n"
        "fibonacci: 8\n"
        "error from the middle: 'str' object cannot be interpreted as an integer\n"
    )


def test_an_async_entrypoint(shell: Shell) -> None:
    ended = shell("run", "async_main.py", "--count", "6")
    assert ended.well() == (
        "squares: [0, 1, 4, 9, 16, 25]\n"
        "powers: [8, 9, 1]\n"
        "blocking: [25, 7]\n"
        "gathered: 121 1024\n"
        "tick 0\n"
        "tick 1\n"
        "tick 2\n"
        "['ann says hi', 'ann says bye']\n"
        "spawned: 32\n"
        "gathered calls: [1, 4, 9]\n"
        "first of a map: 0\n"
        "TypeError: unsupported operand type(s) for ** or pow(): 'str' and 'int'\n"
        "the session of ann is closed\n"
    )
    assert "Warning" not in ended.err
    assert "Traceback" not in ended.err


def test_a_search_whose_trials_fail_and_hang(shell: Shell) -> None:
    out = shell("run", "hyperparameters.py").well()
    # `gather` raises the error that comes first, which may be that of any failing trial.
    out = re.sub(r"(?<=gather: diverged with lr=0.9 depth=)[248]", "N", out)
    assert out == (
        "6 scores, 3 failures; the best is lr=0.1 depth=4\n"
        "failed: lr=0.9 depth=2, lr=0.9 depth=4, lr=0.9 depth=8\n"
        "gathered in order: True\n"
        "gather: diverged with lr=0.9 depth=N\n"
        "lr=0.01 depth=2: 0.01\n"
        "lr=0.01 depth=4: ran out of time\n"
        "lost patience\n"
        "cancelled\n"
        "generous: 5.5\n"
    )


def test_a_report_of_documents(shell: Shell, tmp_path: Path) -> None:
    needs_mounts()
    report = tmp_path / "report.json"
    ended = shell("run", "-w", str(report), "documents/pipeline.py", "--minimum", "2")
    lines = ended.well().splitlines()
    # Each reader that was started has left; how many and when, the autoscaler knows.
    left = [line for line in lines if line.startswith("a reader read ")]
    assert 1 <= len(left) <= 3
    assert [line for line in lines if line not in left] == ["4 documents", "3 read, 1 unreadable"]
    written = json.loads(report.read_text())
    assert written == {
        "documents": [
            {"path": "letters/ada.txt", "words": 8, "top": []},
            {"path": "moby.txt", "words": 13, "top": []},
            {"path": "notes.md", "words": 5, "top": ["idea"]},
        ],
        "errors": ["broken.txt: not UTF-8 at byte 0"],
        "words": 26,
        "year": datetime.datetime.now(datetime.UTC).year,
    }

    # One method by itself, in the folder of the program.
    inside = Shell(shell.home, HERE / "documents")
    read = inside("run", "pipeline.py::Reader.read", "--path", "letters/ada.txt")
    assert read.well() == "a reader read some documents\n"
    # Only text and bytes can be written.
    refused = inside("run", "-w", "x.json", "pipeline.py::Reader.read", "--path", "moby.txt")
    assert refused.code == 1
    assert not (HERE / "documents" / "x.json").exists()


def test_streams_through_a_pipeline(shell: Shell) -> None:
    ended = shell("run", "generators.py")
    assert ended.well() == (
        "INFO pipeline: parse begins\n"
        "INFO pipeline: 12 lines, 3 errors\n"
        "/page/0 3 3.00\n"
        "/page/1 3 1.50\n"
        "/page/2 3 1.00\n"
        "/page/3 3 0.75\n"
        "stored: 4 6.25\n"
        "changed: 0.5\n"
        "windows: [[1, 2], [3, 4], [5]]\n"
        "reversed: [3, 2, 1]\n"
        "WARNING pipeline: after [0, 1, 2]: the pipe is closed\n"
        "first: POST /page/0 500\n"
    )
    assert shell("dict", "get", "generator-totals", "/page/0").well() == "0.5\n"


def test_packages_of_an_image(shell: Shell) -> None:
    shell = Shell(shell.home, HERE / "features")
    ended = shell("run", "app.py", "--query", "banana,no,queue")
    assert ended.well() == (
        "banana -> a banana (1.00)\nno -> oh no (1.00)\nqueue -> queue (1.00)\nMoby 2 errors\n"
    )
    assert shell("run", "app.py::plan", "--query", "a,b").code == 0
    if find_spec("sentence_transformers") is None:
        failed = shell("run", "app.py::rerank", "--query", "x")
        assert failed.code == 1
        assert "No module named 'sentence_transformers'" in failed.err
    wanted = shell("requirements", "app.py").well().splitlines()
    assert {"pydantic>=2", "httpx", "torch", "sentence-transformers"} <= set(wanted)
