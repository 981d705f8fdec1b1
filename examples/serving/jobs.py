"""A FastAPI application that takes jobs, spawns them, and is asked for them later.

    python jobs.py                                      prints its URL, and serves until Ctrl-C
    curl -X POST 'http://127.0.0.1:PORT/jobs?pages=3'   {"job": "fc-..."}
    curl 'http://127.0.0.1:PORT/jobs/fc-...'            {"state": "running"}, later the result

The web function only spawns and looks: it holds no slot while a job runs.  The jobs have
containers of their own.
"""

import threading
import time

import modal

app = modal.App("printer")

SECONDS_A_PAGE = 2.0


@app.function(max_containers=2, timeout=600)
@modal.concurrent(max_inputs=2)
def render(pages: int) -> list[str]:
    rendered: list[str] = []
    for page in range(1, pages + 1):
        time.sleep(SECONDS_A_PAGE)
        rendered.append(f"page {page}")
    return rendered


@app.function(max_containers=1)
@modal.concurrent(max_inputs=100)
@modal.asgi_app()
def site():
    from fastapi import FastAPI, HTTPException, Response

    api = FastAPI(title="printer")

    @api.post("/jobs", status_code=202)
    async def order(pages: int) -> dict[str, str]:
        if not 1 <= pages <= 100:
            raise HTTPException(422, "a job has 1 to 100 pages")
        call = await render.spawn.aio(pages)
        return {"job": call.object_id}

    @api.get("/jobs/{job}")
    async def look(job: str, response: Response) -> dict[str, object]:
        try:
            call = modal.FunctionCall.from_id(job)
            pages = await call.get.aio(timeout=0)
        except TimeoutError:
            response.status_code = 202
            return {"state": "running"}
        except modal.exception.RemoteError:
            return {"state": "cancelled"}
        except modal.exception.NotFoundError:
            raise HTTPException(404, "no such job") from None
        return {"state": "done", "pages": pages}

    @api.delete("/jobs/{job}")
    async def drop(job: str) -> dict[str, str]:
        await modal.FunctionCall.from_id(job).cancel.aio()
        return {"state": "cancelled"}

    return api


if __name__ == "__main__":
    with app.run():
        print(site.get_web_url(), flush=True)
        threading.Event().wait()
