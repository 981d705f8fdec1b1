"""Programs with a race: in some of the orders that nobody promises, an assertion fails.

Owns `RACY`, each program with the `preempt` that it needs.  Each makes all its state itself.
Most of these pass in the order that a clock without a seed has: their race is hidden there.
Begin at `RACY`.
"""

from __future__ import annotations

import asyncio
import threading
import time

import anyio

import moorage

# -- async code on one loop ---------------------------------------------------------------


async def check_then_act():
    stock = {"book": 1}

    async def sell(seconds):
        await asyncio.sleep(seconds)
        if stock["book"]:
            await asyncio.sleep(0.1)  # the receipt
            stock["book"] -= 1

    # The second one comes when the first one has ended, if the first is faster.
    await asyncio.gather(sell(0.2), sell(0.3))
    assert stock["book"] == 0, f"{stock['book']} left"


async def lost_update():
    account = {"ann": 0}

    async def pay(begins, amount):
        await asyncio.sleep(begins)
        before = account["ann"]
        await asyncio.sleep(1)
        account["ann"] = before + amount

    await asyncio.gather(pay(0, 1), pay(1, 2))
    assert account["ann"] == 3, f"{account['ann']} on the account"


async def children_of_a_group():
    steps = []

    async def connect():
        await asyncio.sleep(1)
        steps.append("connected")

    async def ask():
        await asyncio.sleep(1)
        assert steps, "asked before it was connected"

    async with asyncio.TaskGroup() as group:
        group.create_task(connect())
        group.create_task(ask())


async def cancelled_children_of_a_group():
    closed = []

    async def hold(n):
        try:
            await asyncio.sleep(100)
        finally:
            closed.append(n)

    async def fail():
        await asyncio.sleep(1)
        raise LookupError

    try:
        async with asyncio.TaskGroup() as group:
            for n in range(3):
                group.create_task(hold(n))
            group.create_task(fail())
    except* LookupError:
        pass
    assert closed == [0, 1, 2], f"closed in the order {closed}"


async def as_completed_in_order():
    async def ask(n):
        await asyncio.sleep(1)
        return n

    tasks = [asyncio.ensure_future(ask(n)) for n in range(3)]
    answers = [await each for each in asyncio.as_completed(tasks)]
    assert answers == [0, 1, 2], f"answers {answers}"


async def the_first_of_those_that_are_done():
    async def ask(n):
        await asyncio.sleep(1)
        return n

    tasks = {asyncio.ensure_future(ask(n)) for n in range(3)}
    done, _ = await asyncio.wait(tasks)
    assert [task.result() for task in done] == [0, 1, 2], "a set has no order"


async def all_are_done_at_the_first():
    tasks = [asyncio.ensure_future(asyncio.sleep(1, n)) for n in range(2)]
    done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    assert len(done) == 2, f"{len(done)} done at one instant"


async def a_timeout_and_a_result():
    saved = []

    async def save():
        await asyncio.sleep(1)
        saved.append(1)

    try:
        await asyncio.wait_for(save(), 1)
    except TimeoutError:
        raise AssertionError(f"timed out, {len(saved)} saved") from None


async def a_cancel_and_an_end():
    async def work():
        await asyncio.sleep(1)

    task = asyncio.ensure_future(work())
    await asyncio.sleep(1)
    task.cancel()
    try:
        await task
    except asyncio.CancelledError:
        raise AssertionError("cancelled at the instant of its end") from None


async def a_scope_and_its_work():
    sent = []
    with anyio.move_on_after(2):
        await anyio.sleep(2)
        sent.append(1)
    assert sent, "the scope ended first"


async def a_ticker_and_a_reader():
    ticks = 0

    async def tick():
        nonlocal ticks
        while True:
            await asyncio.sleep(1)
            ticks += 1

    ticker = asyncio.ensure_future(tick())
    await asyncio.sleep(3)
    ticker.cancel()
    assert ticks == 3, f"{ticks} ticks in 3 s"


async def threads_in_order():
    ended = []
    await asyncio.gather(*(asyncio.to_thread(ended.append, n) for n in range(3)))
    assert ended == [0, 1, 2], f"ended {ended}"


async def a_refill_that_was_seen():
    """The event is set and cleared again before all have seen what it was set for."""
    event, level, taken = asyncio.Event(), {"cups": 0}, []

    async def refill():
        await asyncio.sleep(1)
        level["cups"] = 2
        event.set()

    async def drink(n):
        await asyncio.sleep(1)
        if not level["cups"]:
            await event.wait()
        level["cups"] -= 1
        taken.append(n)

    await asyncio.gather(refill(), drink(0), drink(1))
    assert taken == [0, 1], f"taken by {taken}"


