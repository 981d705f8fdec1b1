"""A web function in a test: no server, no sockets, and an hour takes no time."""

import asyncio

import moorage
from moorage.testing import web_client

app = moorage.App("weather")


@app.function(max_containers=1, timeout=600)
@moorage.concurrent(max_inputs=2)
@moorage.asgi_app()
def weather():
    from fastapi import FastAPI, WebSocket
    from fastapi.responses import StreamingResponse

    site = FastAPI()

    @site.get("/forecast")
    async def forecast(city: str):
        await asyncio.sleep(60)  # asks a slow model
        return {"city": city, "rain": 0.3}

    @site.get("/live")
    async def live():
        async def hours():
            for hour in range(3):
                yield f"data: {hour} h\n\n"
                await asyncio.sleep(100)

        return StreamingResponse(hours(), media_type="text/event-stream")

    @site.websocket("/alarm")
    async def alarm(socket: WebSocket):
        await socket.accept()
        city = await socket.receive_text()
        await socket.send_json({"city": city, "storm": False})

    return site


def test_a_forecast(run_app, virtual_clock):
    run_app(app)
    with web_client(weather) as client:
        response = client.get("/forecast", params={"city": "Oslo"})
        assert response.json() == {"city": "Oslo", "rain": 0.3}
        assert virtual_clock.now() == 60


def test_four_at_once_need_two_rounds(virtual_clock):
    async def main():
        async with app.run(clock=virtual_clock), web_client(weather) as client:
            await asyncio.gather(*(client.get("/forecast?city=Rome") for _ in range(4)))

    virtual_clock.run(main())
    assert virtual_clock.now() == 120


def test_events_come_one_by_one(run_app, virtual_clock):
    run_app(app)
    with web_client(weather) as client, client.stream("GET", "/live") as response:
        seen = [(line, virtual_clock.now()) for line in response.iter_lines() if line]
    assert seen == [("data: 0 h", 0), ("data: 1 h", 100), ("data: 2 h", 200)]


def test_a_websocket(run_app, virtual_clock):
    run_app(app)
    with web_client(weather) as client, client.websocket("/alarm") as socket:
        socket.send_text("Oslo")
        assert socket.receive_json() == {"city": "Oslo", "storm": False}
