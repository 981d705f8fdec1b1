"""The web function of ``model.py``: how its requests become batches."""

import asyncio

from model import SECONDS_A_BATCH, SECONDS_TO_LOAD, app, mood

from moorage.testing import Probe, web_client


def test_the_first_request_waits_for_the_model(run_app, clock):
    run_app(app)
    with web_client(mood) as client:
        answer = client.get("/", params={"text": "a fine day"}).json()
        assert answer == {"text": "a fine day", "mood": 0.8}
        assert clock.now() >= SECONDS_TO_LOAD + SECONDS_A_BATCH


def test_sixteen_requests_are_one_batch(clock):
    probe = Probe()

    async def main():
        async with app.run(clock=clock, probe=probe), web_client(mood) as client:
            await client.get("/?text=good")  # the model is loaded
            before = clock.now()
            requests = [client.get("/", params={"text": f"good {n}"}) for n in range(16)]
            answers = [answer.json() for answer in await asyncio.gather(*requests)]
            assert [answer["mood"] for answer in answers] == [0.7] * 16
            assert clock.now() - before == SECONDS_A_BATCH

    clock.run(main())


def test_a_text_is_asked_for(run_app):
    run_app(app)
    with web_client(mood) as client:
        assert client.get("/").status_code == 422
