"""A pool of moorage behind one route of a FastAPI app of somebody's own."""

import asyncio
from contextlib import asynccontextmanager

import httpx
from fastapi import FastAPI

import moorage
import moorage.web

pools = moorage.App("pools")


@pools.function(max_containers=1)
@moorage.concurrent(max_inputs=4)
@moorage.fastapi_endpoint()
async def generate(prompt: str):
    await asyncio.sleep(0.01)
    return prompt.upper()


@asynccontextmanager
async def lifespan(service):
    async with pools.run():  # the containers live as long as the service
        yield


service = FastAPI(lifespan=lifespan)
service.mount("/generate", moorage.web.asgi(generate))


@service.get("/health")
async def health():
    return generate.statistics().web.count("2xx")


async def main():
    # Any ASGI server runs `service`: uvicorn serving_mounted:service
    transport = httpx.ASGITransport(service)
    async with (
        service.router.lifespan_context(service),
        httpx.AsyncClient(transport=transport, base_url="http://service") as client,
    ):
        answers = [client.get("/generate/", params={"prompt": word}) for word in ("one", "two")]
        print([answer.json() for answer in await asyncio.gather(*answers)])
        print((await client.get("/health")).json(), "requests were answered")


if __name__ == "__main__":
    asyncio.run(main())
