"""Parse uploaded documents in the background.

POST a document, get the id of a job back at once, and poll for its result:

    curl -F document=@invoice.txt $URL/jobs
    curl $URL/jobs/fc-...
"""

import logging
import time

import fastapi
import modal

logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s")
logger = logging.getLogger("job-api")

image = (
    modal.Image.debian_slim(python_version="3.12")
    .apt_install("poppler-utils")
    .pip_install("fastapi[standard]==0.115.4", "python-multipart")
)
app = modal.App("job-api", image=image)
states = modal.Dict.from_name("job-api-states", create_if_missing=True)

SECONDS_PER_PAGE = 0.02


@app.function(
    cpu=1.0,
    memory=512,
    timeout=120,
    retries=modal.Retries(max_retries=2, backoff_coefficient=1.0, initial_delay=0.0),
)
def parse_document(name: str, content: bytes) -> dict:
    job_id = modal.current_function_call_id()
    state = states.get(job_id, {"attempts": 0})
    states[job_id] = {"name": name, "state": "running", "attempts": state["attempts"] + 1}

    text = content.decode("utf-8")
    if "smudged" in text and state["attempts"] == 0:
        raise RuntimeError("cannot read the first scan")

    pages = text.split("\f")
    words = 0
    for number, page in enumerate(pages, start=1):
        time.sleep(SECONDS_PER_PAGE)
        words += len(page.split())
        logger.info("%s: page %d of %d", name, number, len(pages))

    states[job_id] = {**states[job_id], "state": "done"}
    return {"name": name, "pages": len(pages), "words": words}


web_app = fastapi.FastAPI(title="Job API")


@web_app.post("/jobs", status_code=201)
async def submit(document: fastapi.UploadFile) -> dict:
    content = await document.read()
    if not content:
        raise fastapi.HTTPException(422, "the document is empty")
    call = await parse_document.spawn.aio(document.filename, content)
    return {"job_id": call.object_id}


@web_app.get("/jobs/{job_id}")
async def result(job_id: str):
    call = modal.FunctionCall.from_id(job_id)
    try:
        return await call.get.aio(timeout=0)
    except TimeoutError:
        state = await states.get.aio(job_id, {"state": "queued"})
        return fastapi.responses.JSONResponse(state, status_code=202)
    except modal.exception.OutputExpiredError:
        raise fastapi.HTTPException(410, "the result has expired")
    except modal.exception.NotFoundError:
        raise fastapi.HTTPException(404, "no such job")
    except modal.exception.RemoteError:
        raise fastapi.HTTPException(409, "the job was cancelled")
    except UnicodeDecodeError as error:
        raise fastapi.HTTPException(422, f"not a text: {error.reason}")


@web_app.delete("/jobs/{job_id}", status_code=204)
async def cancel(job_id: str):
    await modal.FunctionCall.from_id(job_id).cancel.aio()
    if await states.contains.aio(job_id):
        state = await states.get.aio(job_id)
        await states.put.aio(job_id, {**state, "state": "cancelled"})


@web_app.get("/jobs")
async def all_jobs() -> list[dict]:
    jobs = [{"job_id": key, **state} async for key, state in states.items.aio()]
    return sorted(jobs, key=lambda job: (job["name"], job["job_id"]))


@app.function(min_containers=1)
@modal.concurrent(max_inputs=100)
@modal.asgi_app(label="jobs")
def api():
    return web_app
