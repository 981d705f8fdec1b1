"""Deadlocks of inputs in processes are found as those of threads are, with the same texts."""

import re
import sys

import pytest

import moorage
from moorage.exception import DeadlockError

from . import waiting

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="pidfds are Linux's"),
    pytest.mark.filterwarnings("ignore::moorage.exception.AsyncUsageWarning"),
]

# Those whose tasks wait for several calls: here they are one wait.
MERGED = (
    *("awaits_many", "awaits_a_gathering", "gathers_itself"),
    *("gathers_itself_after_another", "awaits_itself_after_another"),
)


@pytest.fixture
def grace(monkeypatch):
    monkeypatch.setattr(moorage.config, "deadlock_grace", 0.1)


def error_with(placement, name, caplog):
    with waiting.app.run(placement=placement, grace=0.1):
        function = getattr(waiting, name)
        with pytest.raises(DeadlockError) as caught:
            function.remote(*[1] * (name == "batches"))
    caplog.clear()
    return re.sub(r"in-[0-9a-f]+-\d+", "in-1", str(caught.value)).splitlines()


@pytest.mark.parametrize("name", waiting.STUCK)
def test_a_deadlock_has_the_text_that_it_has_with_threads(name, grace, caplog):
    *waits, advice = error_with("process", name, caplog)
    *expected, text = error_with("thread", name, caplog)
    assert advice == text
    if name not in MERGED:
        assert sorted(waits) == sorted(expected)


def test_a_cycle_through_threads_and_processes(grace, caplog):
    placement = {"maps_a_cycle": "thread", "*": "process"}
    *_, advice = error_with(placement, "awaits_a_cycle", caplog)
    assert advice.startswith("awaits_a_cycle gets no slot: all slots of")


@pytest.mark.parametrize("name", ["waits_at_most", "gets_for_a_while"])
def test_a_wait_that_ends_is_no_deadlock(name):
    with waiting.app.run(placement="process"):
        assert getattr(waiting, name).remote(1) == "gave up"


def test_an_input_that_another_one_helps_is_in_no_deadlock(grace):
    with waiting.app.run(placement="process"):
        assert waiting.is_helped.remote(1) == 2
