"""The marker ``moorage_explore``: suites as users write them, each run by a pytest of its own."""

from __future__ import annotations

import pytest

import moorage.testing.explore_marker  # noqa: F401  # imported here, not in the suites
from test_pytest_plugin import run as run

SHOP = """
import time
stock = {}

@app.function(max_containers=2)
async def sell(customer):
    await asyncio.sleep(1)
    if not stock["book"]:
        return False
    await asyncio.sleep(0)
    stock["book"] -= 1
    return True
"""


def explored(run, suite, *args, **options):
    return run(SHOP + suite, *args, **options)


def test_each_run_has_fixtures_of_its_own_scope_and_wider_ones_stay(run):
    done = run(
        """
        made = []

        @pytest.fixture(scope="module")
        def wide():
            made.append("wide")
            yield
            made.append("no more")

        @pytest.fixture(autouse=True)
        def own(wide, request):
            made.append("own")
            yield
            made.append("gone")

        class TestAll:
            @pytest.fixture
            def of_class(self, tmp_path):
                self.seen = []
                return tmp_path

            @pytest.mark.moorage_explore(runs=5)
            def test_one(self, of_class, virtual_clock, fake_container, run_app):
                assert virtual_clock.now() == 0
                assert not list(of_class.iterdir())
                (of_class / "mine").touch()
                assert self.seen == []
                assert not hasattr(self, "number")
                self.number = 1
                assert run_app(app) is app
                assert fake_container(brew).call(1) == 1
                assert brew.remote(2) == 2
                assert virtual_clock.now() == 200

        def test_after():
            assert made == ["wide"] + ["own", "gone"] * 5 + ["own"]
    """,
    )
    done.assert_outcomes(passed=2)


def test_a_failure_has_its_assertion_its_seed_its_timeline_and_what_to_write(run):
    suite = """
@pytest.mark.moorage_explore
def test_one_book(virtual_clock, run_app):
    stock["book"] = 1
    print("one", "run")
    run_app(app)
    assert sum(sell.map("ab")) == 1

def test_after(): ...
    """
    done = explored(run, suite)
    done.assert_outcomes(passed=1, failed=1)
    text = done.stdout.str()
    assert "assert sum(sell.map(" in text
    assert "AssertionError: assert 2 == 1" in text
    assert text.count("one run") == 1  # of this run only
    (seed,) = {
        line.split("seed=")[1].split(":")[0] for line in done.outlines if "with seed" in line
    }
    done.stdout.fnmatch_lines(
        [
            f"E*failed with seed={seed}: pytest test_suite.py::test_one_book --moorage-seed={seed} "
            f"runs this order again, and so does @pytest.mark.moorage_explore(runs=1, seed={seed})",
            "E*sell('a')*result sell-*",
        ]
    )
    again = explored(run, suite, f"--moorage-seed={seed}")
    again.assert_outcomes(passed=1, failed=1)
    told, told_again = (
        [line for line in each.outlines if line.startswith("E ") and " at 0x" not in line]
        for each in (done, again)
    )
    assert told == told_again
    good = explored(run, suite.replace("moorage_explore", "moorage_explore(runs=1, seed=0)"))
    good.assert_outcomes(passed=1 if seed == "0" else 2, failed=1 if seed == "0" else 0)


def test_a_pass_says_how_many_orders_there_were(run):
    suite = """
    @pytest.mark.moorage_explore(runs=20)
    def test_two(virtual_clock, run_app):
        run_app(app)
        assert sorted(double.map([1, 2])) == [2, 4]

    @pytest.mark.moorage_explore(runs=3, seed=7, preempt=2)
    def test_lines(virtual_clock): ...
    """
    done = run(suite, "-vrA")
    done.assert_outcomes(passed=2)
    done.stdout.fnmatch_lines(
        [
            "*::test_two PASSED (20 runs, * different orders)*",
            "*::test_lines PASSED (3 runs, 1 different orders)*",
            "*20 runs passed, in * different orders; sync code was not preempted*",
            "*3 runs passed, in 1 different orders; code was preempted at up to 2 lines*",
        ]
    )


ASYNC = """
    order = []

    @{fixture}.fixture
    async def slow():
        await asyncio.sleep(1)
        yield asyncio.get_running_loop()
        await asyncio.sleep(1)

    {mark}
    @pytest.mark.moorage_explore(runs=30)
    async def test_right(virtual_clock, slow{argument}):
        assert virtual_clock.now() == 1
        assert asyncio.get_running_loop() is slow

    {mark}
    @pytest.mark.moorage_explore(runs=30)
    async def test_wrong(virtual_clock{argument}):
        order = []

        async def note(n):
            await asyncio.sleep(1)
            order.append(n)

        await asyncio.gather(note(1), note(2))
        assert order == [1, 2]
"""