async def who_wins():
    """Any of five may win, also the last; one timer that is late is not enough for that."""
    order = []

    async def run(n):
        await asyncio.sleep(1)
        order.append(n)

    await asyncio.gather(*(run(n) for n in range(5)))
    assert order[0] != 4, "the last wins"


# -- across containers ----------------------------------------------------------------------


def a_shared_dict():
    app, stock = moorage.App(), {"book": 1}

    @app.function()
    async def count():
        return stock["book"]

    @app.function()
    async def sell():
        stock["book"] -= 1

    with app.run():
        assert count.remote() == 1
        sell.remote()
        stock["book"] = 1
        counted, sold = count.spawn(), sell.spawn()
        sold.get()
        assert counted.get() == 1, "counted after the sale"


def spawned_in_order():
    app, log = moorage.App(), []

    @app.function(max_containers=3)
    def note(n):
        time.sleep(1)
        log.append(n)

    with app.run():
        for call in [note.spawn(n) for n in range(3)]:
            call.get()
    assert log == [0, 1, 2], f"log {log}"


def map_without_order():
    app = moorage.App()

    @app.function(max_containers=3)
    async def double(n):
        await asyncio.sleep(1)
        return 2 * n

    with app.run():
        results = list(double.map(range(3), order_outputs=False))
    assert results == [0, 2, 4], f"results {results}"


def map_without_order_of_threads():
    app = moorage.App()

    @app.function(max_containers=1)
    @moorage.concurrent(max_inputs=3)
    def double(n):
        time.sleep(1)
        return 2 * n

    with app.run():
        results = list(double.map(range(3), order_outputs=False))
    assert results == [0, 2, 4], f"results {results}"


def a_retry_and_a_success():
    app, tried, log = moorage.App(), set(), []

    @app.function(max_containers=2, retries=moorage.Retries(max_retries=1, initial_delay=1.0))
    async def fetch(n):
        if n == 0 and n not in tried:
            tried.add(n)
            raise ConnectionError
        if n == 1:
            await asyncio.sleep(1)
        log.append(n)

    with app.run():
        list(fetch.map(range(2)))
    assert log == [1, 0], f"the retry came before the other: {log}"


def first_container_first():
    app, opened = moorage.App(), []

    @app.cls(max_containers=3)
    class Till:
        @moorage.enter()
        async def open(self):
            await asyncio.sleep(1)
            self.number = len(opened)
            opened.append(self.number)

        @moorage.method()
        async def sell(self, n):
            await asyncio.sleep(1)
            return self.number

    with app.run():
        tills = list(Till().sell.map(range(3)))
    assert tills == [0, 1, 2], f"sold at the tills {tills}"


def two_callers_of_one_pool():
    app, log = moorage.App(), []

    @app.function(max_containers=1)
    async def store(who):
        log.append(who)

    @app.function()
    async def ann():
        await store.remote.aio("ann")

    @app.function()
    async def bob():
        await store.remote.aio("bob")

    with app.run():
        calls = [ann.spawn(), bob.spawn()]
        for call in calls:
            call.get()
    assert log == ["ann", "bob"], f"stored {log}"


async def answers_of_two_functions():
    app, last = moorage.App(), []

    @app.function()
    async def fast():
        await asyncio.sleep(1)
        return "fast"

    @app.function()
    async def slow():
        await asyncio.sleep(1)
        return "slow"

    async def ask(function):
        last.append(await function.remote.aio())

    async with app.run():
        await asyncio.gather(ask(fast), ask(slow))
    assert last[-1] == "slow", f"answers {last}"


def a_timeout_of_an_input():
    app = moorage.App()

    @app.function(timeout=5)
    async def work():
        await asyncio.sleep(5)
        return "done"

    with app.run():
        try:
            work.remote()
        except moorage.exception.FunctionTimeoutError:
            raise AssertionError("timed out at the instant of its end") from None


# -- batches and cancels ----------------------------------------------------------------------


async def cancelled_as_the_batch_fills():
    app, batches = moorage.App(), []

    @app.function(max_containers=1)
    @moorage.batched(max_batch_size=3, wait_ms=2000)
    async def embed(ns):
        batches.append(ns)
        return ns

    async def later(n):
        await asyncio.sleep(1)
        await embed.remote.aio(n)

    async with app.run():
        await embed.spawn.aio(0)
        first = await embed.spawn.aio(1)
        last = asyncio.ensure_future(later(2))
        await asyncio.sleep(1)
        first.cancel()
        await last
    assert [0, 1, 2] in batches, f"batches {batches}"


