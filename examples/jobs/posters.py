"""A job queue: orders wait in a Queue, their states are in a Dict, the results on a Volume.

    moorage serve posters.py
    curl -X POST 'http://127.0.0.1:8000/jobs?text=hello'      {"job": "..."}
    curl 'http://127.0.0.1:8000/jobs/...'                     {"state": "done", ...}
    curl 'http://127.0.0.1:8000/jobs/.../poster'              the poster

The web function puts an order into the queue and starts a worker.  A worker takes orders until
none is left, so any number of orders has two workers at most.  Once an hour a schedule removes
what is older than a day.
"""

import time
import uuid
from pathlib import Path

import modal

app = modal.App("posters")
jobs = modal.Dict.from_name("poster-jobs", create_if_missing=True)
orders = modal.Queue.from_name("poster-orders", create_if_missing=True)
volume = modal.Volume.from_name("posters", create_if_missing=True)

FOLDER = Path("/posters")  # where the volume is mounted
SECONDS_A_LETTER = 1.0
KEPT = 24 * 3600


def draw(text: str) -> str:
    """Draw a poster, slowly.

    Raises:
        ValueError: if the text does not fit.
    """
    if len(text) > 20:
        raise ValueError(f"{len(text)} letters do not fit on a poster of 20")
    time.sleep(len(text) * SECONDS_A_LETTER)
    edge = "*" * (len(text) + 4)
    return f"{edge}\n* {text.upper()} *\n{edge}\n"


@app.function(volumes={str(FOLDER): volume}, max_containers=2, timeout=3600)
def work() -> None:
    while (order := orders.get(block=False)) is not None:
        job, text = order
        jobs[job] = {"state": "running", "since": time.time()}
        try:
            poster = draw(text)
        except ValueError as error:
            jobs[job] = {"state": "failed", "why": str(error), "since": time.time()}
            continue
        (FOLDER / job).write_text(poster)
        volume.commit()
        jobs[job] = {"state": "done", "since": time.time()}


@app.function(volumes={str(FOLDER): volume}, schedule=modal.Period(hours=1))
def clean_up() -> None:
    old = time.time() - KEPT
    for job, status in list(jobs.items()):
        if status["since"] < old and status["state"] in ("done", "failed"):
            (FOLDER / job).unlink(missing_ok=True)
            jobs.pop(job)
    volume.commit()


@app.function(volumes={str(FOLDER): volume}, max_containers=1)
@modal.concurrent(max_inputs=100)
@modal.asgi_app()
def site():
    from fastapi import FastAPI, HTTPException
    from fastapi.responses import PlainTextResponse

    api = FastAPI(title="posters")

    @api.post("/jobs", status_code=202)
    async def order(text: str) -> dict[str, str]:
        job = uuid.uuid4().hex
        await jobs.put.aio(job, {"state": "waiting", "since": time.time()})
        await orders.put.aio((job, text))
        await work.spawn.aio()
        return {"job": job}

    @api.get("/jobs/{job}")
    async def look(job: str) -> dict[str, object]:
        status: dict[str, object] | None = await jobs.get.aio(job)
        if status is None:
            raise HTTPException(404, "no such job")
        return status

    @api.get("/jobs/{job}/poster")
    def poster(job: str) -> PlainTextResponse:
        if jobs.get(job, {"state": None})["state"] != "done":
            raise HTTPException(404, "no such poster")
        volume.reload()
        return PlainTextResponse((FOLDER / job).read_text())

    return api
