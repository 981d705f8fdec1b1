"""Twelve kinds of traces and four laws of service, whose parameters are drawn from the seed.

Owns `KINDS`, `LAWS` and `draw`; begin at `draw`.  The library's own traces (``moorage/simulator``)
have fixed parameters.  Here a seed decides how long bursts and pauses are, how many inputs a map
has, and so on, so that a policy cannot be fitted to one period.  Rates are inputs per second,
times are seconds.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

Random = random.Random


@dataclass(frozen=True, slots=True)
class Drawn:
    """One trace: arrivals in order, as many service times, and the limit of containers."""

    kind: str
    law: str
    arrivals: list[float]
    services: list[float]
    max_containers: int | None


@dataclass(slots=True)
class Shape:
    """What a kind of trace says: when inputs come, which are longer, and the limit."""

    arrivals: list[float]
    longer: Callable[[Random], float] | None = None  # the factor of an input's service time
    max_containers: int | None = None


def _between(r: Random, least: float, most: float) -> float:
    """Return a number from `least` to `most`, all orders of magnitude alike."""
    return math.exp(r.uniform(math.log(least), math.log(most)))


def _poisson(r: Random, rate: float, begin: float, end: float) -> list[float]:
    found: list[float] = []
    if rate <= 0.0:
        return found
    t = begin + r.expovariate(rate)
    while t < end:
        found.append(t)
        t += r.expovariate(rate)
    return found


def _varying(r: Random, rate: Callable[[float], float], most: float, end: float) -> list[float]:
    """Return Poisson arrivals at `rate(t)`, which never exceeds `most`."""
    return [t for t in _poisson(r, most, 0.0, end) if r.random() * most < rate(t)]


def steady(r: Random, mean: float) -> Shape:
    """The same gap each time, give or take a tenth."""
    rate = r.uniform(4.0, 20.0)
    gaps = [r.uniform(0.9, 1.1) / rate for _ in range(int(300 * rate))]
    found, t = list[float](), 0.0
    for gap in gaps:
        t += gap
        found.append(t)
    return Shape(found)


def poisson_low(r: Random, mean: float) -> Shape:
    return Shape(_poisson(r, _between(r, 0.2, 2.0), 0.0, 1500.0))


def poisson_high(r: Random, mean: float) -> Shape:
    return Shape(_poisson(r, r.uniform(10.0, 40.0), 0.0, 250.0))


def square_bursts(r: Random, mean: float) -> Shape:
    """60 bursts of 3 to 10 s, and 15 to 75 s of nearly nothing between them."""
    on, off = r.uniform(3.0, 10.0), r.uniform(15.0, 75.0)
    rate, base = r.uniform(10.0, 40.0), r.uniform(0.0, 1.0)
    whole = on + off
    return Shape(_varying(r, lambda t: rate if t % whole >= off else base, rate, 60.0 * whole))


def ramps(r: Random, mean: float) -> Shape:
    """Up in 10 to 40 s and down again, then a pause, twelve times."""
    half, pause, peak = r.uniform(10.0, 40.0), r.uniform(5.0, 60.0), r.uniform(15.0, 45.0)
    whole = 2.0 * half + pause

    def rate(t: float) -> float:
        t %= whole
        return peak * max(0.0, 1.0 - abs(t - half) / half)

    return Shape(_varying(r, rate, peak, 12.0 * whole))


def diurnal(r: Random, mean: float) -> Shape:
    """Two days of 5 to 10 minutes each: from nothing to a peak and back."""
    day, peak = r.uniform(300.0, 600.0), r.uniform(10.0, 30.0)
    turn = 2.0 * math.pi / day
    return Shape(_varying(r, lambda t: peak / 2 * (1.0 - math.cos(turn * t)), peak, 2.0 * day))


def flash_crowd(r: Random, mean: float) -> Shape:
    """Few inputs, then up to 150 a second for 10 to 40 s, then few."""
    base, crowd, lasts = r.uniform(0.2, 2.0), r.uniform(50.0, 150.0), r.uniform(10.0, 40.0)
    begin = r.uniform(0.0, 150.0)
    end = begin + lasts
    return Shape(_varying(r, lambda t: crowd if begin <= t < end else base, crowd, end + 150.0))


def over_capacity(r: Random, mean: float) -> Shape:
    """More than all containers can serve for 20 to 90 s, then a fifth of that capacity."""
    most, over, lasts = r.randint(3, 8), r.uniform(1.2, 2.0), r.uniform(20.0, 90.0)
    capacity = most * 8 / mean

    def rate(t: float) -> float:
        return capacity * (over if t < lasts else 0.2)

    found = _varying(r, rate, capacity * over, 3.0 * lasts + 30.0)
    return Shape(found, max_containers=most)


def repeated_maps(r: Random, mean: float) -> Shape:
    """150 maps of 10 to 80 inputs at once, every 8 to 60 s, give or take a tenth of the pause."""
    size, pause = r.randint(10, 80), r.uniform(8.0, 60.0)
    found, t = list[float](), 0.0
    for _ in range(150):
        found += [t] * size
        t += pause * r.uniform(0.9, 1.1)
    return Shape(found)


def sparse_singles(r: Random, mean: float) -> Shape:
    """Single inputs, on average 5 to 60 s apart."""
    rate = 1.0 / _between(r, 5.0, 60.0)
    return Shape(_poisson(r, rate, 0.0, 600.0 / rate))


def on_off(r: Random, mean: float) -> Shape:
    """150 runs of inputs with silences between them, both of heavy-tailed (Pareto) lengths."""
    rate, found, t = r.uniform(5.0, 20.0), list[float](), 0.0
    for _ in range(150):
        lasts = min(100.0, 1.5 * r.paretovariate(1.5))
        found += _poisson(r, rate, t, t + lasts)
        t += lasts + min(600.0, 6.0 * r.paretovariate(1.3))
    return Shape(found)


def rare_long(r: Random, mean: float) -> Shape:
    """Poisson arrivals; one input in a hundred takes thirty times as long."""
    found = _poisson(r, r.uniform(3.0, 12.0), 0.0, 500.0)
    return Shape(found, longer=lambda r: 30.0 if r.random() < 0.01 else 1.0)


KINDS: Final[dict[str, Callable[[Random, float], Shape]]] = {
    made.__name__.replace("_", "-"): made
    for made in (
        steady,
        poisson_low,
        poisson_high,
        square_bursts,
        ramps,
        diurnal,
        flash_crowd,
        over_capacity,
        repeated_maps,
        sparse_singles,
        on_off,
        rare_long,
    )
}

# One draw of each law has the mean 1.
LAWS: Final[dict[str, Callable[[Random], float]]] = {
    "constant": lambda r: 1.0,
    "exponential": lambda r: r.expovariate(1.0),
    "log-normal": lambda r: math.exp(r.gauss(-(1.3**2) / 2, 1.3)),
    "bimodal": lambda r: 0.4 if r.random() < 0.9 else 6.4,
}


def draw(kind: str, law: str, seed: int) -> Drawn:
    """Draw a trace.  The four laws of one kind and seed have the same arrivals and mean."""
    r = random.Random(f"{kind} {seed}")
    mean = _between(r, 0.4, 2.0)
    shape = KINDS[kind](r, mean)
    own = random.Random(f"{kind} {law} {seed}")
    one, longer = LAWS[law], shape.longer
    services = [mean * one(own) * (1.0 if longer is None else longer(own)) for _ in shape.arrivals]
    return Drawn(kind, law, shape.arrivals, services, shape.max_containers)