@pytest.mark.parametrize(
    ("mode", "mark", "fixture", "argument"),
    [
        ("strict", "@pytest.mark.asyncio", "pytest_asyncio", ""),
        ("auto", "", "pytest_asyncio", ""),
        ("strict", "@pytest.mark.anyio", "pytest", ", anyio_backend"),
    ],
)
def test_async_tests(run, mode, mark, fixture, argument):
    suite = ASYNC.format(mark=mark, fixture=fixture, argument=argument)
    if argument:
        suite = suite.replace("async def slow()", "async def slow(anyio_backend)")
    conftest = """
        import pytest

        @pytest.fixture
        def anyio_backend():
            return "asyncio"
    """
    done = run(suite, conftest=conftest, ini=f"asyncio_mode = {mode}\n")
    done.assert_outcomes(passed=1, failed=1)
    done.stdout.fnmatch_lines(["E*assert [[]2, 1] == [[]1, 2]*", "E*failed with seed=*"])


def test_time_is_patched_and_real_again_afterwards(run):
    done = run(
        """
        import time

        @pytest.mark.moorage_explore(runs=3)
        def test_nap(virtual_clock):
            time.sleep(3600)
            assert virtual_clock.now() == 3600

        def test_after():
            assert time.monotonic() < 1e9
            assert time.time() > 1.6e9
    """
    )
    done.assert_outcomes(passed=2)


def test_skips_and_expected_failures(run):
    suite = """
@pytest.mark.moorage_explore
def test_skips(virtual_clock):
    pytest.skip("not here")

@pytest.mark.moorage_explore
@pytest.mark.xfail(strict=True)
def test_a_known_race(virtual_clock, run_app):
    stock["book"] = 1
    run_app(app)
    assert sum(sell.map("ab")) == 1

@pytest.mark.moorage_explore(runs=5)
@pytest.mark.xfail(strict=True)
def test_no_race(virtual_clock): ...

@pytest.mark.moorage_explore(runs=5)
@pytest.mark.xfail
def test_no_race_either(virtual_clock): ...
    """
    done = explored(run, suite)
    done.assert_outcomes(skipped=1, xfailed=1, failed=1, xpassed=1)


def test_errors_of_fixtures_have_the_seed_too(run):
    done = run(
        """
        count = []

        @pytest.fixture
        def broken(virtual_clock):
            count.append(1)
            assert len(count) < 3
            yield
            virtual_clock.sleep(1)

        @pytest.mark.moorage_explore
        def test_setup(broken): ...

        @pytest.fixture
        def left(virtual_clock):
            yield
            virtual_clock.sleep(1)
            assert len(count) != 3

        @pytest.mark.moorage_explore
        def test_teardown(left): ...

        def test_after(): ...
    """
    )
    done.assert_outcomes(passed=2, errors=2)
    done.stdout.fnmatch_lines(["E*failed with seed=2: *", "E*failed with seed=0: *"])


def test_wrong_uses_are_refused_with_what_to_write(run):
    done = run(
        """
        @pytest.mark.moorage_explore
        def test_real(): raise AssertionError("ran")

        @pytest.mark.moorage_explore(20)
        def test_bare(virtual_clock): raise AssertionError("ran")

        @pytest.mark.moorage_explore(run=20)
        def test_name(virtual_clock): raise AssertionError("ran")

        @pytest.mark.moorage_explore(runs=0)
        def test_runs(virtual_clock): raise AssertionError("ran")

        @pytest.mark.moorage_explore(seed="7")
        def test_seed(virtual_clock): raise AssertionError("ran")

        @pytest.mark.moorage_explore(preempt=-1)
        def test_preempt(virtual_clock): raise AssertionError("ran")
    """
    )
    done.assert_outcomes(errors=6)
    done.stdout.fnmatch_lines(
        [
            "*write virtual_clock among its arguments: def test_real(virtual_clock)",
            "*got 20; write @pytest.mark.moorage_explore(runs=200)",
            "*got run=; write @pytest.mark.moorage_explore(runs=200)",
            "*got 0; write runs=200",
            "*got '7'; write seed=0",
            "*got -1; write preempt=2",
        ]
    )


def test_the_marker_in_a_session_that_stops_early(run):
    done = run(
        """
        @pytest.mark.moorage_explore(runs=5)
        def test_fails(virtual_clock): raise LookupError

        @pytest.mark.moorage_explore(runs=5)
        def test_after(virtual_clock): ...
    """,
        "-x",
    )
    done.assert_outcomes(failed=1)
