"""Two apps: one calls a function of the other by its name, in an environment."""

import moorage

shop = moorage.App("shop")
office = moorage.App("office")


@shop.function()
def price(item: str) -> int:
    return {"pen": 2, "book": 15}[item]


@office.function()
def total(items: list[str]) -> int:
    price = moorage.Function.from_name("shop", "price")
    return sum(price.map(items))


if __name__ == "__main__":
    with shop.run(environment_name="dev"), office.run(environment_name="dev"):
        print(total.remote(["pen", "book"]))
        print(moorage.Function.from_name("shop", "price", environment_name="dev"))
