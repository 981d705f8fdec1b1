"""The events of ``progress.py``: when each comes, and what happens when the reader leaves."""

import json

import progress
import pytest
from progress import app, site

from moorage.testing import web_client


@pytest.fixture
def client(run_app):
    progress.ended.clear()
    run_app(app)
    with web_client(site) as client:
        yield client


def test_each_event_comes_when_its_file_is_done(client, clock):
    with client.stream("GET", "/events?files=3") as response:
        assert response.headers["content-type"].startswith("text/event-stream")
        seen = [
            (json.loads(line.removeprefix("data: "))["done"], clock.now())
            for line in response.iter_lines()
            if line
        ]
    assert seen == [(1, 3), (2, 6), (3, 9)]
    assert progress.ended == [3]


def test_a_reader_who_leaves_ends_the_job(client, clock):
    with client.stream("GET", "/events?files=100") as response:
        next(response.iter_lines())
    clock.sleep(60)
    assert len(progress.ended) == 1
    assert progress.ended[0] < 3
