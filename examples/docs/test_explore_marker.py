"""A pytest test that is run in many orders, each with fresh fixtures."""

import asyncio

import pytest

import moorage

app = moorage.App("shop")
stock = {}
doors = {}


@app.function(max_containers=1)
@moorage.concurrent(max_inputs=2)
async def sell(customer: str) -> bool:
    async with doors["shop"]:  # without this lock, the book is sold twice in some orders
        if not stock["book"]:
            return False
        await asyncio.sleep(1)
        stock["book"] -= 1
        return True


@pytest.mark.moorage_explore(runs=100)
def test_one_book_is_sold_once(virtual_clock, run_app):
    stock["book"], doors["shop"] = 1, asyncio.Lock()
    run_app(app)
    assert list(sell.map(["ann", "bob"])).count(True) == 1
