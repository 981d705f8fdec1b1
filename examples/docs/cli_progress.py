"""A map that takes some seconds, whose progress is shown."""

import time

import modal

app = modal.App("thumbnails")


@app.function(max_containers=3)
@modal.concurrent(max_inputs=4)
def shrink(picture: int) -> int:
    time.sleep(0.1)  # reads, shrinks, writes
    return 1


@app.local_entrypoint()
def main(pictures: int = 300):
    print(sum(shrink.map(range(pictures))), "pictures are small now")
