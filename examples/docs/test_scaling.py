"""A whole app scales up for a burst, and down when it is over."""

import asyncio

import moorage
from moorage.testing import Probe

app = moorage.App("translator")


@app.cls(max_containers=3, scaledown_window=20)
@moorage.concurrent(max_inputs=4)
class Model:
    @moorage.enter()
    async def load(self) -> None:
        await asyncio.sleep(5)

    @moorage.method()
    async def translate(self, text: str) -> str:
        await asyncio.sleep(10)
        return text.upper()


def test_up_and_down(run_app, virtual_clock):
    probe = Probe()
    run_app(app, probe=probe)
    assert list(Model().translate.map("abcdefgh")) == list("ABCDEFGH")
    assert virtual_clock.now() == 15  # a start, and all eight at once
    virtual_clock.sleep(60)
    assert [event.at for event in probe.events.of("ready")] == [5, 5]
    assert [event.at for event in probe.events.of("stopped")] == [35, 35]
