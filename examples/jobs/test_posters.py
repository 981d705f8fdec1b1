"""The job queue of ``posters.py``: from the order to the poster, and until it is removed."""

import posters


def order(client, text):
    response = client.post("/jobs", params={"text": text})
    assert response.status_code == 202
    return response.json()["job"]


def state(client, job):
    return client.get(f"/jobs/{job}").json()["state"]


def test_a_poster_takes_its_time(client, clock):
    job = order(client, "hello")
    clock.sleep(4.9)
    assert state(client, job) == "running"
    assert client.get(f"/jobs/{job}/poster").status_code == 404
    clock.sleep(0.2)
    assert state(client, job) == "done"
    assert client.get(f"/jobs/{job}/poster").text == "*********\n* HELLO *\n*********\n"


def test_two_workers_and_a_queue(client, clock):
    began = clock.now()
    three = [order(client, "four") for _ in range(3)]
    assert clock.now() == began  # ordering waits for nobody
    clock.sleep(1)
    assert [state(client, job) for job in three] == ["running", "running", "waiting"]
    clock.sleep(4)
    assert [state(client, job) for job in three] == ["done", "done", "running"]


def test_no_order_is_lost(client, clock):
    texts = [f"number {n}" for n in range(20)]
    jobs = [order(client, text) for text in texts]
    clock.sleep(20 * 9)
    assert [state(client, job) for job in jobs] == ["done"] * 20
    assert posters.orders.len() == 0
    for job, text in zip(jobs, texts, strict=True):
        assert text.upper() in client.get(f"/jobs/{job}/poster").text


def test_a_text_that_does_not_fit(client, clock):
    wrong, right = order(client, "x" * 21), order(client, "ok")
    clock.sleep(3)
    status = client.get(f"/jobs/{wrong}").json()
    assert (status["state"], status["why"]) == ("failed", "21 letters do not fit on a poster of 20")
    assert state(client, right) == "done"


def test_what_is_old_is_removed(client, clock):
    old = order(client, "old")
    clock.sleep(20 * 3600)
    new = order(client, "new")
    clock.sleep(6 * 3600)
    assert client.get(f"/jobs/{old}").status_code == 404
    assert state(client, new) == "done"
    assert [path.name for path in posters.FOLDER.iterdir()] == [new]


def test_a_job_that_nobody_ordered(client):
    assert client.get("/jobs/none").status_code == 404
    assert client.get("/jobs/none/poster").status_code == 404
