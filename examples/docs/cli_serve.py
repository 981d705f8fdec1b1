"""Web functions, and a model that they use."""

import modal

app = modal.App("shop")


@app.function()
@modal.concurrent(max_inputs=100)
@modal.fastapi_endpoint()
async def greet(who: str = "you"):
    return f"hello {who}"


@app.cls(max_containers=1)
class Model:
    @modal.enter()
    def load(self):
        self.words = {"tea": 3, "cake": 5}
        print("the model is loaded", flush=True)

    @modal.exit()
    def free(self):
        print("the model is freed", flush=True)

    @modal.fastapi_endpoint(method="POST")
    def price(self, order: list[str]):
        return sum(self.words.get(word, 0) for word in order)

    @modal.method()
    def count(self) -> int:
        return len(self.words)
