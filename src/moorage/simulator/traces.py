"""Traces: arrivals and service times to simulate; twelve traces, four laws of service.

Owns `TRACES` and `SERVICES`; begin there.  ``simulate.py``, ``options.py`` and ``tables.py`` use
them by name.  Pure: all randomness comes from the `random` that is passed in.  Rates are inputs
per second, times are seconds.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

Random = random.Random


def poisson(random: Random, rate: Callable[[float], float], most: float, end: float) -> list[float]:
    """Return Poisson arrivals until `end` at `rate(t)`, which must not exceed `most`.

    By thinning (Lewis and Shedler, 1979): draws arrivals at the rate `most`, and keeps an
    arrival at `t` with the probability ``rate(t) / most``.
    """
    found: list[float] = []
    t = random.expovariate(most)
    while t < end:
        if random.random() * most < rate(t):
            found.append(t)
        t += random.expovariate(most)
    return found


def steady(random: Random) -> list[float]:
    """Poisson arrivals, 10 a second for 10 minutes."""
    return poisson(random, lambda t: 10.0, 10.0, 600.0)


def steps(random: Random) -> list[float]:
    """2 a second for 2 minutes, then 20 a second for 2 minutes, and so on for half an hour."""
    return poisson(random, lambda t: 20.0 if t // 120 % 2 else 2.0, 20.0, 1800.0)


def square(random: Random) -> list[float]:
    """1 a second for 35 s, then 40 a second for 5 s, and so on for 40 minutes."""
    return poisson(random, lambda t: 40.0 if t % 40 >= 35 else 1.0, 40.0, 2400.0)


def diurnal(random: Random) -> list[float]:
    """A day in 15 minutes: 0 to 30 a second and back, twice."""
    return poisson(random, lambda t: 15.0 - 15.0 * math.cos(2 * math.pi * t / 900), 30.0, 1800.0)


def flash(random: Random) -> list[float]:
    """A flash crowd: 1 a second, but 100 a second for 30 s."""
    return poisson(random, lambda t: 100.0 if 200 <= t < 230 else 1.0, 100.0, 500.0)


def heavy_tailed(random: Random) -> list[float]:
    """Gaps from a Pareto law (shape 1.2, mean 0.25 s, at most 600 s): long silences, dense runs."""
    found, t = [0.0], 0.0
    while len(found) < 4000:
        t += min(600.0, (random.paretovariate(1.2)) * 0.25 / 6)
        found.append(t)
    return found


def big_map(random: Random) -> list[float]:
    """A map of 10,000 inputs at once."""
    return [0.0] * 10_000


def trickle(random: Random) -> list[float]:
    """Poisson arrivals, one in 10 s, for 3 hours (10,800 s)."""
    return poisson(random, lambda t: 0.1, 0.1, 10_800.0)


def small_maps(random: Random) -> list[float]:
    """40 inputs at once, every 30 s, for an hour."""
    return [30.0 * k for k in range(120) for _ in range(40)]


def over_capacity(random: Random) -> list[float]:
    """For a minute more inputs than 5 containers can serve, then few.  Run it with that limit."""
    return poisson(random, lambda t: 60.0 if t < 60 else 5.0, 60.0, 240.0)


def stray_maps(random: Random) -> list[float]:
    """Maps of 1 to 100 inputs at random times, on average 60 s apart."""
    found: list[float] = []
    t = 0.0
    while len(found) < 5000:
        t += random.expovariate(1 / 60)
        found += [t] * int(100 ** random.random())
    return found


def saw(random: Random) -> list[float]:
    """From 0 to 40 a second in 2 minutes, then 0 at once, and again; for 10 minutes."""
    return poisson(random, lambda t: t % 120 / 3, 40.0, 600.0)


@dataclass(frozen=True, slots=True)
class Trace:
    """One trace: its name, its arrivals, and the limit of containers that belongs to it."""

    name: str
    arrivals: Callable[[Random], list[float]]
    max_containers: int | None = None

    @property
    def slug(self) -> str:
        """The trace's name as written in a command, and as shown in tables."""
        return self.name.lower().replace(" ", "-").replace(",", "")


TRACES: Final = (
    Trace("Poisson", steady),
    Trace("steps x10", steps),
    Trace("square bursts", square),
    Trace("diurnal", diurnal),
    Trace("flash crowd x100", flash),
    Trace("heavy-tailed gaps", heavy_tailed),
    Trace("map of 10,000", big_map),
    Trace("trickle", trickle),
    Trace("small maps", small_maps),
    Trace("over capacity", over_capacity, max_containers=5),
    Trace("stray maps", stray_maps),
    Trace("saw", saw),
)


def _constant(random: Random, mean: float) -> Iterator[float]:
    while True:
        yield mean


def _exponential(random: Random, mean: float) -> Iterator[float]:
    while True:
        yield random.expovariate(1 / mean)


def _log_normal(random: Random, mean: float) -> Iterator[float]:
    sigma = 1.0
    while True:
        yield mean * math.exp(random.gauss(-sigma * sigma / 2, sigma))


def _bimodal(random: Random, mean: float) -> Iterator[float]:
    while True:
        yield mean * (0.5 if random.random() < 0.9 else 5.5)


SERVICES: Final[Mapping[str, Callable[[Random, float], Iterator[float]]]] = MappingProxyType(
    {
        "constant": _constant,
        "exponential": _exponential,
        "log-normal": _log_normal,
        "bimodal": _bimodal,
    }
)
