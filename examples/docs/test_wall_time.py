"""A test at a date of its choice: half a year of invoices."""

from collections.abc import Generator
from datetime import UTC, date, datetime

import pytest

import moorage
from moorage.testing import VirtualClock

app = moorage.App("invoices")
dates: list[date] = []


@app.function(schedule=moorage.Cron("0 9 28-31 * *", timezone="Europe/Berlin"))
def send_invoices() -> None:
    today = date.today()
    if today.day == 31:
        dates.append(today)


@pytest.fixture
def virtual_clock() -> Generator[VirtualClock]:
    with VirtualClock(at=datetime(2026, 1, 1, tzinfo=UTC)) as clock:
        yield clock


def test_invoices_of_half_a_year(run_app, virtual_clock):
    with virtual_clock.patch_time():
        run_app(app)
        virtual_clock.sleep(181 * 24 * 3600)
        assert datetime.now(UTC) == datetime(2026, 7, 1, tzinfo=UTC)
    assert dates == [date(2026, month, 31) for month in (1, 3, 5)]
