"""A race, written down: both have looked before either takes."""

import asyncio

import pytest

balance = {"ann": 100}
lock = asyncio.Lock()


async def withdraw(amount: int) -> None:
    if balance["ann"] >= amount:
        await asyncio.sleep(0.01)  # a bank is asked
        balance["ann"] -= amount


async def withdraw_safely(amount: int) -> None:
    async with lock:
        await withdraw(amount)


@pytest.mark.parametrize(("function", "left"), [(withdraw, -60), (withdraw_safely, 20)])
def test_two_withdrawals_at_once(function, left, fake_container, virtual_clock):
    balance["ann"] = 100
    container = fake_container(function, max_inputs=2)
    with container.hold("await") as gate:
        handles = [container.submit(80), container.submit(80)]
        gate.wait_held(2)
        gate.release(handles[1])  # the second one is faster
    container.wait_idle()
    assert balance["ann"] == left
