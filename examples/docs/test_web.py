"""A web app in virtual time: by a TestClient, and by httpx on the loop of the test."""

import asyncio

import httpx
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

import moorage

app = moorage.App("pictures")
api = FastAPI()


@app.function(max_containers=1)
async def render(name: str) -> str:
    await asyncio.sleep(30)
    return f"{name}.png"


@api.get("/pictures/{name}")
def picture(name: str) -> str:
    return render.remote(name)


@pytest.fixture
def client(run_app, virtual_clock):
    run_app(app)
    with TestClient(api) as client:
        yield client


def test_a_picture_takes_half_a_minute(client, virtual_clock):
    assert client.get("/pictures/cat").json() == "cat.png"
    assert virtual_clock.now() == 30


@pytest.mark.asyncio
async def test_two_at_once_wait_for_one_container(run_app, virtual_clock):
    run_app(app)
    transport = httpx.ASGITransport(app=api)
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        await asyncio.gather(client.get("/pictures/cat"), client.get("/pictures/dog"))
    assert virtual_clock.now() == 60
