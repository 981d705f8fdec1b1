"""The marker ``moorage_explore``: a pytest test is run once for each seed, as by `explore`.

Owns the hooks that run a marked test again and again, and what its report says.  Each run sets
up and tears down the test as pytest does for another test of the same module: the fixtures
of the test's own scope, ``virtual_clock`` among them, are made anew.  ``pytest_plugin.py``
registers `ExploreMarker` when the first marked test is collected, and makes the clock of each run
by `clock_of_run`.

Begin at `ExploreMarker.pytest_runtest_protocol`.
"""

from __future__ import annotations

import sys
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any, Final

import pytest

from ..exception import InvalidError
from ..runtime.clocks.virtual_clock import VirtualClock
from .explore import NO_FAILURES, Explored, SeededRun, check_numbers

MARKER: Final = "moorage_explore"


def _call_and_report(item: Any, when: str, **options: Any) -> pytest.TestReport:
    """Run one phase of a test: not public, but what plugins that run tests again are built from."""
    report: pytest.TestReport = sys.modules["_pytest.runner"].call_and_report(item, when, **options)
    return report


class _Exploration:
    """The runs of one test."""

    def __init__(self, item: pytest.Item, only: int | None) -> None:
        self.problem: str | None = None  # why the test cannot be explored
        self.runs, self.seed, self.preempt = 200, 0, 0
        self.run: SeededRun | None = None  # the run whose clock was made last
        self.orders: set[int] = set()
        try:
            self._read(item)
        except InvalidError as error:
            self.problem = f"@pytest.mark.{MARKER}: {error}"
            self.runs, self.seed, self.preempt = 1, 0, 0
        if only is not None:
            self.runs, self.seed = 1, only

    def _read(self, item: pytest.Item) -> None:
        mark = item.get_closest_marker(MARKER)
        assert mark is not None
        numbers: dict[str, Any] = {"runs": 200, "seed": 0, "preempt": 0, **mark.kwargs}
        if mark.args or len(numbers) > 3:
            wrong = [repr(each) for each in mark.args]
            wrong += [f"{name}=" for name in numbers if name not in ("runs", "seed", "preempt")]
            raise InvalidError(
                f"the arguments are runs=, seed= and preempt=, got {', '.join(wrong)}; "
                f"write @pytest.mark.{MARKER}(runs=200)"
            )
        check_numbers(**numbers)
        self.runs, self.seed, self.preempt = numbers.values()
        if "virtual_clock" not in getattr(item, "fixturenames", ()):
            name = getattr(item, "originalname", item.name)
            raise InvalidError(
                "the seed chooses the order in virtual time, and this test uses real time; "
                f"write virtual_clock among its arguments: def {name}(virtual_clock)"
            )

    def end_run(self) -> None:
        if self.run is not None:
            self.orders.add(self.run.order)
            self.run = None

    def told(self) -> Explored:
        return Explored(self.runs, len(self.orders), self.preempt)

    def note_of(self, item: pytest.Item) -> str | None:
        """Return what the error of a run says; None if the run has no clock yet."""
        run = self.run
        if run is None:
            return None
        command = f"pytest {_quoted(item.nodeid)} --moorage-seed={run.clock.seed}"
        return (
            f"failed with {run.options}: {command} runs this order again, and so does "
            f"@pytest.mark.{MARKER}(runs=1, {run.options}){run.timelines()}"
        )


_exploration: Final = pytest.StashKey[_Exploration]()


@contextmanager
def clock_of_run(item: pytest.Item) -> Generator[VirtualClock]:
    """Make the clock of one test: with the seed of this run, if the test is explored."""
    exploration = item.stash.get(_exploration, None)
    if exploration is None:
        with VirtualClock() as clock:
            yield clock
        return
    assert exploration.run is None
    run = exploration.run = SeededRun(exploration.seed, exploration.preempt)
    with run.in_order(), run.clock:
        yield run.clock


