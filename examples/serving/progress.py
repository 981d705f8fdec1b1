"""Server-sent events: a page that shows how far a long job is.

    python progress.py                                  prints its URL, and serves until Ctrl-C
    curl -N 'http://127.0.0.1:PORT/events?files=3'      data: {"done": 1, "of": 3} ...

The job is a generator in containers of its own.  The web function passes each item on as it
comes, and a reader who leaves ends the job.
"""

import asyncio
import json
import threading
from collections.abc import AsyncIterator
from contextlib import aclosing

import modal

app = modal.App("importer")

SECONDS_A_FILE = 3.0

ended: list[int] = []  # how far each job was when it ended


@app.function(max_containers=4, timeout=3600)
@modal.concurrent(max_inputs=10)
async def import_files(files: int) -> AsyncIterator[int]:
    done = 0
    try:
        while done < files:
            await asyncio.sleep(SECONDS_A_FILE)
            done += 1
            yield done
    finally:
        ended.append(done)


@app.function(max_containers=1, timeout=3600)
@modal.concurrent(max_inputs=100)
@modal.asgi_app()
def site():
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import StreamingResponse
    from starlette.routing import Route

    async def events(request: Request) -> StreamingResponse:
        files = int(request.query_params["files"])

        async def lines() -> AsyncIterator[str]:
            async with aclosing(import_files.remote_gen.aio(files)) as job:
                async for done in job:
                    yield f"data: {json.dumps({'done': done, 'of': files})}\n\n"

        return StreamingResponse(lines(), media_type="text/event-stream")

    return Starlette(routes=[Route("/events", events)])


if __name__ == "__main__":
    with app.run():
        print(site.get_web_url(), flush=True)
        threading.Event().wait()
