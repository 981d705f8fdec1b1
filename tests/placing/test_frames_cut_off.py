"""Nothing is lost when the child dies at any byte of a frame of any kind, in either direction.

The witness is outside of the engine: see ``conversations.py``.  From its file and the callers
alone: each input has one outcome; none begins after its outcome was delivered; no container ever
has more than its most inputs open; none runs more than three times.

By default two bytes of each kind of frame are taken; with ``MOORAGE_WITNESS_STEP=1``, as ``make
kills`` does, each byte of the first and of the last frame of each kind.

Begin at `test_a_death_in_the_middle_of_a_frame`.
"""

import os
import sys
from collections import Counter

import pytest

import moorage
from moorage.exception import ContainerLostError
from moorage.placing.frames import Kind
from moorage.placing.processes import Processes

from . import conversations as talks
from .relays import FROM_CHILD, TO_CHILD, Cut, Relay

# Of the bytes of a frame, one in so many; 0 for two of each kind of frame.
STEP = int(os.environ.get("MOORAGE_WITNESS_STEP", "0"))

# So many tests have a share each of what is much.
SHARES = 10 if STEP else 1

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="pidfds are Linux's")

MOST_RUNS = 3


class Case:
    def __init__(self, hold, outcomes, kinds, *, lost=(), most=talks.MAX_INPUTS, slow=False):
        self.hold = hold
        self.outcomes = outcomes
        self.kinds = kinds  # frames that it has: all, over all conversations
        self.may_be_lost = lost  # inputs of which a part has been passed on
        self.most = most
        self.is_slow = slow


CASES = {
    "service": Case(
        talks.hold_with_service,
        talks.OUTCOMES_OF_SERVICE,
        {
            *(Kind.SETUP, Kind.INPUTS, Kind.CANCEL, Kind.CREDIT, Kind.REPLY, Kind.STACKS),
            *(Kind.STOP, Kind.HELLO, Kind.READY, Kind.RESULTS, Kind.ITEMS, Kind.PLACES),
            *(Kind.RESIZE, Kind.NO_MORE, Kind.CALL, Kind.HELD, Kind.LOG, Kind.STOPPED),
        },
        lost=(21,),
    ),
    "batches": Case(talks.hold_with_batches, talks.OUTCOMES_OF_BATCHES, {Kind.INPUTS}),
    "failing start": Case(talks.hold_with_failing_start, {0: talks.Planned}, {Kind.FAILED}),
    "endless start": Case(
        talks.hold_with_endless_start,
        {0: moorage.exception.FunctionTimeoutError},
        {Kind.GIVE_UP},
        slow=True,
    ),
    "web": Case(talks.hold_with_web, talks.OUTCOMES_OF_WEB, {Kind.VISIT}, lost=range(3)),
}

RARE = {Kind.HANGS}
"""Of servers under ``web_server`` only: see ``tests/web``."""


def converse(case, path, relay, monkeypatch):
    """Hold a conversation over the relay; return the outcomes."""
    monkeypatch.setattr(Processes, "source", lambda self: relay)
    placement = {"inner": "thread", "*": Processes(max_processes=2)}
    with talks.app.run(placement=placement):
        return case.hold(path, relay.places)


def check(case, path, outcomes, *, complete):
    """What must hold, from the outcomes and the file alone.

    Args:
        complete: nothing was lost, as nobody has died.
    """
    assert set(outcomes) == set(case.outcomes)
    for id, outcome in outcomes.items():
        wanted = case.outcomes[id]
        if isinstance(wanted, type) and isinstance(outcome, wanted):
            continue
        if outcome != wanted:
            # One death ends only what has passed on a part.
            assert not complete, (id, outcome)
            assert id in case.may_be_lost, (id, outcome)
            is_web = case.hold is talks.hold_with_web
            assert isinstance(outcome, OSError if is_web else ContainerLostError)
    begun, delivered, open_inputs = Counter(), set(), Counter()
    for line in path.read_text().splitlines() if path.exists() else ():
        what, id, pid = line.split()
        if what == "begin":
            assert id not in delivered, f"input {id} began after its outcome"
            begun[id] += 1
            open_inputs[pid] += 1
            # The code of an input that is cancelled is answered when it has ended.
            assert int(pid) == os.getpid() or open_inputs[pid] <= case.most
        elif what == "end":
            open_inputs[pid] -= 1
        else:
            delivered.add(id)
    assert max(begun.values(), default=0) <= MOST_RUNS
    for id, outcome in outcomes.items():
        if outcome == case.outcomes[id]:
            assert begun[str(id)], f"input {id} has a result and did not run"


def cuts_of(relay):
    """Where a child may die in a conversation like that of `relay`."""
    for direction in (TO_CHILD, FROM_CHILD):
        frames = relay.frames(direction)
        for kind in dict.fromkeys(kind for kind, _ in frames):
            lengths = [length for its, length in frames if its is kind]
            if not STEP:
                yield Cut(direction, kind, 0, lengths[0] // 2)
                yield Cut(direction, kind, len(lengths) - 1, lengths[-1])
                continue
            for nth in sorted({0, len(lengths) - 1}):
                length = lengths[nth]
                # The bytes of a long frame are many, and alike.
                step = max(STEP, length // 200)
                for offset in sorted({1, *range(1, length, step), length}):
                    yield Cut(direction, kind, nth, offset)


def test_the_conversations_have_frames_of_all_kinds():
    seen = set().union(*(case.kinds for case in CASES.values()))
    assert seen == set(Kind) - RARE


@pytest.mark.parametrize("share", range(SHARES))
@pytest.mark.parametrize("name", CASES)
def test_a_death_in_the_middle_of_a_frame(name, share, tmp_path, monkeypatch):
    case = CASES[name]
    if name == "web":
        pytest.importorskip("uvicorn")
    inner = Processes().source()
    relay = Relay(inner)
    outcomes = converse(case, tmp_path / "whole", relay, monkeypatch)
    check(case, tmp_path / "whole", outcomes, complete=True)
    seen = {kind for d in (TO_CHILD, FROM_CHILD) for kind, _ in relay.frames(d)}
    assert case.kinds <= seen
    cuts = list(cuts_of(relay))
    if case.is_slow and not STEP:
        cuts = [cut for cut in cuts if cut.kind in case.kinds]
    cuts = cuts[share::SHARES]
    killed = 0
    for number, cut in enumerate(cuts):
        relay = Relay(inner, cut)
        path = tmp_path / str(number)
        outcomes = converse(case, path, relay, monkeypatch)
        try:
            check(case, path, outcomes, complete=not relay.killed)
        except AssertionError as error:
            raise AssertionError(f"{cut}: {error}") from error
        killed += relay.killed
    # Frames do not come in the same portions each time, so some places are not reached.
    assert killed > len(cuts) / 2
