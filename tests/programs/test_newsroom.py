"""A package with relative imports, run as a module and by paths."""

from pathlib import Path

import pytest

from programs.running import HERE, Shell


@pytest.fixture
def newsroom(tmp_path: Path) -> Shell:
    return Shell(tmp_path / "home", HERE / "newsroom")


SATURDAY = """\
Saturday, 31 January
1. Ajax beats Porto
2. Lens beats Roma
3. Blue: 2 stars for polka
"""


def test_a_package_is_run_as_a_module_and_a_script_beside_it_by_its_path(newsroom: Shell):
    edition = ("run", "-q", "-m", "newsroom.edition::publish", "--day")
    assert newsroom.run(*edition, "2026-01-31").stdout == SATURDAY
    thursday = newsroom.run(*edition, "2026-01-01", "--matches", "como-nice")
    assert thursday.stdout.splitlines()[:2] == ["Thursday, 01 January", "1. Como beats Nice"]
    issues = newsroom.run("run", "-q", "-m", "newsroom.edition::issues")
    assert issues.stdout == "2026-01-01\n2026-01-31\n"

    # The exit code is that which the script gives to sys.exit.
    printed = newsroom.run("run", "-q", "print_edition.py", "--day", "2026-01-01", code=3)
    expected = "1. {} BEATS {}\nComo beats Nice\nKind of Blue: 5 stars for jazz\n"
    assert (printed.stdout, printed.stderr) == (expected.format("COMO", "NICE"), "")
    # From another directory, the folder of the script is where the package is found.
    elsewhere = Shell(newsroom.home, newsroom.home)
    script = str(HERE / "newsroom" / "print_edition.py")
    printed = elsewhere.run("run", "-q", script, "--day", "2026-01-31")
    assert printed.stdout == expected.format("AJAX", "PORTO")


def test_a_module_with_two_entrypoints_says_what_there_is(newsroom: Shell):
    done = newsroom.run("run", "-m", "newsroom.edition", code=1)
    for name in ("publish", "issues"):
        assert name in done.stderr


def test_a_module_of_the_package_by_its_path_says_how_to_run_it(newsroom: Shell):
    done = newsroom.run("run", "newsroom/edition.py::publish", "--day", "2026-01-31", code=1)
    assert "relative imports" in done.stderr
    assert "moorage run -m newsroom.edition::publish" in done.stderr
