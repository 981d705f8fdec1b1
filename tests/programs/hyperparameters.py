"""A parallel search over hyper-parameters, in which trials may fail, hang, or be stopped early.

    modal run hyperparameters.py --trials 12 --patience 20
"""

import itertools
import random
import time
from dataclasses import dataclass
from typing import List, Optional, Tuple

import modal
import modal.exception

app = modal.App("example-hyperparameter-search")
image = modal.Image.debian_slim(python_version="3.11").pip_install("scikit-learn", "numpy")


@dataclass(frozen=True)
class Trial:
    learning_rate: float
    depth: int
    dropout: float = 0.0

    def __str__(self) -> str:
        return f"lr={self.learning_rate} depth={self.depth}"


@dataclass
class Score:
    trial: Trial
    value: float


class Diverged(ArithmeticError):
    def __init__(self, trial: Trial):
        super().__init__(f"diverged with {trial}")
        self.trial = trial

    def __reduce__(self):
        return Diverged, (self.trial,)


@app.function(image=image, gpu=["A10G", "any"], timeout=60, max_containers=6)
def evaluate(trial: Trial) -> Score:
    rng = random.Random(f"{trial.learning_rate}-{trial.depth}")
    if trial.learning_rate > 0.5:
        raise Diverged(trial)
    value = 1 - abs(trial.learning_rate - 0.1) - abs(trial.depth - 4) / 100
    return Score(trial, round(value + rng.uniform(0, 0.001), 3))


@app.function(image=image, timeout=5)
def evaluate_with_limit(trial: Trial, seconds: float) -> Score:
    stop = time.monotonic() + seconds
    while time.monotonic() < stop:
        time.sleep(0.01)
    return Score(trial, seconds)


@app.function(timeout=300)
def hang(trial: Trial) -> Score:
    while True:
        time.sleep(0.02)


def grid() -> List[Trial]:
    rates, depths = [0.01, 0.1, 0.9], [2, 4, 8]
    return [Trial(rate, depth) for rate, depth in itertools.product(rates, depths)]


@app.local_entrypoint()
def main(patience: float = 30.0, best_of: Optional[int] = None):
    trials = grid()[:best_of]

    # 1. A map that goes on when trials fail.
    scores: List[Score] = []
    failures: List[Diverged] = []
    for result in evaluate.map(trials, return_exceptions=True, wrap_returned_exceptions=False):
        (failures if isinstance(result, Exception) else scores).append(result)
    best = max(scores, key=lambda score: score.value)
    print(f"{len(scores)} scores, {len(failures)} failures; the best is {best.trial}")
    print("failed:", ", ".join(str(failure.trial) for failure in failures))

    # 2. The same by hand: spawn all, gather the good ones.
    good = [trial for trial in trials if trial.learning_rate < 0.5]
    calls = [evaluate.spawn(trial) for trial in good]
    gathered = modal.FunctionCall.gather(*calls)
    print("gathered in order:", [score.trial for score in gathered] == good)

    # 3. gather raises the first error.
    try:
        modal.FunctionCall.gather(*[evaluate.spawn(trial) for trial in trials])
    except Diverged as error:
        print(f"gather: {error}")

    # 4. A trial that runs into the timeout of its function.
    outcomes: List[Tuple[str, str]] = []
    for trial, seconds in ((trials[0], 0.01), (trials[1], 60)):
        call = evaluate_with_limit.spawn(trial, seconds)
        try:
            outcomes.append((str(trial), f"{call.get(timeout=patience).value}"))
        except modal.exception.FunctionTimeoutError:
            outcomes.append((str(trial), "ran out of time"))
    for name, outcome in outcomes:
        print(f"{name}: {outcome}")

    # 5. A caller that loses patience, and cancels.
    call = hang.spawn(trials[0])
    same = modal.FunctionCall.from_id(call.object_id)
    try:
        same.get(timeout=0.2)
    except TimeoutError:
        print("lost patience")
        same.cancel()
    try:
        call.get(timeout=patience)
    except (modal.exception.InputCancellation, modal.exception.RemoteError):
        print("cancelled")

    # 6. A variant with another limit.
    generous = evaluate_with_limit.with_options(timeout=120)
    print("generous:", generous.remote(trials[0], 5.5).value)
