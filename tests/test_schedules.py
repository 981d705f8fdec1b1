"""Schedules: when functions are called while a run lasts, in virtual time."""

from __future__ import annotations

import logging
import queue
import sys
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

import moorage as modal
from moorage import schedule
from moorage.exception import InvalidError
from moorage.testing import VirtualClock

DAY = 86400
BEGINS = datetime(2020, 1, 1, tzinfo=UTC)
EPOCH = BEGINS.timestamp()


def scheduled(clock, schedule, seconds, **options):
    """The times at which the schedule called its function, while a run lasted so long."""
    app, times = modal.App(), []

    @app.function(schedule=schedule, serialized=True, **options)
    def work():
        times.append(clock.now())

    with app.run(clock=clock):
        clock.sleep(seconds)
    return times


@pytest.fixture
def clock():
    with VirtualClock(at=BEGINS) as clock:
        yield clock


def test_a_period_counts_from_the_beginning_of_the_run(clock):
    clock.sleep(7)
    assert scheduled(clock, modal.Period(minutes=1), 190) == [67, 127, 187]
    assert scheduled(clock, modal.Period(seconds=0.5, hours=1), 7300) == [3797.5, 7398.0]


def test_a_period_of_days_goes_by_the_calendar(clock):
    found = scheduled(clock, modal.Period(days=1, hours=1), 4 * DAY)
    assert found == [DAY + 3600, 2 * (DAY + 3600), 3 * (DAY + 3600)]


def test_months_end_where_they_end(clock):
    clock.sleep(30 * DAY)  # January 31, 2020
    found = scheduled(clock, modal.Period(months=1), 100 * DAY)
    dates = [datetime.fromtimestamp(EPOCH + each, UTC).date().isoformat() for each in found]
    # Each time comes from the planned time before.
    assert dates == ["2020-02-29", "2020-03-29", "2020-04-29"]
    (found,) = scheduled(clock, modal.Period(years=1), 370 * DAY)
    assert datetime.fromtimestamp(EPOCH + found, UTC).date().isoformat() == "2021-05-10"


def test_a_month_of_cron(clock):
    pytest.importorskip("cronsim")
    found = scheduled(clock, modal.Cron("0 */6 * * *"), 31 * DAY + 1)
    assert found == [6 * 3600.0 * i for i in range(1, 31 * 4 + 1)]


def local_times(zone, line, begin, seconds):
    with VirtualClock(at=begin) as clock:
        found = scheduled(clock, modal.Cron(line, timezone=zone), seconds)
    epoch = begin.timestamp()
    moments = (datetime.fromtimestamp(epoch + each, ZoneInfo(zone)) for each in found)
    return [each.strftime("%d %H:%M %z") for each in moments]


def test_cron_where_the_hour_is_left_out_and_where_it_is_doubled():
    pytest.importorskip("cronsim")
    zone = "Europe/Berlin"
    spring = datetime(2020, 3, 28, 12, tzinfo=ZoneInfo(zone))
    assert local_times(zone, "30 2 * * *", spring, 2 * DAY) == [
        "29 03:00 +0200",
        "30 02:30 +0200",
    ]
    autumn = datetime(2020, 10, 24, 12, tzinfo=ZoneInfo(zone))
    assert local_times(zone, "30 2 * * *", autumn, 2 * DAY) == [
        "25 02:30 +0200",
        "26 02:30 +0100",
    ]


def test_a_call_that_still_runs_does_not_stop_the_next(clock):
    app, times = modal.App(), []

    @app.function(schedule=modal.Period(seconds=10), max_containers=3)
    def slow():
        times.append(clock.now())
        clock.sleep(25)

    with app.run(clock=clock, drain=True):
        clock.sleep(41)
    assert times == [10, 20, 30, 40]
    assert slow.statistics() is None or slow.statistics().queued == 0


def test_errors_are_logged_and_retries_apply(clock, caplog):
    app, times = modal.App(), []

    @app.function(schedule=modal.Period(minutes=1), retries=modal.Retries(max_retries=1))
    def fails():
        times.append(clock.now())
        raise ValueError("not today")

    with caplog.at_level(logging.ERROR, "moorage"), app.run(clock=clock):
        clock.sleep(130)
    assert times == [60, 61, 120, 121]
    assert caplog.text.count("ValueError: not today") >= 2


