"""A mock is run by a fake container as any function is."""

from unittest.mock import AsyncMock

import pytest

import moorage


def test_the_third_attempt_succeeds(fake_container, virtual_clock):
    fetch = AsyncMock(name="fetch", side_effect=[ConnectionError("503"), TimeoutError(), "a page"])
    retries = moorage.Retries(max_retries=2, initial_delay=10.0, backoff_coefficient=2.0)
    container = fake_container(fetch, retries=retries)
    assert container.call("/") == "a page"
    assert virtual_clock.now() == 10 + 20
    assert fetch.await_count == 3
    assert container.events.of("settled")[0].input == "fetch('/')"


@pytest.mark.asyncio
async def test_a_full_backlog_lets_a_task_wait(fake_container, virtual_clock):
    container = fake_container(AsyncMock(return_value="done"), max_backlog=1, on_full="wait")
    submissions = [await container.submit.aio(i) for i in range(5)]
    assert [await submission for submission in submissions] == ["done"] * 5
