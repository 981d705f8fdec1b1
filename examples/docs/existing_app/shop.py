"""An app as it is deployed with Modal; nothing in it knows of tests."""

import modal

app = modal.App("shop")
image = modal.Image.debian_slim().pip_install("pillow")


@app.cls(image=image, gpu="T4", scaledown_window=60)
@modal.concurrent(max_inputs=8)
class Thumbnails:
    @modal.enter()
    def load(self) -> None:
        self.suffix = ".thumb.png"

    @modal.method()
    def make(self, picture: str) -> str:
        return picture.removesuffix(".png") + self.suffix


@app.function(image=image)
def make_all(pictures: list[str]) -> list[str]:
    return list(Thumbnails().make.map(pictures))
