"""Hypothesis: each generated input has a clock and a container of its own."""

import asyncio

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from moorage.testing import FakeContainer, VirtualClock


async def brew(seconds: int) -> int:
    await asyncio.sleep(seconds)
    return seconds


@settings(deadline=None, max_examples=30)
@given(cups=st.lists(st.integers(0, 100), max_size=8), limit=st.integers(1, 4))
def test_no_slot_is_idle_while_a_cup_waits(cups, limit):
    with VirtualClock() as clock, FakeContainer(brew, max_inputs=limit) as container:
        assert list(container.map(cups)) == cups
        longest = max(cups, default=0)
        assert sum(cups) / limit <= clock.now() <= sum(cups) / limit + longest
        assert container.statistics().peak <= limit


@settings(
    deadline=None,
    max_examples=30,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(seconds=st.integers(0, 100))
def test_with_fixtures(seconds, fake_container, virtual_clock):
    began = virtual_clock.now()  # one clock for all generated inputs
    assert fake_container(brew).call(seconds) == seconds
    assert virtual_clock.now() - began == seconds
