"""Options from the parameters of functions."""

from typing import Literal

import modal

app = modal.App("pictures")


@app.cls(max_containers=1)
class Painter:
    style: str = modal.parameter(default="oil")

    @modal.method()
    def paint(self, subject: str, size: Literal["small", "large"] = "small") -> str:
        return f"a {size} {self.style} painting of {subject}"


@app.local_entrypoint()
def main(*subjects: str):
    for picture in Painter().paint.map(subjects):
        print(picture)


@app.function()
def divide(a: int, b: int = 0) -> float:
    return a / b
