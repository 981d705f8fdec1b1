"""The stock: prices, and how much of each article is there.

Deployed on its own; other apps find it by name.
"""

import modal

app = modal.App("shop-stock")

PRICES = {"tea": 350, "cake": 420, "cup": 900}


@app.function(cpu=0.25)
def price(article: str) -> int:
    """The price in cents."""
    return PRICES[article]


@app.cls(max_containers=1)
@modal.concurrent(max_inputs=50)
class Shelf:
    section: str = modal.parameter(default="main")

    @modal.enter()
    def fill(self):
        self.left = dict.fromkeys(PRICES, 3)

    @modal.method()
    def take(self, article: str, count: int = 1) -> int:
        if self.left[article] < count:
            raise ValueError(f"only {self.left[article]} of {article} left")
        self.left[article] -= count
        return self.left[article]


@app.function()
def report() -> dict:
    """What the other app has sold so far."""
    sold = modal.Function.from_name("shop-orders", "sold")
    return {"sold": sold.remote(), "price": price.remote("tea")}


@app.function()
@modal.fastapi_endpoint(label="shop-report")
def report_page():
    return report.local()
