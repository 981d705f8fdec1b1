"""The examples of the README run, as a user would run them, and notice when they are wrong."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

import moorage

ROOT = Path(__file__).parent.parent


def moorage_run(
    *arguments: str, warnings: str = "error::ResourceWarning"
) -> subprocess.CompletedProcess[str]:
    """Run ``moorage run *arguments`` in the root of the repository."""
    return subprocess.run(
        [sys.executable, "-W", warnings, "-m", "moorage", "run", *arguments],
        cwd=ROOT,
        env={name: value for name, value in os.environ.items() if "MOORAGE" not in name},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


@pytest.fixture
def stdlib_index(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The example as a module, in which ``import modal`` gives moorage."""
    monkeypatch.setitem(sys.modules, "modal", moorage)
    spec = importlib.util.spec_from_file_location("stdlib_index", ROOT / "examples/stdlib_index.py")
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
    return moorage_run("-q", "examples/stdlib_index.py", "--limit", "60")


def test_hello_digests_files_in_order(tmp_path: Path) -> None:
    (tmp_path / "b.txt").write_text("b")
    (tmp_path / "a.txt").write_text("a")

    done = moorage_run("-q", "examples/hello.py", "--folder", str(tmp_path))

    assert done.stdout == "ca978112ca1bbdca a.txt\n3e23e8160039594a b.txt\n"
    assert (done.returncode, done.stderr) == (0, "")


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
    assert re.search(r"^plain loop: 60/60 done$", shown, re.M)
    assert "the totals are the same\n" in shown


def test_stdlib_index_shows_peaks_within_its_limits(
    sixty_files: subprocess.CompletedProcess[str],
) -> None:
    used = re.findall(r"^at once (.*?) +(\d+) of (\d+)$", sixty_files.stdout, re.M)

    assert [name for name, *_ in used] == ["in one Indexer", "at the file server"]
    for _, peak, limit in used:
        assert 1 <= int(peak) <= int(limit)


def test_stdlib_index_has_every_file_in_one_container(
    sixty_files: subprocess.CompletedProcess[str],
) -> None:
    (shares,) = re.findall(r"^files by each Indexer +(.*)$", sixty_files.stdout, re.M)
    told = re.findall(r"^an Indexer ends after (\d+) files$", sixty_files.stdout, re.M)

    assert sorted(map(int, shares.split(", "))) == sorted(map(int, told)), sixty_files
    assert sum(map(int, told)) == 60


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

    with stdlib_index.app.run(), pytest.raises(SystemExit) as left:
        stdlib_index.main(limit=3)
    assert left.value.code == 1
    shown = capsys.readouterr().out
    assert "the totals are the same" not in shown
    assert re.search(r"functions: [\d,]+ in the containers, [\d,]+ in the plain loop", shown)


def test_stdlib_index_differences_name_each_total(stdlib_index: ModuleType) -> None:
    module = stdlib_index.Module("spam", 10, 2, 1)

    assert stdlib_index.differences([module, None], [module, None]) == []
    assert stdlib_index.differences([module, None], [module, module]) == [
        "modules: 1 in the containers, 2 in the plain loop",
        "lines: 10 in the containers, 20 in the plain loop",
        "functions: 2 in the containers, 4 in the plain loop",
        "classes: 1 in the containers, 2 in the plain loop",
        "skipped: 1 in the containers, 0 in the plain loop",
    ]


def test_stdlib_index_differences_see_behind_equal_totals(stdlib_index: ModuleType) -> None:
    one, two = stdlib_index.Module("one", 10, 2, 1), stdlib_index.Module("two", 20, 0, 0)

    assert stdlib_index.differences([one, two], [two, one]) == [
        "the totals are the same, but not what they are made of"
    ]


def test_stdlib_index_tells_what_was_over_its_limits(stdlib_index: ModuleType) -> None:
    indexed = [stdlib_index.Indexed(None, "one", at_once) for at_once in (3, 16, 17)]

    assert stdlib_index.excess(indexed[:2], 24) == []
    assert stdlib_index.excess(indexed, 25) == [
        "17 inputs ran at once in an Indexer, over its limit",
        "the server had 25 requests at once, over the limit of fetch",
    ]
