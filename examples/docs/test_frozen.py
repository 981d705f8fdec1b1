"""Freezegun: the date stands still, and moves when the test says so."""

import asyncio
from datetime import datetime, timedelta

import pytest
from freezegun import freeze_time

import moorage

app = moorage.App("invoices")
NEW_YEAR = datetime(2026, 1, 1)


@app.function()
async def invoice(wait: float) -> str:
    await asyncio.sleep(wait)
    return datetime.now().strftime("%Y-%m-%d %H:%M")


@pytest.fixture
def sleep(virtual_clock):
    with freeze_time(NEW_YEAR) as frozen:

        def sleep(seconds: float) -> None:
            virtual_clock.sleep(seconds)
            frozen.move_to(NEW_YEAR + timedelta(seconds=virtual_clock.now()))

        yield sleep


def test_the_date_of_an_invoice(sleep, fake_container, virtual_clock):
    container = fake_container(invoice)
    assert container.call(60) == "2026-01-01 00:00"  # frozen: the date stands still
    sleep(24 * 3600)
    assert container.call(0) == "2026-01-02 00:01"
    assert virtual_clock.now() == 60 + 24 * 3600
