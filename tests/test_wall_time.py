"""The wall time of virtual clocks: ``VirtualClock(at=...)``, ``time`` and ``datetime`` alike."""

from __future__ import annotations

import asyncio
import datetime as datetimes
import logging
import pickle
import sys
import threading
import time
import types
import warnings
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import pytest

import moorage as modal
from moorage.exception import InvalidError
from moorage.runtime.clocks import blocking
from moorage.testing import VirtualClock, explore

BEGINS = datetime(2026, 1, 31, 23, 59, 30, 250_000, tzinfo=UTC)
METHODS = [(datetime, "now"), (datetime, "utcnow"), (date, "today")]
REAL = [vars(kind)[name] for kind, name in METHODS]


@pytest.fixture(autouse=True)
def nothing_is_left() -> Iterator[None]:
    yield
    left = zip(METHODS, REAL, strict=True)
    assert all(vars(kind)[name] is real for (kind, name), real in left)


@pytest.fixture
def in_tokyo(monkeypatch):
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def utcnow(kind=datetime):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        return kind.utcnow()


def test_all_that_read_the_wall_time_agree(in_tokyo):
    with VirtualClock(at=BEGINS) as clock, clock.patch_time():
        clock.sleep(60)
        at, here = BEGINS + timedelta(seconds=60), datetime(2026, 2, 1, 9, 0, 30, 250_000)
        assert time.time() == at.timestamp()
        assert time.time_ns() == int(at.timestamp() * 1000) * 10**6
        assert datetime.now(UTC) == datetimes.datetime.now(tz=UTC) == at
        assert datetime.now() == datetime.today() == datetime.now(None) == here
        assert datetime.now(ZoneInfo("Europe/Berlin")).isoformat() == (
            "2026-02-01T01:00:30.250000+01:00"
        )
        assert utcnow() == at.replace(tzinfo=None)
        assert date.today() == datetimes.date.today() == date(2026, 2, 1)
        assert time.gmtime()[:6] == time.gmtime(None)[:6] == (2026, 2, 1, 0, 0, 30)
        assert time.localtime()[:6] == time.localtime(None)[:6] == (2026, 2, 1, 9, 0, 30)
        assert time.strftime("%Y-%m-%d %H:%M:%S") == "2026-02-01 09:00:30"
        assert time.ctime() == time.ctime(None) == time.asctime() == "Sun Feb  1 09:00:30 2026"
        # Those with a time of their own.
        assert time.gmtime(0)[:3] == (1970, 1, 1)
        assert time.strftime("%Y", time.gmtime(0)) == "1970"
        assert time.asctime(time.gmtime(0)) == "Thu Jan  1 00:00:00 1970"
        assert time.monotonic() == 60


def test_without_a_date_virtual_time_begins_at_the_present():
    before = int(time.time())
    with VirtualClock() as clock, clock.patch_time():
        begins = time.time()
        assert begins == int(begins)  # sums of whole seconds are exact
        assert datetime.now(UTC).timestamp() == begins
        clock.sleep(3600)
        assert time.time() == begins + 3600
    assert before <= begins <= time.time()


def test_a_date_without_a_zone_is_in_the_zone_of_the_computer(in_tokyo):
    at = datetime(2026, 1, 31, 12)
    with VirtualClock(at=at) as clock, clock.patch_time():
        assert datetime.now() == at
        assert datetime.now(UTC) == datetime(2026, 1, 31, 3, tzinfo=UTC)
    at = at.replace(tzinfo=timezone(timedelta(hours=1)))
    with VirtualClock(at=at) as clock, clock.patch_time():
        assert datetime.now(UTC) == datetime(2026, 1, 31, 11, tzinfo=UTC)


@pytest.mark.parametrize(
    "wrong",
    [0, "2026-01-31", date(2026, 1, 31), datetime.min.replace(tzinfo=ZoneInfo("Asia/Tokyo"))],
)
def test_a_wrong_date_is_refused(wrong):
    with pytest.raises(InvalidError, match=r"at .*; write VirtualClock\(at="):
        VirtualClock(at=wrong)


def test_dates_long_ago_are_exact():
    at = datetime(1969, 7, 20, 20, 17, 40, 123_457, tzinfo=UTC)
    with VirtualClock(at=at) as clock, clock.patch_time():
        assert datetime.now(UTC) == at


class Moment(datetime):
    @classmethod
    def fromtimestamp(cls, timestamp, tz=None):
        raise AssertionError("datetime.now does not call this")


class Day(date):
    pass


