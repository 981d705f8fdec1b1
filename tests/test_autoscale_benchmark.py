"""The simulator that judges the autoscaler's policy: its oracle, its traces, its agreement."""

import pytest
from benchmarks.autoscale.hindsight import oracle, percentile
from benchmarks.autoscale.pool import run
from benchmarks.autoscale.scores import geometric_mean, line, score_one
from benchmarks.autoscale.traces import KINDS, LAWS, draw

from moorage.runtime.pools.autoscaler import Limits, TargetPolicy
from moorage.simulator.anchors import CountOfTheMoment
from moorage.simulator.simulation import StartUp, simulate


def test_the_oracle_pays_starts_or_gaps_whichever_is_less():
    # One container for inputs that come 1 s and 9 s after the end of the input before.
    floor = oracle([0.0, 2.0, 12.0], [1.0, 1.0, 1.0], 8, None, 2.0, 0.25)
    assert floor.container_seconds == (2 + 1) + (1 + 1) + (2 + 1)
    assert (floor.excess_p99, floor.starts, floor.peak) == (0.0, 2, 1)


def test_the_oracle_fills_containers_and_waits_only_under_a_limit():
    assert oracle([0.0] * 16, [1.0] * 16, 8, None, 2.0, 0.25).container_seconds == 2 * (2 + 1)
    limited = oracle([0.0] * 16, [1.0] * 16, 8, 1, 2.0, 0.25)
    assert (limited.container_seconds, limited.excess_p99) == (2 + 2, 1.0)


def test_percentiles_are_values_that_occurred():
    assert [percentile([3.0, 1.0, 2.0], p) for p in (0, 50, 99, 100)] == [1.0, 2.0, 3.0, 3.0]


@pytest.mark.parametrize("law", LAWS)
def test_the_same_seed_draws_the_same(law):
    assert draw("on-off", law, 7) == draw("on-off", law, 7)
    assert draw("on-off", law, 7).arrivals != draw("on-off", law, 8).arrivals


@pytest.mark.parametrize("kind", KINDS)
def test_a_trace_is_in_order(kind):
    drawn = draw(kind, "bimodal", 3)
    assert drawn.arrivals == sorted(drawn.arrivals)
    assert len(drawn.arrivals) == len(drawn.services) > 100
    assert (drawn.max_containers is None) == (kind != "over-capacity")


@pytest.mark.parametrize("kind", ["steady", "square-bursts", "sparse-singles"])
def test_both_simulators_agree_on_cost_and_waits(kind):
    drawn = draw(kind, "exponential", 5)
    arrivals, services = drawn.arrivals[:2000], drawn.services[:2000]
    limits = Limits(4, 8, max_containers=drawn.max_containers)
    one = run(arrivals, services, limits, TargetPolicy(limits), spread=0.0)
    policy = TargetPolicy(limits)
    other = simulate(arrivals, services, limits, policy, start_up=StartUp(2.0, 0.0))
    # One pays a start-up that was cancelled to its end, and asks the policy more often.
    assert other.left_over == 0
    assert one.container_seconds == pytest.approx(other.container_seconds, rel=0.5)
    assert sum(one.excess) <= 2.0 * sum(other.excess) + 10.0
    assert sum(other.excess) <= 2.0 * sum(one.excess) + 10.0


def test_no_policy_beats_the_oracle_at_both():
    for kind in ("steady", "flash-crowd"):
        for make in (TargetPolicy, CountOfTheMoment):
            found = score_one(draw(kind, "log-normal", 4), 4, make)
            assert found.score > 0.99


def test_a_line_has_geometric_means():
    found = score_one(draw("sparse-singles", "constant", 4), 4, TargetPolicy)
    assert f"{found.cost:.2f}" in line("x", [found, found])
    assert geometric_mean([1.0, 4.0]) == pytest.approx(2.0)
