"""Programs that serve files: by a server of their own, and by WSGI from a volume."""

import json
import os
import signal
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx

from programs.running import HERE, Shell, assert_nothing_listens, needs_mounts


def runs(pid: int) -> bool:
    """Whether a process is there that has not ended; what nobody has reaped has ended."""
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
    return status.rpartition(")")[2].split()[0] != "Z"


def test_a_server_of_another_program(shell: Shell):
    needs_mounts()
    boat = (HERE / "gallery" / "pictures" / "boat.svg").read_bytes()
    with (
        shell.serving("serve", "gallery/gallery.py", "--port", "0") as served,
        served.client("gallery") as client,
    ):
        listing = client.get("/").json()
        assert listing["title"] == "Harbour"
        assert listing["pictures"] == {"boat.svg": len(boat), "buoy.svg": 62}
        picture = client.get("/boat.svg")
        assert (picture.content, picture.headers["content-type"]) == (boat, "image/svg+xml")
        head = client.head("/boat.svg")
        assert (head.content, head.headers["content-length"]) == (b"", str(len(boat)))
        moved = client.get("/moved")
        assert (moved.status_code, moved.headers["location"]) == (302, "/boat.svg")
        assert client.get("/plane.svg").status_code == 404
        large = bytes(range(256)) * 4096
        assert client.post("/", content=large).content == large[::-1]
        with ThreadPoolExecutor(20) as pool:
            answers = pool.map(lambda _: client.get("/").json()["pid"], range(60))
            assert set(answers) == {listing["pid"]}, "one server for all"
        # A server that dies is started again, and once only.
        os.kill(listing["pid"], signal.SIGKILL)
        while runs(listing["pid"]):
            pass
        assert client.get("/").status_code == 502
        listing = client.get("/").json()
        assert listing["title"] == "Harbour"
    assert_nothing_listens(18741)
    assert not runs(listing["pid"])
    assert served.stdout == ["python /root/server.py --port 18741 --folder /pictures"] * 2


def test_a_dashboard_whose_files_are_on_a_volume(shell: Shell):
    needs_mounts()
    done = shell.run("run", "-q", "dashboard.py", "--values", "20.5,21.5")
    assert (done.stdout, done.stderr) == ("kitchen: 2 measurements\n", "")

    with (
        shell.serving("serve", "dashboard.py", "--port", "0") as served,
        served.client("dashboard") as client,
    ):
        page = client.get("/", params={"title": "Home & garden"})
        assert page.text == (
            "<!doctype html><h1>Home &amp; garden</h1><table><tr><td>kitchen<td>2<td>21.00</table>"
        )

        def post(number: int) -> httpx.Response:
            return client.post("/record", data={"sensor": "garden", "value": number})

        with ThreadPoolExecutor(10) as pool:
            answers = list(pool.map(post, range(30)))
        assert {answer.status_code for answer in answers} == {303}
        counts = sorted(int(answer.headers["x-count"]) for answer in answers)
        assert counts == list(range(1, 31))
        wrong = client.post("/record", data={"sensor": "attic", "value": "warm"})
        assert wrong.status_code == 400
        assert wrong.text == "ValueError: could not convert string to float: 'warm'\n"
        lines = client.get("/export.csv").text.split("\r\n")
        assert lines[0] == "sensor,value"
        assert sorted(lines[1:-1]) == sorted(
            [*(f"garden,{float(n)}" for n in range(30)), "kitchen,20.5", "kitchen,21.5"]
        )
        missing = client.get("/attic?x=1")
        assert missing.status_code == 404
        assert missing.text == f"nothing at {served.url('dashboard')}/attic?x=1\n"
    assert served.stdout == []
    assert not any("Traceback" in line or "AssertionError" in line for line in served.stderr)

    volume = shell.home / "main" / "volumes" / "dashboard-measurements"
    lines = (volume / "garden.jsonl").read_text().splitlines()
    assert sorted(json.loads(line)["value"] for line in lines) == [
        float(number) for number in range(30)
    ]
    listed = shell.run("volume", "ls", "dashboard-measurements").stdout.split()
    assert sorted(listed) == ["garden.jsonl", "kitchen.jsonl"]
    assert not Path("/data/kitchen.jsonl").exists()
