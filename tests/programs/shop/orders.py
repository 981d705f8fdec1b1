"""Orders: knows the stock by name only."""

import logging

import modal
from fastapi import FastAPI, HTTPException
from pydantic import BaseModel

app = modal.App("shop-orders", image=modal.Image.debian_slim().pip_install("fastapi[standard]"))
orders = modal.Queue.from_name("shop-orders", create_if_missing=True)
total = modal.Dict.from_name("shop-total", create_if_missing=True)

price = modal.Function.from_name("shop-stock", "price")
Shelf = modal.Cls.from_name("shop-stock", "Shelf")


class Order(BaseModel):
    article: str
    count: int = 1


@app.function()
def sold() -> int:
    return total.get("cents", 0)


@app.function(max_containers=1)
def book(order: Order) -> int:
    cents = order.count * price.remote(order.article)
    total["cents"] = total.get("cents", 0) + cents
    orders.put(order.model_dump(), partition=order.article)
    return cents


web_app = FastAPI()


@web_app.post("/orders", status_code=201)
async def place(order: Order):
    try:
        left = await Shelf().take.remote.aio(order.article, count=order.count)
    except KeyError:
        raise HTTPException(404, "no such article")
    except ValueError as error:
        logging.warning("refused: %s", error)
        raise HTTPException(409, str(error))
    return {"left": left, "cents": await book.remote.aio(order)}


@web_app.get("/orders/{article}")
async def waiting(article: str) -> int:
    return await orders.len.aio(partition=article)


@app.function()
@modal.concurrent(max_inputs=20)
@modal.asgi_app()
def web():
    return web_app
