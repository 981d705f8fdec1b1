"""Every test lives in virtual time, and begins with an empty queue and an empty folder."""

import posters
import pytest

from moorage import config
from moorage.testing import web_client


@pytest.fixture(autouse=True)
def clock(virtual_clock):
    with virtual_clock.patch_time():
        yield virtual_clock


@pytest.fixture
def client(run_app, monkeypatch, tmp_path):
    # The command line mounts the volume at /posters; here the program uses a folder of the test.
    monkeypatch.setattr(config, "mounts", "ignore")
    monkeypatch.setattr(posters, "FOLDER", tmp_path)
    posters.jobs.clear()
    posters.orders.clear()
    run_app(posters.app)
    with web_client(posters.site) as client:
        yield client
