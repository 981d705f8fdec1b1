"""A program for Modal; only its first import has changed."""

import moorage as modal

app = modal.App("squares")
image = modal.Image.debian_slim().pip_install("numpy")


@app.function(image=image, cpu=2.0, memory=1024, max_containers=4)
@modal.concurrent(max_inputs=20, target_inputs=10)
async def square(x: int) -> int:
    return x * x


@app.local_entrypoint()
def main(count: int = 5) -> None:
    print(list(square.map(range(count))))


if __name__ == "__main__":
    with app.run():
        main()
