"""Programs that are whole sites: a frontend of files with an API, web hooks, notes by Flask."""

import hashlib
import hmac
import json
from concurrent.futures import ThreadPoolExecutor

import httpx

from programs.running import HERE, Shell, needs_mounts


def test_a_frontend_an_api_and_photos_on_a_volume(shell: Shell):
    needs_mounts()
    with (
        shell.serving("serve", "photo_site/backend.py", "--port", "0") as served,
        served.client("Site.web") as client,
    ):
        frontend = HERE / "photo_site" / "frontend"
        assert client.get("/").content == (frontend / "index.html").read_bytes()
        css = client.get("/css/site.css")
        assert css.headers["content-type"].startswith("text/css")
        unchanged = client.get("/css/site.css", headers={"If-None-Match": css.headers["etag"]})
        assert unchanged.status_code == 304
        assert client.get("/nothing.html").status_code == 404

        photo = bytes(range(256)) * 10_000

        def chunks(number: int):
            yield bytes([number])
            for start in range(0, len(photo), 65_536):
                yield photo[start : start + 65_536]

        def upload(number: int) -> dict:
            return client.put(f"/api/photos/{number}.jpg", content=chunks(number)).json()

        with ThreadPoolExecutor(8) as pool:
            answers = list(pool.map(upload, range(8)))
        for number, answer in enumerate(answers):
            small = bytes([number]) + photo[:9]
            assert answer == {
                "size": len(photo) + 1,
                "thumbnail": hashlib.md5(small).hexdigest(),
            }
        assert client.get("/api/photos/3.jpg").content == b"\3" + photo
        small = client.get("/api/photos/3.jpg", params={"small": True})
        assert small.content == b"\3" + photo[:9]
        assert small.headers["content-disposition"] == 'attachment; filename="3.jpg"'
        part = client.get("/api/photos/3.jpg", headers={"Range": "bytes=1-4"})
        assert (part.status_code, part.content) == (206, photo[:4])
        assert part.headers["content-range"] == f"bytes 1-4/{len(photo) + 1}"
        assert client.get("/api/photos/9.jpg").status_code == 404
        assert client.get("/api/share?people=4").json() == {"photos": 2.0}
        share = client.get("/api/share")
        assert (share.status_code, share.text) == (418, "nothing to share")
        names = sorted(f"{number}.jpg" for number in range(8))
        while sorted((status := client.get("/api/status").json())["tidied"]) != names:
            pass
        assert sorted(status["uploads"]) == names
    listed = shell.run("volume", "ls", "photo-site-photos", "original").stdout.split()
    assert sorted(listed) == [f"original/{name}" for name in names]


def test_web_hooks_are_signed_handled_and_called_back(shell: Shell):
    shell.environment["MOORAGE_PROXY_TOKENS"] = "wk-1:ws-1"
    with shell.serving("serve", "webhooks.py", "--port", "0") as served:
        hook, admin = served.url("receive"), served.url("admin")
        tokens = {"Modal-Key": "wk-1", "Modal-Secret": "ws-1"}

        def send(event: dict, key: bytes = b"hush") -> httpx.Response:
            body = json.dumps(event).encode()
            sign = {"X-Signature": hmac.new(key, body, hashlib.sha256).hexdigest()}
            return httpx.post(hook, content=body, headers=sign, timeout=60)

        pong = send({"type": "ping"})
        assert (pong.text, pong.headers["x-event"]) == ("pong", "ping")
        assert send({"type": "ping"}, b"guess").status_code == 401
        assert httpx.post(hook, json={"type": "ping"}, timeout=60).status_code == 422
        for number in range(10):
            assert send({"type": "push", "id": f"event {number}"}).json() == {"call": "fc"}
        seen: list[str] = []
        while len(seen) < 10:
            params = {"limit": 4, "verbose": "yes"}
            answer = httpx.get(admin, headers=tokens, params=params, timeout=60)
            assert answer.json()["verbose"] is True
            seen += answer.json()["done"]
        assert sorted(seen) == [f"event {number}" for number in range(10)]
        assert httpx.get(admin).status_code == 401
        assert httpx.get(admin, headers={**tokens, "Modal-Secret": "x"}).status_code == 401
        assert httpx.post(hook, headers={"Host": "hook.localhost"}).status_code == 422
        forgotten = httpx.delete(served.url("forget"), timeout=60)
        assert (forgotten.status_code, forgotten.cookies["forgotten"]) == (202, "yes")
        assert httpx.post(served.url("callback"), json={}, timeout=60).status_code == 422
    assert not any("Traceback" in line for line in served.stderr), served.stderr
    assert sum("(needs a token)" in line for line in served.stderr) == 1


def test_without_tokens_no_url_claims_to_need_one(shell: Shell):
    with shell.serving("serve", "webhooks.py", "--port", "0") as served:
        answer = httpx.get(served.url("admin"), timeout=60)
        assert answer.json() == {"done": [], "verbose": False}
    assert not any("(needs a token)" in line for line in served.stderr)
    assert any("nothing is checked" in line for line in served.stderr)


def test_notes_of_teams_by_flask_stay_on_a_volume(shell: Shell):
    needs_mounts()
    with shell.serving("serve", "flask_notes/notes.py", "--port", "0") as served:
        url = served.url("Notes.web")
        with httpx.Client(base_url=url, timeout=60, follow_redirects=True) as red:
            for number in range(3):
                answer = red.post("/notes?team=red", data={"text": f"red {number}"})
            assert answer.json() == {
                "team": "red",
                "notes": ["red 0", "red 1", "red 2"],
                "visits": 3,
            }
            files = {"notes": ("notes.txt", b"one\ntwo\n", "text/plain")}
            assert red.post("/upload?team=blue", files=files).json() == {"added": 2}
            assert red.get("/stream?team=blue").text == "blue: one\nblue: two\n"
            assert red.get("/").json() == {"team": "all", "notes": [], "visits": 4}
            assert red.post("/notes").status_code == 400
            assert red.get("/attic").status_code == 404
    done = shell.run("run", "-q", "flask_notes/notes.py", "red", "blue", "all")
    assert (done.stdout, done.stderr) == ("red 3\nblue 2\nall 0\n", "")
