"""A training that crashes and goes on, and a scraper: both with a Volume at an absolute path."""

from __future__ import annotations

import contextlib
import json
import signal
import threading
from collections import Counter
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from .running import HERE, Shell, killed_if_it_hangs, needs_mounts


def test_a_training_goes_on_where_it_crashed(tmp_path: Path) -> None:
    needs_mounts()
    shell = Shell(tmp_path, HERE / "training")

    first = shell("run", "train.py", "--experiment", "baseline", "--crash-at", "5")
    assert first.code == 1
    assert first.out == (
        "training baseline for 8 epochs\n"
        "baseline: starting from scratch\n"
        "baseline: saved epoch 2\n"
        "baseline: saved epoch 4\n"
    )
    assert "RuntimeError: CUDA error: out of memory (epoch 5)" in first.err
    assert 'raise RuntimeError(f"CUDA error' in first.err

    # From another folder, as people do.
    second = Shell(tmp_path)("run", "training/train.py", "--learning-rate", "0.1")
    assert second.well() == (
        "training baseline for 8 epochs\n"
        "baseline: resuming from /checkpoints/baseline/epoch-0004.json\n"
        "baseline: saved epoch 6\n"
        "baseline: saved epoch 8\n"
        "done: {'weight': 3.0, 'bias': -1.0, 'epoch': 8}\n"
        "epoch-0002.json loss<1: True\n"
        "epoch-0004.json loss<1: True\n"
        "epoch-0006.json loss<1: True\n"
        "epoch-0008.json loss<1: True\n"
        "the last checkpoint has some bytes\n"
    )

    # The function alone, with its own options; it has nothing to do any more.
    third = shell("run", "train.py::train", "--experiment", "baseline", "--epochs", "8")
    assert third.well() == "baseline: resuming from /checkpoints/baseline/epoch-0008.json\n"

    listed = shell("volume", "ls", "training-checkpoints", "baseline").well().splitlines()
    assert listed == [f"baseline/epoch-000{n}.json" for n in (2, 4, 6, 8)]
    saved = shell("volume", "get", "training-checkpoints", "baseline/epoch-0008.json", "-")
    assert json.loads(saved.well())["epoch"] == 8


def test_two_programs_with_homes_of_their_own_need_one_path(tmp_path: Path) -> None:
    """One ends while the other one trains: /checkpoints stays where it is."""
    needs_mounts()

    def start(name: str) -> Training:
        return Training(Shell(tmp_path / name, HERE / "training"), name)

    with start("one") as one, start("two") as two:
        one.saves()
        two.saves()
        assert one.ends() == ""
        for _ in range(3):
            two.saves()
        assert two.ends() == ""


class Training:
    """A training that saves now and then, until it is stopped."""

    def __init__(self, shell: Shell, name: str) -> None:
        self.name = name
        self.process = shell.start(
            *("run", "-q", "train.py::train", "--experiment", name),
            *("--epochs", "10000000", "--save-every", "20000"),
        )
        self._killed_if_it_hangs = killed_if_it_hangs(self.process)

    def __enter__(self) -> Training:
        self._killed_if_it_hangs.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self._killed_if_it_hangs.__exit__(*error)

    def saves(self) -> None:
        """Wait until it has saved once more."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if line.startswith(f"{self.name}: saved epoch"):
                return
        raise AssertionError(self.process.communicate()[1])

    def ends(self) -> str:
        """Press Ctrl-C; return what was said but for that."""
        self.process.send_signal(signal.SIGINT)
        _, err = self.process.communicate()
        assert self.process.returncode == 130
        return err.replace("Aborted! Ctrl-C stopped the program.\n", "")


class Site:
    """A small site: `/` links to four pages that are answered only when all four are asked."""

    LINKS = {
        "/": ["/a", "/b", "/c", "/d", "https://elsewhere.example/"],
        "/a": ["/", "/busy", "/dead#top"],
        "/b": ["a", "/broken"],
        "/c": [],
        "/d": ["/busy"],
        "/busy": [],
    }

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.asked: Counter[str] = Counter()
        self.agents: set[str] = set()
        self.inside = 0
        self.most = 0
        self.together = threading.Barrier(4)

    def answer(self, path: str, agent: str) -> tuple[int, str]:
        with self.lock:
            self.asked[path] += 1
            self.agents.add(agent)
            self.inside += 1
            self.most = max(self.most, self.inside)
            times = self.asked[path]
        try:
            if path in ("/a", "/b", "/c", "/d"):
                self.together.wait(30)
        finally:
            with self.lock:
                self.inside -= 1
        if path == "/broken" or (path == "/busy" and times < 3):
            return 503, "busy"
        if path not in self.LINKS:
            return 404, "not here"
        links = "".join(f'<a href="{link}">x</a>' for link in self.LINKS[path])
        return 200, f"<title>Page {path}</title>{links}"


@contextlib.contextmanager
def served(site: Site) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, text = site.answer(self.path, self.headers["user-agent"])
            self.send_response(status)
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, *_: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = False  # so that they are joined

    with Server(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/"
        finally:
            server.shutdown()
            thread.join()


def test_a_scraper_asks_again_and_writes_to_its_volume(tmp_path: Path) -> None:
    needs_mounts()
    shell = Shell(tmp_path, HERE / "scraper")
    site = Site()
    with served(site) as url:
        ended = shell("run", "scraper.py", "--site", url)
    index = json.loads(shell("volume", "get", "scraped-pages", "latest/index.json", "-").well())
    size = sum(page["size"] for page in index["pages"])
    assert ended.well() == (
        "200 /            Page /\n"
        "200 /a           Page /a\n"
        "200 /b           Page /b\n"
        "200 /busy        Page /busy\n"
        "200 /c           Page /c\n"
        "200 /d           Page /d\n"
        "404 /dead\n"
        "FAILED /broken: 503\n"
        f"7 pages, {size} bytes, 1 failed\n"
    )
    once = dict.fromkeys(["/", "/a", "/b", "/c", "/d", "/dead"], 1)
    assert site.asked == {**once, "/busy": 3, "/broken": 5}
    assert site.agents == {"modal-scraper/1.0"}
    assert site.most == 4

    assert index["site"] == url
    paths = [Path(page["path"]) for page in index["pages"] if page["path"]]
    assert {path.parent for path in paths} == {Path("/data/latest/pages")}
    listed = shell("volume", "ls", "scraped-pages", "/latest/pages").well().split()
    assert sorted(listed) == sorted(f"latest/pages/{path.name}" for path in paths)
    busy = next(path.name for path in paths if path.name.startswith("busy-"))
    text = shell("volume", "get", "scraped-pages", f"/latest/pages/{busy}", "-").well()
    assert text == "<title>Page /busy</title>"
