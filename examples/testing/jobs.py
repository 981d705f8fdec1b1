"""Reports on order: a web application spawns them, polls for them, and may take them back.

    modal run jobs.py --customer amber --months 3

What the application keeps of a job is its id, a string.  All else is asked for.
"""

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass

import modal

app = modal.App("reports")

SECONDS_A_MONTH = 20.0  # a report of a month takes about so long


class NoSuchCustomer(Exception):
    """There is nothing to report on."""


@dataclass(frozen=True)
class Report:
    customer: str
    lines: list[str]


@dataclass(frozen=True)
class Status:
    """What the application shows: pending, done, failed, cancelled, expired or unknown."""

    state: str
    report: Report | None = None
    reason: str = ""


def read_ledger(customer: str, month: int) -> str:
    """A month's line.  Slow: the ledger is far away."""
    if customer == "nobody":
        raise NoSuchCustomer(customer)
    time.sleep(SECONDS_A_MONTH)
    return f"{customer} {month:02}: paid"


# Each report has a container to itself, two at a time; what waits longer is not worth it.
@app.function(max_containers=2, timeout=300, scaledown_window=60)
def render(customer: str, months: int) -> Report:
    return Report(customer, [read_ledger(customer, month) for month in range(1, months + 1)])


def submit(customer: str, months: int = 1) -> str:
    """Order a report; its id."""
    return render.spawn(customer, months).object_id


def status(job: str) -> Status:
    """How a job is, without waiting for it."""
    try:
        report = modal.FunctionCall.from_id(job).get(timeout=0)
    except modal.exception.OutputExpiredError:
        return Status("expired")
    except modal.exception.FunctionTimeoutError:
        return Status("failed", reason="it took too long")
    except TimeoutError:
        return Status("pending")
    except modal.exception.NotFoundError:
        return Status("unknown")
    except modal.exception.RemoteError:
        return Status("cancelled")
    except Exception as error:
        return Status("failed", reason=f"{type(error).__name__}: {error}")
    return Status("done", report)


def cancel(job: str) -> None:
    """Take an order back.  Harmless if it is done."""
    modal.FunctionCall.from_id(job).cancel()


def wait_for(jobs: list[str], every: float = 5.0) -> list[Status]:
    """Poll until all have ended; in the order of `jobs`."""
    while any(status(job).state == "pending" for job in jobs):
        time.sleep(every)
    return [status(job) for job in jobs]


async def follow(job: str, every: float = 5.0) -> AsyncIterator[Status]:
    """What an open page shows: the status, and each other that it comes to be."""
    shown = await asyncio.to_thread(status, job)
    yield shown
    while shown.state == "pending":
        await asyncio.sleep(every)
        found = await asyncio.to_thread(status, job)
        if found != shown:
            shown = found
            yield shown


@app.local_entrypoint()
def main(customer: str = "amber", months: int = 3) -> None:
    (end,) = wait_for([submit(customer, months)])
    print(end.state, *(end.report.lines if end.report else [end.reason]), sep="\n")