def test_schedules_of_one_run_can_be_turned_off(clock):
    app, times = modal.App(), []

    @app.function(schedule=modal.Period(seconds=1))
    def work():
        times.append(clock.now())

    with app.run(clock=clock, schedules=False):
        clock.sleep(2.5)
    with app.run(clock=clock):
        clock.sleep(2.5)
    assert times == [3.5, 4.5]


def test_schedules_can_be_turned_off(clock, monkeypatch):
    monkeypatch.setattr(modal.config, "schedules", False)
    assert scheduled(clock, modal.Period(seconds=1), 10) == []


def test_nothing_is_called_outside_of_a_run_or_after_it(clock):
    app, times = modal.App(), []

    @app.function(schedule=modal.Period(seconds=1))
    def work():
        times.append(clock.now())

    clock.sleep(5)
    with app.run(clock=clock):
        clock.sleep(2.5)
    clock.sleep(5)
    assert times == [6, 7]


def test_schedules_of_included_apps_and_of_deployed_ones(clock):
    inner, outer, times = modal.App(), modal.App(), []

    @inner.function(schedule=modal.Period(seconds=1))
    def work():
        times.append(clock.now())

    outer.include(inner)
    with outer.run(clock=clock):
        clock.sleep(2.5)
    assert times == [1, 2]


def test_real_time_fires_too():
    app, found = modal.App(), queue.SimpleQueue()

    @app.function(schedule=modal.Period(seconds=0.01))
    def work():
        found.put(1)

    with app.run():
        assert [found.get(timeout=60) for _ in range(3)] == [1, 1, 1]


def test_times_that_have_passed_are_left_out():
    period = modal.Period(seconds=10)
    assert period._next(0, 0, 0) == 10
    assert period._next(10, 10, 0) == 20
    assert period._next(10, 35, 0) == 40
    assert period._next(10, 40, 0) == 50
    days = modal.Period(days=1)
    assert days._next(0, 3.5 * DAY, EPOCH) == 4 * DAY
    assert days._next(0, 0, EPOCH) == DAY


@pytest.mark.parametrize(
    "make",
    [
        lambda: modal.Cron("61 * * * *"),
        lambda: modal.Cron("* * * * * *"),
        lambda: modal.Cron("@sometimes"),
        lambda: modal.Cron("0 9 * * 1", timezone="Europe/Nowhere"),
    ],
)
def test_wrong_lines_of_cron(make, monkeypatch, clock):
    pytest.importorskip("cronsim")
    with pytest.raises(InvalidError, match="; write "):
        make()
    monkeypatch.setattr(modal.config, "strict", True)
    made = make()  # found when the run begins, as in Modal
    with pytest.raises(InvalidError, match="; write "):
        scheduled(clock, made, 1)


def test_a_system_without_a_database_of_time_zones(monkeypatch, clock):
    pytest.importorskip("cronsim")
    monkeypatch.setattr(schedule, "available_timezones", set)
    monkeypatch.setattr(schedule, "ZoneInfo", lambda name: (_ for _ in ()).throw(KeyError(name)))
    assert scheduled(clock, modal.Cron("0 0 * * *"), DAY + 1) == [DAY]
    with pytest.raises(InvalidError, match="pip install tzdata"):
        modal.Cron("0 9 * * 1", timezone="Europe/Berlin")


def test_strict_mode_accepts_periods_that_never_fire(clock, monkeypatch):
    monkeypatch.setattr(modal.config, "strict", True)
    assert scheduled(clock, modal.Period(), 10) == []


def test_without_cronsim_the_error_says_what_to_install(clock, monkeypatch):
    monkeypatch.setitem(sys.modules, "cronsim", None)
    made = modal.Cron("0 9 * * 1")
    with pytest.raises(ImportError, match=r'pip install "moorage\[resources\]"'):
        scheduled(clock, made, 1)
