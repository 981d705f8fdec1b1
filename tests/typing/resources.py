"""What the type checkers see of the cloud's objects.  Checked by them, not run."""

from typing import Any, assert_type

import moorage
from moorage.types import FileEntry

image = moorage.Image.debian_slim("3.12").pip_install("a", ["b"]).env({"A": "1"})
assert_type(image, moorage.Image)
assert_type(image.hydrate(), moorage.Image)
assert_type(image.build(), moorage.Image)


def step(image: moorage.Image, name: str, *, tag: int) -> moorage.Image:
    return image


assert_type(image.pipe(step, "a", tag=1), moorage.Image)
image.pipe(step, 1, tag=1)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
image.pip_install(3)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]

with image.imports():
    import json

    assert json

volume = moorage.Volume.from_name("v", create_if_missing=True)
assert_type(volume.listdir("/", recursive=True), list[FileEntry])
assert_type(volume.commit(), None)
volume.listdir(3)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
moorage.Volume.objects.create("v", allow_existing=True)
assert_type(moorage.Volume.objects.list(), list[moorage.Volume])
image.run_commands("a", volumes={"/data": volume})

entries = moorage.Dict.from_name("d")
assert_type(entries["a"], Any)
entries["a"] = 1
assert_type("a" in entries, bool)
assert_type(entries.put("a", 1, skip_if_exists=True), bool)

queue = moorage.Queue.from_name("q")
assert_type(queue.get(timeout=1), Any)


async def main() -> None:
    assert_type(await volume.hydrate.aio(), moorage.Volume)
    assert_type(await volume.listdir.aio("/"), list[FileEntry])
    assert_type(await queue.len.aio(), int)
    async for chunk in volume.read_file.aio("a"):
        assert_type(chunk, bytes)
    async with moorage.forward(8000) as tunnel, moorage.Queue.ephemeral() as made:
        assert_type(tunnel, moorage.Tunnel)
        assert_type(made, moorage.Queue)
    sandbox = await moorage.Sandbox.create.aio("echo", timeout=3)
    assert_type(sandbox, moorage.Sandbox)


for chunk in volume.read_file("a"):
    assert_type(chunk, bytes)
