"""Three lines: the app runs, in this process, in each test."""

import pytest
from shop import app


@pytest.fixture(autouse=True)
def running(run_app):
    return run_app(app)