async def a_batch_at_its_time_or_its_size():
    app, batches = moorage.App(), []

    @app.function(max_containers=1)
    @moorage.batched(max_batch_size=2, wait_ms=1000)
    async def embed(ns):
        batches.append(ns)
        return ns

    async def later(n):
        await asyncio.sleep(1)
        return await embed.remote.aio(n)

    async with app.run():
        await asyncio.gather(embed.remote.aio(0), later(1))
    assert batches in ([[0, 1]], [[0], [1]]), batches
    assert batches == [[0, 1]], f"batches {batches}"


async def told_in_the_order_of_their_ends():
    app, ended, told = moorage.App(), [], []

    @app.function(max_containers=1)
    @moorage.concurrent(max_inputs=3)
    async def ask(n):
        await asyncio.sleep(n % 2)
        ended.append(n)
        return n

    async def note(n):
        told.append(await ask.remote.aio(n))

    async with app.run():
        await asyncio.gather(*(note(n) for n in range(3)))
    assert told == ended, f"ended {ended}, told {told}"


def members_of_a_batch():
    app, batches = moorage.App(), []

    @app.function(max_containers=1)
    @moorage.batched(max_batch_size=4, wait_ms=100)
    async def embed(ns):
        batches.append(ns)
        return ns

    @app.function(max_containers=4)
    async def ask(n):
        return await embed.remote.aio(n)

    with app.run():
        list(ask.map(range(4)))
    assert batches == [[0, 1, 2, 3]], f"batches {batches}"


# -- sync code that is switched between two lines -------------------------------------------


def lost_update_of_threads():
    app, counts = moorage.App(), {"sold": 0}

    @app.function(max_containers=1)
    @moorage.concurrent(max_inputs=2)
    def sell(n):
        sold = counts["sold"]
        sold += 1
        counts["sold"] = sold

    with app.run():
        list(sell.map(range(2)))
    assert counts["sold"] == 2, f"sold {counts['sold']}"


def check_then_act_of_threads():
    app, seats = moorage.App(), ["1A"]

    @app.function(max_containers=2)
    def book(who):
        if seats:
            return seats.pop()
        return None

    with app.run():
        booked = list(book.map(["ann", "bob"]))
    assert sorted(map(str, booked)) == ["1A", "None"]


def double_checked_init():
    app, made = moorage.App(), []

    class Model:
        def __init__(self):
            self.weights = None

        def load(self):
            self.weights = [1, 2, 3]

    shared = {}

    @app.function(max_containers=1)
    @moorage.concurrent(max_inputs=3)
    def use(n):
        model = shared.get("model")
        if model is None:
            model = Model()
            shared["model"] = model  # the others see a model that is not loaded yet
            model.load()
            made.append(n)
        return model.weights[0]

    with app.run():
        list(use.map(range(3)))


def lazy_singleton():
    app, made = moorage.App(), []

    class Client:
        instance = None

        @classmethod
        def get(cls):
            if cls.instance is None:
                made.append(1)
                cls.instance = cls()
            return cls.instance

    @app.function(max_containers=2)
    @moorage.concurrent(max_inputs=2)
    def use(n):
        return id(Client.get())

    with app.run():
        clients = set(use.map(range(4)))
    assert len(clients) == 1, f"{len(made)} clients made"


def update_of_a_dict():
    app, words = moorage.App(), {}

    @app.function(max_containers=2)
    def count(text):
        for word in text.split():
            seen = words.get(word, 0)
            words[word] = seen + 1

    with app.run():
        list(count.map(["a b a", "b a b"]))
    assert words == {"a": 3, "b": 3}, words


def lock_in_the_wrong_place():
    app, lock, counts = moorage.App(), threading.Lock(), {"n": 0}

    @app.function(max_containers=1)
    @moorage.concurrent(max_inputs=2)
    def add(n):
        with lock:
            before = counts["n"]
        with lock:
            counts["n"] = before + 1

    with app.run():
        list(add.map(range(2)))
    assert counts["n"] == 2, f"counted {counts['n']}"


def changed_while_it_is_read():
    app, users = moorage.App(), {"ann": 1, "bob": 2}

    @app.function()
    def report():
        length = 0
        for name in users:
            length += len(name)
        return length

    @app.function()
    def remove():
        users.pop("bob")

    with app.run():
        calls = [report.spawn(), remove.spawn()]
        for call in calls:
            call.get()


def flag_before_its_value():
    app, box = moorage.App(), {"ready": False}

    @app.function()
    def fill():
        box["ready"] = True
        box["value"] = 1

    @app.function()
    def use():
        if box["ready"]:
            return box["value"]
        return None

    with app.run():
        calls = [fill.spawn(), use.spawn()]
        for call in calls:
            call.get()


# -- orders within one instant -----------------------------------------------------------------