def test_subclasses_and_values_are_what_they_were():
    with VirtualClock(at=BEGINS) as clock, clock.patch_time():
        assert type(Moment.now()) is type(utcnow(Moment)) is Moment
        assert Moment.now(UTC) == BEGINS
        assert type(Day.today()) is Day
        assert type(datetime.now()) is datetime is datetimes.datetime
        assert BEGINS.now(UTC) == BEGINS  # as a method of a value
        now = datetime.now(UTC)
        assert pickle.loads(pickle.dumps(now)) == now
        assert datetime.now.__name__ == "now"
        assert datetime.now.__doc__
        with pytest.raises(TypeError):
            datetime.now(1)
        with pytest.raises(TypeError):
            date.today(1)
        assert isinstance(time.time(), float)


@pytest.mark.skipif(sys.version_info < (3, 12), reason="not deprecated yet")
def test_utcnow_warns_as_it_does():
    def call():
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            datetime.utcnow()
        return [(str(each.message), each.category, each.filename) for each in caught]

    real = call()
    with VirtualClock() as clock, clock.patch_time():
        assert call() == real != []


def test_threads_that_take_no_part_and_the_standard_library_keep_the_real_date():
    seen = []
    with VirtualClock(at=BEGINS) as clock, clock.patch_time():
        thread = threading.Thread(target=lambda: seen.extend([datetime.now(UTC), date.today()]))
        thread.start()
        thread.join()
        record = logging.LogRecord("x", logging.INFO, "f", 1, "text", (), None)
    assert seen[0] > BEGINS + timedelta(days=100)
    assert seen[1] > BEGINS.date() + timedelta(days=100)
    assert record.created > BEGINS.timestamp() + 10**6


def test_two_clocks_have_their_own_dates():
    seen = []

    def other(clock):
        with clock:
            clock.sleep(5)
            seen.append(datetime.now(UTC))

    later = VirtualClock(at=BEGINS + timedelta(days=1))
    with VirtualClock(at=BEGINS) as clock, clock.patch_time(), later.patch_time():
        thread = threading.Thread(target=other, args=(later,))
        thread.start()
        thread.join()
        assert datetime.now(UTC) == BEGINS
    assert seen == [BEGINS + timedelta(days=1, seconds=5)]


def test_only_the_modules_that_are_given(monkeypatch):
    module = types.ModuleType("shop")
    exec("from datetime import date, datetime", vars(module))
    exec("def now(tz=None): return datetime.now(tz), date.today()", vars(module))
    monkeypatch.setitem(sys.modules, "shop", module)
    with VirtualClock(at=BEGINS) as clock, clock.patch_time(module):
        assert module.now(UTC) == (BEGINS, date(2026, 1, 31))
        assert datetime.now(UTC) > BEGINS + timedelta(days=100)
        assert date.today() > date(2026, 2, 28)


def test_functions_of_every_kind_see_the_date_of_the_run():
    app = modal.App()

    @app.function()
    def sync():
        return datetime.now(UTC)

    @app.function()
    async def asynchronous():
        await asyncio.sleep(1)
        return datetime.now(UTC)

    @app.function()
    def stream():
        time.sleep(1)
        yield datetime.now(UTC)
        yield date.today()

    @app.function()
    @modal.batched(max_batch_size=2, wait_ms=1000)
    def batch(numbers):
        return [datetime.now(UTC) for _ in numbers]

    @app.cls()
    class Service:
        @modal.enter()
        def begin(self):
            self.begun = time.strftime("%Y", time.gmtime())

        @modal.method()
        def ask(self):
            return self.begun, utcnow()

    second = timedelta(seconds=1)
    with VirtualClock(at=BEGINS) as clock, clock.patch_time(), app.run(clock=clock):
        assert sync.remote() == sync.local() == BEGINS
        assert asynchronous.remote() == BEGINS + second
        assert list(stream.remote_gen()) == [BEGINS + 2 * second, date(2026, 1, 31)]
        assert batch.remote(1) == BEGINS + 3 * second
        assert Service().ask.remote() == ("2026", (BEGINS + 3 * second).replace(tzinfo=None))


def test_a_formatter_may_take_a_function_of_the_time_as_its_attribute():
    with VirtualClock() as clock, clock.patch_time():

        class InUTC(logging.Formatter):
            converter = time.gmtime

        record = logging.LogRecord("x", logging.INFO, "f", 1, "text", (), None)
        record.created = 0.0
        assert InUTC("%(asctime)s").format(record).startswith("1970-01-01 00:00:00")


def test_another_tool_that_has_patched_since_is_left_alone(monkeypatch):
    with VirtualClock(at=BEGINS) as clock:
        with clock.patch_time():
            mine = classmethod(lambda cls, tz=None: "mine")
            blocking.change_types({datetime: vars(datetime)}, {datetime: {"now": mine}})
        assert datetime.now() == "mine"
        blocking.change_types({datetime: vars(datetime)}, {datetime: {"now": REAL[0]}})


def test_explored_runs_are_the_same_on_another_day():
    seen = []
    explore(lambda: seen.append((datetime.now(UTC), time.time())), runs=3)
    assert seen == [(datetime(2020, 1, 1, tzinfo=UTC), 1577836800)] * 3
