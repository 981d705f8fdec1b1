"""A lock for containers, made of a Dict, and two things that need one.

`Dict.put(..., skip_if_exists=True)` is atomic: one caller gets True. That is all a lock needs.

    modal run locks.py --workers 6
"""

import random
import time
from contextlib import contextmanager
from typing import Iterator

import modal

app = modal.App("example-dict-lock")
locks = modal.Dict.from_name("locks", create_if_missing=True)
state = modal.Dict.from_name("locked-state", create_if_missing=True)


class LockTimeout(Exception):
    pass


@contextmanager
def lock(name: str, timeout: float = 30.0) -> Iterator[str]:
    owner = modal.current_input_id() or "local"
    deadline = time.monotonic() + timeout
    while not locks.put(name, owner, skip_if_exists=True):
        if time.monotonic() > deadline:
            raise LockTimeout(f"{name} is held by {locks.get(name)}")
        time.sleep(random.uniform(0.001, 0.02))
    try:
        yield owner
    finally:
        assert locks.pop(name) == owner, "somebody stole the lock"


@app.function(max_containers=8, timeout=120)
def add_slowly(amount: int) -> str:
    with lock("counter") as owner:
        value = state.get("counter", 0)
        time.sleep(0.01)  # here others would read the same value
        state["counter"] = value + amount
        state["holders"] = [*state.get("holders", []), owner]
    return owner


@app.function(max_containers=8)
@modal.concurrent(max_inputs=4)
async def claim(job: str, worker: int) -> bool:
    """Each job is done by the first worker that claims it."""
    if not await locks.put.aio(f"job-{job}", worker, skip_if_exists=True):
        return False
    await state.put.aio(f"done-{job}", worker)
    return True


@app.function(timeout=60)
def impatient() -> str:
    with lock("held"):
        try:
            with lock("held", timeout=0.1):
                return "two holders"
        except LockTimeout as error:
            return f"timeout: {'held by' in str(error)}"


@app.local_entrypoint()
def main(workers: int = 6, rounds: int = 3):
    locks.clear()
    state.clear()

    amounts = [n for n in range(1, workers + 1)] * rounds
    owners = list(add_slowly.map(amounts))
    print(f"counter: {state['counter']}, expected: {sum(amounts)}")
    print(f"every input held the lock once: {sorted(owners) == sorted(state['holders'])}")
    print(f"the lock is free: {'counter' not in locks}")

    jobs = [f"{n}" for n in range(5)]
    pairs = [(job, worker) for worker in range(workers) for job in jobs]
    claimed = sum(claim.starmap(pairs, order_outputs=False))
    print(f"{len(pairs)} claims, {claimed} granted")
    assert all(state[f"done-{job}"] == locks[f"job-{job}"] for job in jobs)

    print(impatient.remote())
    print(f"left in locks: {sorted(key for key in locks.keys())}")
