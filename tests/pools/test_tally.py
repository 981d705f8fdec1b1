"""The tally alone: what it counts, and totals that can be taken back."""

from __future__ import annotations

import copy

from hypothesis import given
from hypothesis import strategies as st

from moorage.runtime.outcome import Cancelled, Failure, Value
from moorage.runtime.pools.tally import Tally
from moorage.runtime.pools.web_tally import WebTally

OUTCOMES = [Value(1), Failure(ValueError()), Cancelled("by hand")]
PEAKS = {"peak_containers", "peak_inputs", "longest_batch_wait"}


def values(tally):
    return {name: getattr(tally, name) for name in Tally.__slots__}


@st.composite
def tallies(draw):
    tally = Tally()
    for name, value in values(tally).items():
        if isinstance(value, float):
            setattr(tally, name, draw(st.integers(0, 100)) / 4)
        elif isinstance(value, int):
            setattr(tally, name, draw(st.integers(0, 100)))
    tally.batches = draw(st.dictionaries(st.integers(1, 5), st.integers(1, 9), max_size=3))
    return tally


@given(outcomes=st.lists(st.sampled_from(OUTCOMES)), more=st.integers(0, 5))
def test_what_is_accepted_and_not_settled_is_left(outcomes, more):
    tally = Tally()
    tally.accepted = len(outcomes) + more
    for outcome in outcomes:
        tally.settled(outcome)
    assert tally.unsettled == more
    assert [tally.succeeded, tally.failed, tally.cancelled] == [
        outcomes.count(outcome) for outcome in OUTCOMES
    ]


def test_batches_are_counted_by_size_with_their_waits():
    tally = Tally()
    for size, waited in ((2, 0.5), (3, 2.0), (2, 1.0)):
        tally.batch_granted(size, waited)
    assert tally.batches == {2: 2, 3: 1}
    assert (tally.batch_wait, tally.longest_batch_wait) == (3.5, 2.0)


@given(parts=st.lists(tallies(), max_size=4))
def test_a_total_has_the_sums_of_its_parts_and_the_highest_of_their_peaks(parts):
    total = Tally()
    for part in parts:
        total.add(part)
    for name, value in values(total).items():
        if name == "web":
            assert value is None  # of web functions only
        elif name == "batches":
            for size in range(1, 6):
                assert value.get(size, 0) == sum(part.batches.get(size, 0) for part in parts)
        else:
            combine = max if name in PEAKS else sum
            assert value == combine([0, *(getattr(part, name) for part in parts)])


@given(tally=tallies(), other=tallies())
def test_to_subtract_takes_an_add_back_but_for_the_peaks(tally, other):
    before = copy.deepcopy(values(tally))
    tally.add(other)
    tally.subtract(other)
    after = values(tally)
    assert {n: v for n, v in after.items() if n not in PEAKS} == {
        n: v for n, v in before.items() if n not in PEAKS
    }
    assert all(after[name] >= before[name] for name in PEAKS)


@given(requests=st.lists(st.tuples(st.sampled_from([0, 101, 200, 404, 503]), st.integers(0, 9))))
def test_web_requests_are_added_and_taken_back(requests):
    total, part = Tally(), Tally()
    part.web = WebTally()
    for status, length in requests:
        if status == 101:
            part.web.opened()
        part.web.ended(status, length, 2 * length)
    total.add(part)
    total.add(part)
    assert total.web is not None
    assert sum(total.web.by_class) + total.web.left == 2 * len(requests)
    assert total.web.bytes_out == 2 * total.web.bytes_in == 4 * sum(n for _, n in requests)
    assert total.web.open_websockets == 0
    total.subtract(part)
    assert total.web.by_class == part.web.by_class
    assert (total.web.left, total.web.bytes_in) == (part.web.left, part.web.bytes_in)
