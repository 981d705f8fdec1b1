"""The site of ``jobs.py``, through slots and containers, without a socket."""

import pytest
from jobs import app, site

from moorage.testing import web_client


@pytest.fixture
def client(run_app):
    run_app(app)
    with web_client(site) as client:
        yield client


def order(client, pages):
    response = client.post("/jobs", params={"pages": pages})
    assert response.status_code == 202
    return response.json()["job"]


def test_a_job_is_done_when_its_pages_are(client, clock):
    job = order(client, 3)
    clock.sleep(5.9)
    assert client.get(f"/jobs/{job}").json() == {"state": "running"}
    clock.sleep(0.2)
    done = client.get(f"/jobs/{job}").json()
    assert done == {"state": "done", "pages": ["page 1", "page 2", "page 3"]}


def test_ordering_waits_for_no_job(client, clock):
    for _ in range(10):
        order(client, 50)
    assert clock.now() == 0


def test_four_jobs_run_at_once_and_the_fifth_waits(client, clock):
    jobs = [order(client, 1) for _ in range(5)]
    clock.sleep(2.5)
    states = [client.get(f"/jobs/{job}").json()["state"] for job in jobs]
    assert states == ["done"] * 4 + ["running"]


def test_a_dropped_job_is_cancelled(client):
    job = order(client, 50)
    client.delete(f"/jobs/{job}")
    assert client.get(f"/jobs/{job}").json() == {"state": "cancelled"}


@pytest.mark.parametrize("pages", [0, 101])
def test_a_job_has_bounds(client, pages):
    assert client.post("/jobs", params={"pages": pages}).status_code == 422


def test_a_job_that_nobody_ordered(client):
    assert client.get("/jobs/fc-01ARZ3NDEKTSV4RRFFQ69G5FAV").status_code == 404
