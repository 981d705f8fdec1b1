"""Train with checkpoints on a Volume, and resume where the last run stopped.

    modal run train.py --experiment baseline --epochs 20

If the run dies (a preemption, a bug, an impatient colleague), run the same command again: it goes on
from the newest checkpoint in /checkpoints.
"""

import logging
from pathlib import Path
from typing import Dict, Optional

import modal

from model import State, make_data, train_epoch

CHECKPOINTS = Path("/checkpoints")

image = (
    modal.Image.from_registry("nvidia/cuda:12.4.0-devel-ubuntu22.04", add_python="3.11")
    .apt_install("git")
    .uv_pip_install("torch==2.5.1", "tqdm")
    .add_local_python_source("model")
)
app = modal.App("example-resumable-training", image=image)
checkpoints = modal.Volume.from_name("training-checkpoints", create_if_missing=True)

logger = logging.getLogger(__name__)


def newest(experiment: str) -> Optional[Path]:
    folder = CHECKPOINTS / experiment
    if not folder.is_dir():
        return None
    found = sorted(folder.glob("epoch-*.json"))
    return found[-1] if found else None


@app.function(
    gpu="A10G",
    volumes={CHECKPOINTS: checkpoints},
    timeout=60 * 60,
    memory=1024,
    cpu=2.0,
)
def train(
    experiment: str,
    epochs: int,
    learning_rate: float = 0.1,
    save_every: int = 2,
    crash_at: Optional[int] = None,
) -> Dict[str, float]:
    checkpoints.reload()
    path = newest(experiment)
    if path is None:
        print(f"{experiment}: starting from scratch")
        state = State()
    else:
        state = State.load(path)
        print(f"{experiment}: resuming from {path}")

    folder = CHECKPOINTS / experiment
    folder.mkdir(parents=True, exist_ok=True)
    data = make_data(seed=7)
    while state.epoch < epochs:
        if crash_at is not None and state.epoch == crash_at:
            raise RuntimeError(f"CUDA error: out of memory (epoch {state.epoch})")
        state = train_epoch(state, data, learning_rate)
        if state.epoch % save_every == 0 or state.epoch == epochs:
            state.save(folder / f"epoch-{state.epoch:04}.json")
            checkpoints.commit()
            print(f"{experiment}: saved epoch {state.epoch}")
    return {"weight": round(state.weight, 1), "bias": round(state.bias, 1), "epoch": state.epoch}


@app.function(volumes={str(CHECKPOINTS): checkpoints.read_only()})
def summary(experiment: str) -> str:
    rows = []
    for path in sorted((CHECKPOINTS / experiment).iterdir()):
        state = State.load(path)
        rows.append(f"{path.name} loss<1: {state.loss < 1}")
    return "\n".join(rows)


@app.local_entrypoint()
def main(
    experiment: str = "baseline",
    epochs: int = 8,
    learning_rate: float = 0.1,
    crash_at: Optional[int] = None,
):
    print(f"training {experiment} for {epochs} epochs")
    result = train.remote(experiment, epochs, learning_rate, crash_at=crash_at)
    print(f"done: {result}")
    print(summary.remote(experiment))
    final = b"".join(checkpoints.read_file(f"{experiment}/epoch-{epochs:04}.json"))
    print(f"the last checkpoint has {len(final) > 0 and 'some' or 'no'} bytes")
