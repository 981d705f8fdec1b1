"""A race that nobody wrote down is found, and run again by its seed."""

import asyncio

import pytest

import moorage
from moorage.testing import explore, replay

app = moorage.App("shop")
stock = {}


@app.function(max_containers=2)
async def sell(customer: str) -> bool:
    await asyncio.sleep(1)  # a bank is asked
    if not stock["book"]:
        return False
    await asyncio.sleep(0)  # the receipt is written
    stock["book"] -= 1
    return True


def one_book_is_sold_once() -> None:
    stock["book"] = 1  # all state is made here, for each run anew
    with app.run():
        sold = list(sell.map(["ann", "bob"]))
    assert sold.count(True) == 1


def test_the_bug_is_found_in_some_order():
    with pytest.raises(AssertionError) as caught:
        explore(one_book_is_sold_once, runs=200)
    assert "failed with seed=" in caught.value.__notes__[0]


def test_an_order_is_run_again():
    replay(one_book_is_sold_once, seed=0)  # in this order nothing goes wrong
