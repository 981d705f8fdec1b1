"""A tiny linear model with plain SGD, and its data; no GPU was harmed."""

import json
import random
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import List, Tuple

Sample = Tuple[float, float]


@dataclass
class State:
    epoch: int = 0
    weight: float = 0.0
    bias: float = 0.0
    loss: float = float("inf")

    def save(self, path: Path) -> None:
        temporary = path.with_suffix(".tmp")
        temporary.write_text(json.dumps(asdict(self)))
        temporary.rename(path)

    @classmethod
    def load(cls, path: Path) -> "State":
        return cls(**json.loads(path.read_text()))


def make_data(seed: int, n: int = 64) -> List[Sample]:
    rng = random.Random(seed)
    xs = [rng.uniform(-1, 1) for _ in range(n)]
    return [(x, 3 * x - 1 + rng.gauss(0, 0.01)) for x in xs]


def train_epoch(state: State, data: List[Sample], learning_rate: float) -> State:
    weight, bias, total = state.weight, state.bias, 0.0
    for x, y in data:
        error = weight * x + bias - y
        total += error * error
        weight -= learning_rate * error * x
        bias -= learning_rate * error
    return State(state.epoch + 1, weight, bias, total / len(data))