async def timers_of_one_instant():
    ready = []

    async def fill():
        await asyncio.sleep(1)
        ready.append(1)

    async def use():
        await asyncio.sleep(1)
        assert ready, "used before it was filled"

    await asyncio.gather(fill(), use())


def starts_on_one_loop():
    app, ready = moorage.App(), []

    @app.function(max_containers=1)
    @moorage.concurrent(max_inputs=4)
    async def step(n):
        if n:
            assert ready, f"step {n} before step 0"
        ready.append(n)

    with app.run():
        list(step.map(range(4)))


def starts_on_threads():
    app, ready = moorage.App(), []

    @app.function(max_containers=1)
    @moorage.concurrent(max_inputs=4)
    def step(n):
        if n:
            assert ready, f"step {n} before step 0"
        ready.append(n)

    with app.run():
        list(step.map(range(4)))


def two_functions():
    app, stock = moorage.App(), {}

    @app.function()
    async def fill():
        stock["book"] = 1

    @app.function()
    async def sell():
        stock["book"] -= 1

    with app.run():
        calls = [fill.spawn(), sell.spawn()]
        for call in calls:
            call.get()


def two_functions_that_are_warm():
    app, stock = moorage.App(), {"book": 1}

    @app.function()
    async def fill():
        stock["book"] = 1

    @app.function()
    async def sell():
        stock["book"] -= 1

    with app.run():
        fill.remote()
        sell.remote()
        del stock["book"]
        calls = [fill.spawn(), sell.spawn()]
        for call in calls:
            call.get()


async def results_of_one_instant():
    app, order = moorage.App(), []

    @app.function(max_containers=3)
    async def ask(n):
        await asyncio.sleep(1)
        return n

    async def note(n):
        order.append(await ask.remote.aio(n))

    async with app.run():
        await asyncio.gather(*(note(n) for n in range(3)))
    assert order == [0, 1, 2], f"order {order}"


def oversold_across_containers():
    app, stock = moorage.App(), {"book": 1}

    @app.function(max_containers=2)
    async def sell(n):
        await asyncio.sleep(1)
        if stock["book"]:
            await asyncio.sleep(0)
            stock["book"] -= 1

    with app.run():
        list(sell.map(range(2)))
    assert stock["book"] == 0, f"{stock['book']} left"


async def a_cancel_and_a_result():
    app, paid = moorage.App(), []

    @app.function()
    async def pay():
        await asyncio.sleep(1)
        paid.append(1)
        await asyncio.sleep(0)

    async with app.run():
        call = await pay.spawn.aio()
        await asyncio.sleep(1)
        if not paid:
            call.cancel()
        try:
            await call.get.aio()
        except moorage.exception.InputCancelledError:
            raise AssertionError("cancelled at the instant of its payment") from None


# Each program, and how many lines of it are switched at.
RACY = {
    check_then_act: 0,
    lost_update: 0,
    children_of_a_group: 0,
    cancelled_children_of_a_group: 0,
    as_completed_in_order: 0,
    the_first_of_those_that_are_done: 0,
    all_are_done_at_the_first: 0,
    a_timeout_and_a_result: 0,
    a_cancel_and_an_end: 0,
    a_scope_and_its_work: 0,
    a_ticker_and_a_reader: 0,
    threads_in_order: 0,
    a_refill_that_was_seen: 0,
    who_wins: 0,
    a_shared_dict: 0,
    spawned_in_order: 0,
    map_without_order: 0,
    map_without_order_of_threads: 0,
    a_retry_and_a_success: 0,
    first_container_first: 0,
    two_callers_of_one_pool: 0,
    answers_of_two_functions: 0,
    a_timeout_of_an_input: 0,
    cancelled_as_the_batch_fills: 0,
    a_batch_at_its_time_or_its_size: 0,
    told_in_the_order_of_their_ends: 0,
    members_of_a_batch: 0,
    timers_of_one_instant: 0,
    starts_on_one_loop: 0,
    starts_on_threads: 0,
    two_functions: 0,
    two_functions_that_are_warm: 0,
    results_of_one_instant: 0,
    oversold_across_containers: 0,
    a_cancel_and_a_result: 0,
    lost_update_of_threads: 2,
    check_then_act_of_threads: 2,
    double_checked_init: 2,
    lazy_singleton: 2,
    update_of_a_dict: 2,
    lock_in_the_wrong_place: 2,
    changed_while_it_is_read: 2,
    flag_before_its_value: 2,
}

# These pass in the order of a clock without a seed.
IN_PLAIN_ORDER = [
    children_of_a_group,
    threads_in_order,
    a_shared_dict,
    spawned_in_order,
    map_without_order,
    first_container_first,
    members_of_a_batch,
    timers_of_one_instant,
    starts_on_one_loop,
    two_functions,
    lost_update_of_threads,
]
