"""Stands for a package that takes long to import and is wanted in containers only."""

import fractions
import statistics


def embed(text: str) -> list[float]:
    counts = [text.lower().count(letter) for letter in "aeiou"]
    whole = sum(counts) or 1
    return [float(fractions.Fraction(count, whole)) for count in counts]


def similarity(one: list[float], other: list[float]) -> float:
    return 1 - statistics.fmean(abs(a - b) for a, b in zip(one, other))
