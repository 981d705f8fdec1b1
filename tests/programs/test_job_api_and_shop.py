"""Programs that spawn jobs and ask for them, and that look each other up."""

import signal
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from programs.running import Served, Shell


@pytest.fixture
def client(shell: Shell):
    with (
        shell.serving("serve", "job_api.py", "--port", "0") as served,
        served.client("api") as client,
    ):
        client.served = served
        yield client


def submit(client: httpx.Client, name: str, content: bytes) -> str:
    response = client.post("/jobs", files={"document": (name, content, "text/plain")})
    assert response.status_code == 201, response.text
    return response.json()["job_id"]


def finished(client: httpx.Client, job: str) -> httpx.Response:
    """Ask until the job is neither queued nor running."""
    while (response := client.get(f"/jobs/{job}")).status_code == 202:
        assert response.json()["state"] in ("queued", "running", "done", "cancelled")
    return response


def test_jobs_are_posted_asked_for_and_cancelled(client: httpx.Client, shell: Shell):
    served: Served = client.served

    short = submit(client, "invoice.txt", b"one two\fthree\ffour five six")
    assert finished(client, short).json() == {"name": "invoice.txt", "pages": 3, "words": 6}
    assert client.get(f"/jobs/{short}").status_code == 200, "the result can be read again"
    assert served.wait_for("page 3") == "INFO invoice.txt: page 3 of 3"

    smudged = submit(client, "smudged.txt", b"a smudged page")
    assert finished(client, smudged).json()["words"] == 3

    binary = submit(client, "picture.png", b"\x89PNG")
    assert finished(client, binary).status_code == 422

    book = submit(client, "book.txt", b"\f".join([b"page"] * 100_000))
    while client.get(f"/jobs/{book}").json()["state"] != "running":
        pass
    with ThreadPoolExecutor(20) as pool:
        jobs = list(pool.map(lambda n: submit(client, f"{n:02}.txt", b"x " * n), range(1, 21)))
        results = list(pool.map(lambda job: finished(client, job).json()["words"], jobs))
    assert results == list(range(1, 21))

    assert client.delete(f"/jobs/{book}").status_code == 204
    response = finished(client, book)
    assert (response.status_code, response.json()) == (409, {"detail": "the job was cancelled"})

    assert client.get("/jobs/fc-unknown").status_code == 404
    assert client.post("/jobs", files={"document": ("empty.txt", b"")}).status_code == 422
    assert client.post("/jobs").status_code == 422
    assert client.get("/jobs", headers={"Host": "jobs.localhost"}).status_code == 200

    states = {job["name"]: (job["state"], job["attempts"]) for job in client.get("/jobs").json()}
    assert states["invoice.txt"] == ("done", 1)
    assert states["smudged.txt"] == ("done", 2)
    assert states["picture.png"] == ("running", 3)
    assert states["book.txt"] == ("cancelled", 1)
    assert len(states) == 24

    served.end()
    assert served.stdout == []
    kept = shell.run("dict", "get", "job-api-states", short).stdout
    assert kept == "{'name': 'invoice.txt', 'state': 'done', 'attempts': 1}\n"


def test_two_apps_that_look_each_other_up(shell: Shell):
    command = ("deploy", "shop/stock.py", "shop/orders.py", "--port", "0")
    with shell.serving(*command) as served:
        report = served.url("report_page")
        with httpx.Client(base_url=served.url("web"), timeout=60) as client:
            assert httpx.get(report, timeout=60).json() == {"sold": 0, "price": 350}

            def buy(_: int) -> httpx.Response:
                return client.post("/orders", json={"article": "tea"})

            with ThreadPoolExecutor(5) as pool:
                answers = list(pool.map(buy, range(5)))
            assert sorted(answer.status_code for answer in answers) == [201, 201, 201, 409, 409]
            sold = [answer.json() for answer in answers if answer.status_code == 201]
            assert sorted(answer["left"] for answer in sold) == [0, 1, 2]
            assert {answer["cents"] for answer in sold} == {350}
            refused = next(answer.json() for answer in answers if answer.status_code == 409)
            assert refused == {"detail": "only 0 of tea left"}

            assert client.post("/orders", json={"article": "cake", "count": 2}).json() == {
                "left": 1,
                "cents": 840,
            }
            assert client.post("/orders", json={"article": "hat"}).status_code == 404
            assert client.post("/orders", json={"count": "many"}).status_code == 422
            assert client.get("/orders/tea").json() == 3
            label = {"Host": "shop-report.localhost"}
            assert client.get("/", headers=label).json() == {"sold": 1890, "price": 350}
        served.end(signal.SIGTERM, 0)
    assert served.stdout == []
    assert shell.run("dict", "get", "shop-total", "cents").stdout == "1890\n"
    assert shell.run("queue", "len", "shop-orders", "--partition", "cake").stdout == "1\n"


def test_one_app_alone_says_what_it_does_not_find(shell: Shell):
    with shell.serving("serve", "shop/orders.py", "--port", "0") as served:
        answer = httpx.post(served.url("web") + "/orders", json={"article": "tea"}, timeout=60)
        assert answer.status_code == 500
        said = served.wait_for("NotFoundError")
        assert "deploy the files of both apps by one `moorage deploy`" in said
