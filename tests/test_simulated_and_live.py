"""The simulator and the live pool, in virtual time, on the same inputs under the same policy."""

import asyncio
import random

import pytest

import moorage
from moorage import App
from moorage.runtime import pool
from moorage.runtime.autoscaler import Limits, TargetPolicy
from moorage.runtime.clock import VirtualClock
from moorage.runtime.simulation import TAIL, StartUp, simulate
from moorage.runtime.traces import poisson

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
    monkeypatch.setattr(pool, "TargetPolicy", policy)
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
        # What is left goes one by one, and is asked about.
        while (seen := made.work.statistics()) is not None and seen.containers:
            if clock.now() > arrivals[-1] + 1000.0 or options.get("min_containers"):
                break
            clock.sleep(1.0)
    return waits


def container_seconds(answers, until):
    """The integral of the containers that were there, or starting, in between."""
    total, before, count = 0.0, answers[0][0].now, 0
    for seen, decision in answers:
        total += (min(seen.now, until) - min(before, until)) * count
        before, count = seen.now, decision.wanted
    return total + max(0.0, until - before) * count


@pytest.mark.parametrize(
    "options",
    [{}, {"max_containers": 2}, {"buffer_containers": 1, "scaledown_window": 5}],
    ids=["by default", "capped", "buffer and window"],
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

    assert list(found.waits) == pytest.approx(waits, abs=1e-6)
    a, b = told(answers), told(simulated)
    for k, (x, y) in enumerate(zip(a, b)):
        if x != y:
            print("DIFF", k, a[max(0, k - 3) : k + 4])
            print("DIFF", b[max(0, k - 3) : k + 4])
            break
    assert a == b


def told(answers):
    """What was seen and said, without repetitions at the same moment."""
    said = []
    for seen, decision in answers:
        one = (seen.now, seen.running, seen.queued, seen.ready, seen.starting, decision.wanted)
        if not said or said[-1] != one:
            said.append(one)
    return said
