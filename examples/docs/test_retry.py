"""A retry with growing pauses, without any waiting."""

import moorage

app = moorage.App("crawler")
answers = ["503", "503", "a page"]


@app.function(retries=moorage.Retries(max_retries=3, initial_delay=10.0, backoff_coefficient=2.0))
async def fetch(url: str) -> str:
    answer = answers.pop(0)
    if answer == "503":
        raise ConnectionError(url)
    return answer


def test_it_is_patient(fake_container, virtual_clock):
    container = fake_container(fetch)
    assert container.call("/") == "a page"
    events = container.events
    assert [event.at for event in events.of("started")] == [0, 10, 30]
    assert [event.detail for event in events.of("waiting")] == ["ConnectionError"] * 2
