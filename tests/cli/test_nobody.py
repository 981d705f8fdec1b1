"""The command as `nobody` runs it: volumes and files at their paths, without any privilege.

Under root the commands run as the user `nobody`; under another user, as that user.
"""

from __future__ import annotations

import os
import re
import sys
import textwrap
from collections.abc import Iterator

import pytest

from placing.outside import wait_for

from .users import NOBODY, User, skip_if_refused

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="mount namespaces are Linux's")

COMMAND = """
import runpy, sys
sys.argv[0] = "moorage"
runpy.run_module("moorage", run_name="__main__", alter_sys=True)
"""

PROGRAM = """
import os, subprocess
from pathlib import Path
import modal

app = modal.App("diary")
volume = modal.Volume.from_name("diary", create_if_missing=True)
image = modal.Image.debian_slim().add_local_file("motto.txt", "/moorage-assets/motto.txt")
PAGES = Path("/moorage-data/pages")


@app.function(image=image, volumes={"/moorage-data": volume})
def write(text):
    PAGES.mkdir(exist_ok=True)
    page = PAGES / f"{len(list(PAGES.iterdir()))}.txt"
    page.write_text(Path("/moorage-assets/motto.txt").read_text() + text)
    volume.commit()
    return subprocess.run(["cat", *sorted(PAGES.iterdir())], capture_output=True, text=True).stdout


@app.local_entrypoint()
def main(text: str):
    print(os.getuid(), write.remote(text))
"""


@pytest.fixture(scope="module")
def nobody() -> Iterator[User]:
    made = User(NOBODY if os.geteuid() == 0 else None)
    for name, text in (("diary.py", PROGRAM), ("motto.txt", "motto ")):
        (made.home / name).write_text(text)
        made.own(made.home / name)
    yield made
    made.remove()


@pytest.fixture(autouse=True)
def _namespaces(nobody: User, root_directory: None) -> Iterator[None]:
    skip_if_refused(nobody)
    yield
    wait_for(lambda: nobody.left == [] and not [n for n in os.listdir("/") if "moorage" in n])


def moorage(nobody: User, *arguments: str) -> tuple[int, str, str]:
    done = nobody.run(COMMAND, *arguments, PYTHONDONTWRITEBYTECODE="1")
    return done.returncode, done.stdout, re.sub(r"[\d.]+ s\b", "T s", done.stderr)


def test_two_runs_share_a_volume_at_its_path(nobody: User):
    code, out, err = moorage(nobody, "run", "diary.py", "--text", "one.")
    assert (code, out) == (0, f"{nobody.uid} motto one.\n"), err
    assert err == textwrap.dedent("""\
        run diary: main
        mounted: /moorage-assets/motto.txt, /moorage-data
        run diary: main done after T s
    """)
    code, out, err = moorage(nobody, "run", "-q", "diary.py", "--text", "two.")
    assert (code, out, err) == (0, f"{nobody.uid} motto one.motto two.\n", "")
    assert sorted(os.listdir(nobody.volumes / "diary" / "pages")) == ["0.txt", "1.txt"]


def test_a_shell_has_them_too(nobody: User):
    shown = moorage(nobody, "shell", "diary.py::write", "-c", "cat /moorage-assets/motto.txt")
    assert shown == (0, "motto ", "mounted: /moorage-assets/motto.txt, /moorage-data\n")


def test_without_mounts_the_error_says_what_to_write(nobody: User):
    code, out, err = moorage(nobody, "run", "--no-mounts", "diary.py", "--text", "three.")
    assert (code, out) == (1, "")
    assert "/moorage-data" in err
    assert "without it, `moorage run` mounts the path" in err
