"""What every test owes: nothing left behind, an end, and moves along the tables of states.

No thread, task, slot, run or room may be left.
"""

import asyncio
import contextlib
import faulthandler
import gc
import itertools
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import hypothesis  # noqa: F401 - before anything is set aside: it asks who refers to what
import pytest
import trio

import checked_moves
from moorage.running import runs
from moorage.runtime.background import flush
from moorage.runtime.input import call_number, next_call_number
from moorage.runtime.pools.capacity import process_capacity
from moorage.runtime.pools.pool import Pool
from onlooker import Onlooker, hear_draining

pytest_plugins = ["pytester"]

checked_moves.install()

# Shells start what runs in the background with Ctrl-C ignored, and so would we, and the
# programs that tests start: the tests of Ctrl-C would wait for ever.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# Seconds after which a test that hangs ends the whole run, with all stacks.  `make kills` has more
# to do in one test.
HANGS_AFTER = float(os.environ.get("MOORAGE_TEST_HANGS_AFTER", "120"))

# Seconds that threads get to end after the test, all together.
STRAGGLERS_GET = 10.0

_stderr: list[int] = []
_tests = itertools.count(1)


def pytest_configure(config: pytest.Config) -> None:
    _stderr.append(os.dup(2))  # while nothing captures it


def pytest_unconfigure(config: pytest.Config) -> None:
    faulthandler.cancel_dump_traceback_later()
    os.close(_stderr.pop())


# Tests after which what has gathered is set aside: reports, recordings, caches.
SET_ASIDE_EVERY = 100


def pytest_collection_finish(session: pytest.Session) -> None:
    _set_aside()


def _set_aside() -> None:
    """Leave what is there now out of what each test looks through for leftovers.

    Each looks at all objects that the collector knows.  Modules, parameters and
    the reports of thousands of tests would be by far the most of them.
    """
    gc.collect()
    gc.freeze()


def _threads() -> set[threading.Thread]:
    # Those of moorage are the process's; trio keeps its workers for a while.
    of_the_process = {
        *("moorage-timekeeper", "moorage-log", "moorage-cleanup", "moorage-http"),
        "moorage-post",  # as long as there is a zygote
    }
    return {
        thread
        for thread in threading.enumerate()
        if not thread.name.startswith((*of_the_process, "Trio thread"))
    }


def _live(*kinds: type) -> list[Any]:
    return [found for found in gc.get_objects() if type(found) in kinds]


def _left_in_memory(tasks_before: set[int]) -> list[str]:
    left = []
    for found in _live(asyncio.Task, asyncio.tasks._PyTask, Pool):
        if type(found) is Pool:
            if found.statistics().running:
                left.append(f"held slots: {found!r}")
        elif not found.done() and id(found) not in tasks_before:
            left.append(f"a pending task: {found!r}")
    return left


class ErrorsOfThisTest:
    """A filter of log records: drops those of unread errors of calls that earlier tests have made.

    Such a call may expire, or be collected, during any later test, which looks at the log, and
    between two tests.  So the filter is there all the time.
    """

    first_call = 0

    def filter(self, record: logging.LogRecord) -> bool:
        if "nobody has read" not in str(record.msg) or not isinstance(record.args, tuple):
            return True
        numbers = [call_number(each) for each in record.args if isinstance(each, str)]
        return all(number is None or number >= self.first_call for number in numbers)


_errors_of_this_test = ErrorsOfThisTest()
logging.getLogger("moorage").addFilter(_errors_of_this_test)


@pytest.fixture(autouse=True)
def errors_of_other_tests_are_not_logged() -> None:
    _errors_of_this_test.first_call = next_call_number()
    flush(5.0)  # what has passed the filter before is written before the test begins


@pytest.fixture(autouse=True)
def leaves_nothing_behind() -> Iterator[None]:
    """Fail a test that leaves a thread, a pending task, a held slot or a run behind."""
    faulthandler.dump_traceback_later(HANGS_AFTER, exit=True, file=_stderr[0])
    # Hypothesis leaves one behind that runs in any thread, within any line: a strike
    # that lands there is lost, as in any finalizer.
    gc.callbacks[:] = [c for c in gc.callbacks if not c.__module__.startswith("hypothesis")]
    threads_before = _threads()
    # By id, so as not to keep them alive.
    kinds = (asyncio.Task, asyncio.tasks._PyTask)
    tasks_before = {id(task) for task in _live(*kinds) if not task.done()}
    yield
    left = []
    for run in list(runs._open_runs):
        if not run.ambient:
            left.append(f"a run that was not left: {run.name}, opened at {run.opened_at}")
        run.close()
    until = time.monotonic() + STRAGGLERS_GET
    for thread in _threads() - threads_before:
        thread.join(max(0.0, until - time.monotonic()))
        if thread.is_alive():
            left.append(f"a thread: {thread.name}")
    if _left_in_memory(tasks_before):
        # Garbage of a failed test, or of an error's traceback, counts only
        # while something holds it.
        gc.collect()
        left += _left_in_memory(tasks_before)
    capacity = process_capacity.statistics()
    if capacity.containers or capacity.sync_slots or capacity.waiting:
        left.append(f"room that was not given back: {capacity}")
    faulthandler.cancel_dump_traceback_later()
    illegal = checked_moves.take_violations()
    assert not illegal, f"moves that no table has: {'; '.join(illegal)}"
    assert not left, f"the test left behind {'; '.join(left)}"
    if next(_tests) % SET_ASIDE_EVERY == 0:
        _set_aside()


@pytest.fixture(params=["asyncio", "trio"])
def run_async(request: pytest.FixtureRequest) -> Callable[[Callable[[], Any]], Any]:
    """Runs an async function on each backend that callers may be on."""
    if request.param == "trio":
        return trio.run
    return lambda main: asyncio.run(main())


@pytest.fixture
def onlooker() -> "Onlooker":
    """For ``app.run(probe=onlooker)``: waits until what is counted is so."""
    return Onlooker()


@pytest.fixture
def no_collections() -> Iterator[None]:
    """What dies, dies because nothing refers to it."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.fixture
def until_draining(monkeypatch: pytest.MonkeyPatch) -> Callable[[Any], None]:
    """``until_draining(run)`` waits until `run` refuses what comes from outside."""
    return hear_draining(monkeypatch.setattr)


@pytest.fixture
def in_threads() -> Iterator[Callable[..., "Background"]]:
    """``in_threads(function, *args)`` starts a thread; ``.result()`` waits for what it gives."""
    started: list[Background] = []

    def start(function: Callable[..., Any], *args: Any) -> Background:
        background = Background(function, args)
        started.append(background)
        return background

    yield start
    for background in started:
        background.thread.join(30)


class Background:
    """A call that runs in a thread of its own."""

    def __init__(self, function: Callable[..., Any], args: tuple[Any, ...]) -> None:
        self.value: Any = None
        self.error: BaseException | None = None
        self.thread = threading.Thread(target=self._run, args=(function, args), daemon=True)
        self.thread.start()

    def _run(self, function: Callable[..., Any], args: tuple[Any, ...]) -> None:
        try:
            self.value = function(*args)
        except BaseException as error:
            self.error = error

    def result(self) -> Any:
        self.thread.join(30)
        assert not self.thread.is_alive(), "still running after 30 s"
        if self.error is not None:
            raise self.error
        return self.value


@contextlib.contextmanager
def switching_threads_often() -> Iterator[None]:
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        yield
    finally:
        sys.setswitchinterval(before)


@pytest.fixture
def often_switching() -> Iterator[None]:
    """The interpreter switches threads every 10 microseconds."""
    with switching_threads_often():
        yield
