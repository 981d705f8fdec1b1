"""The test kit beside other tools of tests: pytest-xdist, coverage, freezegun, hypothesis."""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import datetime
from pathlib import Path
from textwrap import dedent

import pytest

SHOP = """
import asyncio
import moorage

app = moorage.App("shop")


@app.function()
def double(x):
    y = x + x
    return y


@app.function()
async def double_async(x, seconds=1):
    await asyncio.sleep(seconds)
    y = x + x
    return y


@app.function()
def count(n):
    for i in range(n):
        yield i


@app.function()
@moorage.batched(max_batch_size=2, wait_ms=10)
def double_all(xs):
    ys = [x + x for x in xs]
    return ys


@app.cls()
class Model:
    @moorage.enter()
    def load(self):
        self.factor = 2

    @moorage.method()
    def times(self, x):
        return self.factor * x

    @moorage.exit()
    def save(self):
        self.factor = None
"""

SUITE = """
import pytest
from shop import Model, app, count, double, double_all, double_async


@pytest.mark.parametrize("i", range(4))
def test_all(i, run_app, virtual_clock):
    run_app(app)
    assert double.remote(i) == double_async.remote(i) == Model().times.remote(i) == 2 * i
    assert list(count.remote_gen(i)) == list(range(i))
    assert list(double_all.map([1, 2, 3])) == [2, 4, 6]
    assert virtual_clock.now() >= 1


def test_in_real_time(run_app):
    run_app(app)
    assert double.remote(1) == Model().times.remote(1) == 2
"""

WIDER = """
import asyncio
import pytest
import moorage
from moorage.testing import VirtualClock

app = moorage.App("wider")


@app.cls(scaledown_window=3600)
@moorage.concurrent(max_inputs=4)
class Model:
    @moorage.method()
    async def wait(self, x):
        await asyncio.sleep(x)
        return x

    @moorage.method()
    def same(self, x):
        return x


@pytest.fixture(scope=SCOPE)
def clock():
    with VirtualClock() as clock:
        yield clock


@pytest.fixture(scope=SCOPE)
def running(clock):
    with app.run():
        yield


@pytest.mark.usefixtures("running")
class TestOne:
    def test_first(self, clock):
        before = clock.now()
        assert Model().wait.remote(5) == 5
        assert clock.now() == before + 5

    def test_second(self):
        assert list(Model().same.map(range(4))) == [0, 1, 2, 3]

    def test_third(self):
        assert list(Model().same.map(range(4))) == [0, 1, 2, 3]
"""


def run(where: Path, *command: str, **environment: str) -> str:
    """What the command prints; it must succeed."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("MOORAGE", "PYTEST", "COVERAGE"))
    }
    done = subprocess.run(
        [sys.executable, "-m", *command],
        cwd=where,
        env=kept | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


@pytest.fixture
def suite(tmp_path):
    (tmp_path / "shop.py").write_text(SHOP)
    (tmp_path / "test_shop.py").write_text(SUITE)
    settings = (
        "[pytest]\nmoorage_leak_check = true\nasyncio_default_fixture_loop_scope = function\n"
    )
    (tmp_path / "pytest.ini").write_text(settings)
    return tmp_path


PYTEST = ("pytest", "-q", "-p", "no:cacheprovider")


def test_a_suite_runs_in_several_processes(suite):
    pytest.importorskip("xdist")
    assert "5 passed" in run(suite, *PYTEST, "-n", "2")


@pytest.mark.parametrize(
    "core",
    [
        "ctrace",
        pytest.param(
            "sysmon", marks=pytest.mark.skipif(sys.version_info < (3, 12), reason="is new")
        ),
    ],
)
def test_coverage_sees_the_code_of_containers(suite, core):
    pytest.importorskip("coverage")
    run(suite, "coverage", "run", "-m", *PYTEST, COVERAGE_CORE=core)
    report = run(suite, "coverage", "report", "-m", "--include=shop.py", COVERAGE_CORE=core)
    assert "100%" in report, report


@pytest.mark.parametrize("scope", ["module", "session", "class"])
def test_a_clock_of_a_wider_scope_is_no_leak_of_a_test(suite, scope):
    (suite / "test_shop.py").write_text(WIDER.replace("SCOPE", repr(scope)))
    assert "3 passed" in run(suite, *PYTEST)


def test_a_clock_of_a_test_is_its_leak(suite):
    (suite / "test_shop.py").write_text(
        dedent("""
            from moorage.testing import VirtualClock
            kept = []

            def test_leaves_it():
                clock = VirtualClock()
                clock.__enter__()
                kept.append(clock)
                clock.sleep(1)
        """)
    )
    with pytest.raises(
        AssertionError, match=r"left behind: a VirtualClock, started at test_leaves"
    ):
        run(suite, *PYTEST)


def test_a_frozen_date_leaves_virtual_time_alone(fake_container, virtual_clock):
    freezegun = pytest.importorskip("freezegun")
    import asyncio
    import time

    async def work(seconds):
        await asyncio.sleep(seconds)
        return datetime.now()

    def block(seconds):
        time.sleep(seconds)
        return datetime.now()

    frozen_at = datetime(2026, 1, 1)
    before = fake_container(work)
    with freezegun.freeze_time(frozen_at):
        for container in (before, fake_container(work, max_inputs=2)):
            began = virtual_clock.now()
            assert container.call(3) == frozen_at
            assert virtual_clock.now() == began + 3
        with virtual_clock.patch_time():
            began = virtual_clock.now()
            assert fake_container(block).call(3) == frozen_at
            assert virtual_clock.now() == began + 3
