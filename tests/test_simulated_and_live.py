"""The simulator and the live pool, in virtual time, on the same inputs under the same policy.

They do the same at the same times, to the last bit: each asks the policy when the other
does, and sees the same.  One thing differs: a start-up that was cancelled runs to its end
in the live pool, but counts in neither from then on.
"""

import asyncio
import random

import pytest

import moorage
from moorage import App
from moorage.runtime.clocks.virtual_clock import VirtualClock
from moorage.runtime.containers.container import ContainerState
from moorage.runtime.pools import scaling
from moorage.runtime.pools.autoscaler import Limits, TargetPolicy
from moorage.simulator.simulation import TAIL, StartUp, simulate
from moorage.simulator.traces import poisson

READY = ContainerState.READY
START = 2.0  # seconds


def steps(drawn):
    return poisson(drawn, lambda t: 12.0 if t // 20 % 2 else 1.0, 12.0, 80.0)


def small_maps(drawn):
    return [20.0 * k for k in range(8) for _ in range(30)]


def steady(drawn):
    return poisson(drawn, lambda t: 6.0, 6.0, 60.0)


def bursts(drawn):
    return poisson(drawn, lambda t: 40.0 if t % 30 >= 25 else 1.0, 40.0, 60.0)


def stray(drawn):
    return poisson(drawn, lambda t: 0.1, 0.1, 900.0)


def on_grid(seconds):
    """Rounded so that sums and differences of such times are exact: ties are ties in both."""
    return round(seconds * 2**20) / 2**20


TRACES = {made.__name__: made for made in (steps, small_maps, steady, bursts, stray)}


def recording(answers):
    """Our policy, which notes in `answers` what it saw each time, and what it said."""

    class Recording(TargetPolicy):
        def decide(self, seen, /):
            decision = super().decide(seen)
            answers.append((seen, decision))
            return decision

    return Recording


def live(arrivals, services, options, concurrent, policy, monkeypatch):
    """The waits of the inputs, from arrival to the begin of their code."""
    monkeypatch.setattr(scaling, "TargetPolicy", policy)
    app = App("live")
    waits = [None] * len(arrivals)

    @app.cls(**options)
    @moorage.concurrent(**concurrent)
    class Work:
        @moorage.enter()
        async def begin(self):
            await asyncio.sleep(START)

        @moorage.method()
        async def work(self, number):
            waits[number] = clock.now() - arrivals[number]
            await asyncio.sleep(services[number])

    with VirtualClock() as clock, app.run(clock=clock):
        made = Work()
        calls = []
        for number, when in enumerate(arrivals):
            if when > clock.now():
                clock.sleep(when - clock.now())
            calls.append(made.work.spawn(number))
        for call in calls:
            call.get()
        clock.sleep(5.0 * TAIL)  # what is left goes, as far as it does
        seen = made.work.statistics()
        assert sum(one.state is READY for one in seen.containers) == options.get(
            "min_containers", 0
        )
    return waits


def container_seconds(told, ended):
    """The integral of the containers ready or starting, from what was told of them."""
    until = ended + TAIL
    total, before, count = 0.0, told[0][0], 0
    for now, _, _, ready, starting, wanted in told:
        total += (min(now, until) - min(before, until)) * count
        # Fewer than are there are wanted only as far as those are idle; then it is asked again.
        before, count = now, max(ready + starting, wanted)
    return total + max(0.0, until - before) * count


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"max_containers": 2},
        {"buffer_containers": 1, "scaledown_window": 5},
        {"min_containers": 2},
    ],
    ids=["by default", "capped", "buffer and window", "minimum"],
)
@pytest.mark.parametrize("trace", TRACES)
def test_the_simulator_does_what_the_live_pool_does(trace, options, monkeypatch):
    drawn = random.Random(trace)
    arrivals = [on_grid(when) for when in TRACES[trace](drawn)]
    services = [on_grid(drawn.expovariate(1.0)) for _ in arrivals]
    limits = Limits(4, 8, **options)
    answers, simulated = [], []
    concurrent = {"target_inputs": 4, "max_inputs": 8}
    waits = live(arrivals, services, options, concurrent, recording(answers), monkeypatch)
    policy = recording(simulated)(limits)
    found = simulate(arrivals, services, limits, policy, start_up=StartUp(START, 0.0))

    assert list(found.waits) == waits
    lived, imagined = told(answers), told(simulated)
    assert lived == imagined
    ended = max(
        when + wait + service for when, wait, service in zip(arrivals, waits, services, strict=True)
    )
    assert found.peak_containers == max(one[3] + one[4] for one in lived)
    if not options.get("min_containers"):
        assert found.container_seconds == pytest.approx(container_seconds(lived, ended))


def told(answers):
    """What was seen and said, without repetitions at the same moment."""
    said = []
    for seen, decision in answers:
        one = (seen.now, seen.running, seen.queued, seen.ready, seen.starting, decision.wanted)
        if not said or said[-1] != one:
            said.append(one)
    return said
