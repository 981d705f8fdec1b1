"""A timeout of a minute: who ran out of time cleans up, and its slot is free again."""

import asyncio

import pytest

import moorage
from moorage.exception import FunctionTimeoutError, QueueTimeoutError

app = moorage.App("reports")
open_files = set()


@app.function(timeout=60, queue_timeout=45)
async def report(seconds: float) -> str:
    open_files.add(seconds)
    try:
        await asyncio.sleep(seconds)
    finally:
        open_files.remove(seconds)
    return "done"


def test_a_report_that_takes_too_long(fake_container, virtual_clock):
    container = fake_container(report)
    slow, waits = container.submit(3600), container.submit(1)
    with pytest.raises(QueueTimeoutError):
        waits.result()
    assert virtual_clock.now() == 45
    assert isinstance(slow.exception(), FunctionTimeoutError)
    assert virtual_clock.now() == 60
    assert open_files == set()
    assert container.call(1) == "done"