class ExploreMarker:
    """The hooks of a session that has marked tests."""

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_protocol(
        self, item: pytest.Item, nextitem: pytest.Item | None
    ) -> bool | None:
        """Run a marked test once for each seed; report the first run that fails, or the last."""
        if item.get_closest_marker(MARKER) is None:
            return None
        only: int | None = item.config.getoption("moorage_seed", None)
        exploration = item.stash[_exploration] = _Exploration(item, only)
        hook = item.ihook
        hook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
        try:
            reports = _explore(item, nextitem, exploration)
            for report in reports:
                hook.pytest_runtest_logreport(report=report)
        finally:
            del item.stash[_exploration]
        hook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
        return True

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        exploration = item.stash.get(_exploration, None)
        if exploration is not None and exploration.problem is not None:
            pytest.fail(exploration.problem, pytrace=False)

    # Before pytest makes the text of the error.
    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item, call: pytest.CallInfo[None]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        exploration = item.stash.get(_exploration, None)
        if exploration is not None and call.excinfo is not None:
            error = call.excinfo.value
            note = exploration.note_of(item)
            is_failure = not isinstance(error, (*NO_FAILURES, pytest.skip.Exception))
            if note is not None and is_failure:
                error.add_note(note)
        return (yield)

    def pytest_report_teststatus(
        self, report: pytest.TestReport | pytest.CollectReport
    ) -> tuple[str, str, str] | None:
        told: str | None = getattr(report, "moorage_explored", None)
        if told is None or not report.passed:
            return None
        return "passed", ".", f"PASSED ({told})"


def _explore(
    item: pytest.Item, nextitem: pytest.Item | None, exploration: _Exploration
) -> list[pytest.TestReport]:
    """Run the test until a run fails; return the reports of the last run."""
    seconds = 0.0
    sections, properties = list(item._report_sections), list(item.user_properties)
    last = exploration.seed + exploration.runs - 1
    while True:
        item._report_sections[:], item.user_properties[:] = sections, properties
        is_last = exploration.seed >= last
        reports, ended = _run_once(item, nextitem, is_last)
        seconds += sum(report.duration for report in reports)
        exploration.end_run()
        if ended or is_last:
            break
        exploration.seed += 1
    for report in reports:
        if report.when == "call" and report.passed and not hasattr(report, "wasxfail"):
            told: Any = report
            told.moorage_explored = (
                f"{exploration.runs} runs, {len(exploration.orders)} different orders"
            )
            report.sections.append((MARKER, str(exploration.told())))
            report.duration = seconds
    return reports


def _run_once(
    item: Any, nextitem: pytest.Item | None, is_last: bool
) -> tuple[list[pytest.TestReport], bool]:
    """Run the test once; return its reports, and whether no other run may follow.

    As pytest's ``runtestprotocol``, which cannot tell before the teardown whether another run
    follows: then the fixtures of the module, and wider ones, stay.
    """
    if not item._request:
        item._initrequest()
        if item.cls is not None:  # each run has an instance of its own, as each test has
            for name in ("_instance", "_obj"):
                if name in item.__dict__:
                    delattr(item, name)
    option, session = item.config.getoption, item.session
    try:
        reports: list[pytest.TestReport] = [_call_and_report(item, "setup", log=False)]
        setup_only: bool = option("setuponly", False)
        if reports[0].passed and not setup_only:
            reports.append(_call_and_report(item, "call", log=False))
        stops = bool(session.shouldfail or session.shouldstop)
        ends = is_last or setup_only or stops or not all(map(_has_passed, reports))
        after = (None if stops else nextitem) if ends else item.parent
        reports.append(_call_and_report(item, "teardown", log=False, nextitem=after))
        if not ends and not reports[-1].passed:
            ends = True
            # The wider fixtures are left; the hooks of the teardown have run for this item.
            call = pytest.CallInfo[None].from_call(
                lambda: session._setupstate.teardown_exact(nextitem),
                when="teardown",
                reraise=(pytest.exit.Exception, KeyboardInterrupt),
            )
            if call.excinfo is not None:
                reports.append(item.ihook.pytest_runtest_makereport(item=item, call=call))
    finally:
        item._request = False
        item.funcargs = None
    return reports, ends


def _has_passed(report: pytest.TestReport) -> bool:
    """Whether this run did not fail; a test that is expected to fail may fail in another run."""
    return report.passed or "[XPASS(strict)]" in str(report.longrepr)


def _quoted(text: str) -> str:
    return f"'{text}'" if set(text) & set(' []()&;|<>*?$"`') else text
