"""The examples run, as a user would run them, and notice when they are wrong."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

EXAMPLES = Path(__file__).parent.parent / "examples"
STDLIB_INDEX = EXAMPLES / "stdlib_index.py"


@pytest.fixture
def stdlib_index(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    spec = importlib.util.spec_from_file_location("stdlib_index", STDLIB_INDEX)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    # typing and pickle look classes up where they say they are from.
    monkeypatch.setitem(sys.modules, spec.name, module)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def sixty_files() -> subprocess.CompletedProcess[str]:
    """One run of the example, as its users start it, that must leave nothing open."""
    return subprocess.run(
        [sys.executable, "-W", "error::ResourceWarning", str(STDLIB_INDEX), "--limit", "60"],
        capture_output=True,
        text=True,
        timeout=300,
    )


def test_stdlib_index_finds_what_the_plain_loop_finds(
    sixty_files: subprocess.CompletedProcess[str],
) -> None:
    shown = sixty_files.stdout

    assert sixty_files.returncode == 0, shown + sixty_files.stderr
    assert sixty_files.stderr == ""
    counts = {
        name: int(count.replace(",", ""))
        for name, count in re.findall(r"^([a-z]+) +([\d,]+)(?:  cannot be parsed)?$", shown, re.M)
    }
    assert list(counts) == ["modules", "lines", "functions", "classes", "skipped"]
    assert counts["modules"] + counts["skipped"] == 60
    assert min(counts["lines"], counts["functions"], counts["classes"]) > 0
    assert "the ten largest modules" in shown
    assert re.search(r"^with moorage +60 of 60 files$", shown, re.M)
    assert re.search(r"^plain loop +60 of 60 files$", shown, re.M)
    assert shown.endswith("the totals are the same\n")


def test_stdlib_index_shows_peaks_within_its_limits(
    sixty_files: subprocess.CompletedProcess[str],
) -> None:
    used = re.findall(
        r"^(fetch|Indexer) \(.*\) +(\d+) +(\d+) +(\d+) \(\d+ started\)$", sixty_files.stdout, re.M
    )

    assert [name for name, *_ in used] == ["fetch", "Indexer"]
    for _, peak, limit, containers in used:
        assert 1 <= int(peak) <= int(limit)
        assert int(containers) >= 1


def test_stdlib_index_exits_with_1_when_the_plain_loop_finds_another_function(
    stdlib_index: ModuleType,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    plain = stdlib_index.index_in_a_loop

    def miscounted(port: int, names: list[str]) -> list[object]:
        first, *others = plain(port, names)
        return [first._replace(functions=first.functions + 1), *others]

    monkeypatch.setattr(stdlib_index, "index_in_a_loop", miscounted)

    assert stdlib_index.main(["--limit", "3"]) == 1
    shown = capsys.readouterr().out
    assert "the totals are the same" not in shown
    assert re.search(r"functions: [\d,]+ with moorage, [\d,]+ in the plain loop", shown)


def test_stdlib_index_differences_name_each_total(stdlib_index: ModuleType) -> None:
    module = stdlib_index.Module("spam", 10, 2, 1)

    assert stdlib_index.differences([module, None], [module, None]) == []
    assert stdlib_index.differences([module, None], [module, module]) == [
        "modules: 1 with moorage, 2 in the plain loop",
        "lines: 10 with moorage, 20 in the plain loop",
        "functions: 2 with moorage, 4 in the plain loop",
        "classes: 1 with moorage, 2 in the plain loop",
        "skipped: 1 with moorage, 0 in the plain loop",
    ]


def test_stdlib_index_differences_see_behind_equal_totals(stdlib_index: ModuleType) -> None:
    one, two = stdlib_index.Module("one", 10, 2, 1), stdlib_index.Module("two", 20, 0, 0)

    assert stdlib_index.differences([one, two], [two, one]) == [
        "the totals are the same, but not what they are made of"
    ]
