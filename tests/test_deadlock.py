"""Inputs that wait for one another: none hangs, and none is accused that gets on."""

from __future__ import annotations

import asyncio
import contextvars
import logging
import threading
from collections.abc import Iterator
from types import SimpleNamespace

import pytest

import moorage
from moorage import config
from moorage.calling.waited import StreamCall
from moorage.exception import DeadlockError, FunctionTimeoutError, InputCancelledError
from moorage.runtime.clocks.clock import system_clock
from moorage.runtime.clocks.virtual_clock import VirtualClock
from moorage.runtime.containers.streaming import AHEAD, Stream
from moorage.runtime.guards.cells import Cell
from moorage.runtime.input import Input, Kind, Target
from moorage.runtime.waiting import waiting_graph, waits
from moorage.runtime.waiting.callers import park_for
from moorage.runtime.waiting.cycles import Node
from moorage.runtime.waiting.waits import Wait, open_streams, waiting, waits_in_progress


@pytest.fixture(autouse=True)
def every_wait_ends() -> Iterator[None]:
    yield
    assert not waits_in_progress
    assert not open_streams


@pytest.fixture
def clock() -> Iterator[VirtualClock]:
    with VirtualClock() as clock:
        yield clock


# Each of these defines the same function in another way: it calls itself `n` times.


def as_sync(app, slots, containers=1):
    @app.function(max_containers=containers)
    @moorage.concurrent(max_inputs=slots)
    def nested(n):
        return n and 1 + nested.remote(n - 1)

    return nested


def as_async(app, slots, containers=1):
    @app.function(max_containers=containers)
    @moorage.concurrent(max_inputs=slots)
    async def nested(n):
        return n and 1 + await nested.remote.aio(n - 1)

    return nested


def as_method(app, slots, containers=1):
    @app.cls(max_containers=containers)
    @moorage.concurrent(max_inputs=slots)
    class Nested:
        @moorage.method()
        def nested(self, n):
            return n and 1 + self.nested.remote(n - 1)

    return Nested().nested


def as_async_method(app, slots, containers=1):
    @app.cls(max_containers=containers)
    @moorage.concurrent(max_inputs=slots)
    class Nested:
        @moorage.method()
        async def nested(self, n):
            return n and 1 + await self.nested.remote.aio(n - 1)

    return Nested().nested


def by_spawn(app, slots, containers=1):
    @app.function(max_containers=containers)
    @moorage.concurrent(max_inputs=slots)
    def nested(n):
        return n and 1 + nested.spawn(n - 1).get()

    return nested


def by_gather(app, slots, containers=1):
    @app.function(max_containers=containers)
    @moorage.concurrent(max_inputs=slots)
    async def nested(n):
        if not n:
            return 0
        return 1 + max(await moorage.FunctionCall.gather.aio(nested.spawn(n - 1)))

    return nested


def by_sync_gather(app, slots, containers=1):
    @app.function(max_containers=containers)
    @moorage.concurrent(max_inputs=slots)
    def nested(n):
        return n and 1 + max(moorage.FunctionCall.gather(nested.spawn(n - 1)))

    return nested


def by_map(app, slots, containers=1):
    @app.function(max_containers=containers)
    @moorage.concurrent(max_inputs=slots)
    def nested(n):
        return n and 1 + max(nested.map([n - 1]))

    return nested


def by_async_map(app, slots, containers=1):
    @app.function(max_containers=containers)
    @moorage.concurrent(max_inputs=slots)
    async def nested(n):
        return n and 1 + max([x async for x in nested.map.aio(iter([n - 1]))])

    return nested


def by_generator(app, slots, containers=1):
    @app.function(max_containers=containers)
    @moorage.concurrent(max_inputs=slots)
    def nested(n):
        yield n
        if n:
            yield from nested.remote_gen(n - 1)

    @app.function()
    def count(n):
        return len(list(nested.remote_gen(n))) - 1

    return count


def by_async_generator(app, slots, containers=1):
    @app.function(max_containers=containers)
    @moorage.concurrent(max_inputs=slots)
    async def nested(n):
        yield n
        if n:
            async for item in nested.remote_gen.aio(n - 1):
                yield item

    @app.function()
    async def count(n):
        return len([x async for x in nested.remote_gen.aio(n)]) - 1

    return count


WAYS = [
    as_sync,
    as_async,
    as_method,
    as_async_method,
    by_spawn,
    by_gather,
    by_sync_gather,
    by_map,
    by_async_map,
    by_generator,
    by_async_generator,
]


@pytest.mark.parametrize("slots", [1, 2, 3])
@pytest.mark.parametrize("way", WAYS)
def test_what_calls_itself_gets_as_deep_as_it_has_slots_and_then_an_error(way, slots, clock):
    app = moorage.App("nested")
    nested = way(app, slots)
    with app.run(clock=clock):
        assert nested.remote(slots - 1) == slots - 1
        with pytest.raises(DeadlockError, match=r"call .*local.*larger max_inputs"):
            nested.remote(slots)
        assert clock.now() in (0, config.deadlock_grace)
        assert nested.remote(slots - 1) == slots - 1  # nothing is left behind


@pytest.mark.parametrize("way", WAYS)
def test_another_container_is_no_knot(way, clock):
    app = moorage.App("wide")
    nested = way(app, 1, containers=4)
    with app.run(clock=clock):
        assert nested.remote(3) == 3
        with pytest.raises(DeadlockError):
            nested.remote(4)


@pytest.mark.parametrize("asynchronous", [False, True])
def test_two_inputs_fill_the_slots_and_both_call(asynchronous, clock):
    app = moorage.App("two")
    clocked = clock

    @app.function(max_containers=1)
    @moorage.concurrent(max_inputs=2)
    def f(n):
        if n:
            clocked.sleep(1)  # both are there
            return f.remote(n - 1) + 1
        return n

    @app.function(max_containers=1)
    @moorage.concurrent(max_inputs=2)
    async def g(n):
        if n:
            await asyncio.sleep(1)
            return await g.remote.aio(n - 1) + 1
        return n

    with app.run(clock=clock):
        results = list((g if asynchronous else f).map([1, 1], return_exceptions=True))
        # One is given up, and its slot lets the other on.
        assert sorted(type(result) for result in results if result != 1) == [DeadlockError]
        assert clock.now() == 1 + (config.deadlock_grace if asynchronous else 0)


@pytest.mark.parametrize("asynchronous", [False, True])
def test_a_circle_over_three_pools(asynchronous, clock):
    app = moorage.App("circle")
    functions = []
    for index in range(3):
        if asynchronous:

            async def step(n, index=index):
                return n and 1 + await functions[(index + 1) % 3].remote.aio(n - 1)
        else:

            def step(n, index=index):
                return n and 1 + functions[(index + 1) % 3].remote(n - 1)

        functions.append(app.function(max_containers=1, name=f"step{index}")(step))
    with app.run(clock=clock):
        assert functions[0].remote(2) == 2
        with pytest.raises(DeadlockError) as caught:
            functions[0].remote(3)
    message = str(caught.value)
    assert all(f"step{index} (in-" in message for index in range(3))
    assert "step0 gets no slot" in message


def test_the_parents_may_catch_it_and_go_on_another_way(clock):
    app = moorage.App("catching")

    @app.function(max_containers=1)
    def f(n):
        try:
            return n and 1 + f.remote(n - 1)
        except DeadlockError:
            return 1 + f.local(n - 1)

    with app.run(clock=clock):
        assert f.remote(5) == 5


def test_every_knot_of_a_deep_recursion_is_cut(clock):
    app = moorage.App("wide recursion")

    @app.function(max_containers=1)
    @moorage.concurrent(max_inputs=4)
    def f(n):
        return sum(f.map([n - 1, n - 1], return_exceptions=False)) if n else 1

    with app.run(clock=clock):
        with pytest.raises(DeadlockError):
            f.remote(6)
        clock.sleep(1)  # what still ran has ended, or was given up in its turn
        assert f.remote(1) == 2


# -- capacity --------------------------------------------------------------------------------


def chain_through_capacity(app, clock):
    """`a` fills a container and calls `b`, which needs a second one for its own inner call."""

    @app.function(max_containers=5)
    def b(n):
        return n and 1 + b.remote(n - 1)

    return b


@pytest.mark.parametrize("room", [1, 2, 3])
def test_a_chain_ends_where_the_process_has_no_more_room(room, clock, monkeypatch):
    monkeypatch.setattr(config, "max_containers", room)
    app = moorage.App("chain")
    b = chain_through_capacity(app, clock)
    with app.run(clock=clock):
        assert b.remote(room - 1) == room - 1
        with pytest.raises(DeadlockError):
            b.remote(room)


def test_a_container_of_another_pool_that_is_idle_makes_room(clock, monkeypatch):
    monkeypatch.setattr(config, "max_containers", 2)
    app = moorage.App("idle")
    b = chain_through_capacity(app, clock)

    @app.function()
    def other():
        return 1

    with app.run(clock=clock):
        assert other.remote() == 1
        assert b.remote(1) == 1
        left = other.statistics()  # its pool is about to go, or has
        assert left is None or left.containers == ()


def test_a_container_of_another_pool_that_will_be_idle_makes_room(clock, monkeypatch):
    monkeypatch.setattr(config, "max_containers", 2)
    app = moorage.App("busy")
    b = chain_through_capacity(app, clock)

    @app.function()
    def other():
        clock.sleep(50)

    with app.run(clock=clock):
        other.spawn()
        assert b.remote(1) == 1
        assert clock.now() == 50


def test_containers_that_are_kept_or_wait_themselves_make_no_room(clock, monkeypatch):
    monkeypatch.setattr(config, "max_containers", 2)
    app = moorage.App("kept")
    b = chain_through_capacity(app, clock)

    @app.function(min_containers=1)
    def other():
        pass

    with app.run(clock=clock):
        other.remote()
        with pytest.raises(DeadlockError):
            b.remote(1)


def test_two_pools_that_hold_the_room_each_other_waits_for(clock, monkeypatch):
    monkeypatch.setattr(config, "max_containers", 2)
    app = moorage.App("both")

    @app.function()
    def a(n):
        clock.sleep(1)
        return n and 1 + a.remote(n - 1)

    @app.function()
    def b(n):
        clock.sleep(1)
        return n and 1 + b.remote(n - 1)

    with app.run(clock=clock):
        calls = [a.spawn(1), b.spawn(1)]
        results = []
        for call in calls:
            try:
                results.append(call.get())
            except DeadlockError as error:
                results.append(type(error))
        # One gives way, and its container becomes the other's.
        assert sorted(results, key=str) == [1, DeadlockError]


def test_the_line_for_room_is_kept_by_its_first(clock, monkeypatch):
    """Small containers wait behind one that needs many threads."""
    monkeypatch.setattr(config, "max_sync_slots", 6)
    app = moorage.App("line")

    @app.function()
    @moorage.concurrent(max_inputs=5)
    def big(n):
        return n and max(big.map([n - 1] * 5)) + 1

    with app.run(clock=clock), pytest.raises(DeadlockError):
        big.remote(2)


# -- loops that are blocked ------------------------------------------------------------------


@pytest.fixture
def no_warnings(recwarn):
    import warnings

    warnings.simplefilter("ignore", moorage.exception.AsyncUsageWarning)


@pytest.mark.usefixtures("no_warnings")
@pytest.mark.parametrize("reader", ["sync", "async", "sync in a context", "async in a context"])
def test_a_map_in_order_whose_first_input_can_never_end(clock, reader):
    """The second result, which is not passed on before the first, leaves a deadlock behind."""
    app = moorage.App("in order")
    kind, _, context = reader.partition(" in a ")

    def read():
        return list(one.map(["waits", "naps"]))

    @app.function(max_containers=1)
    def outer_sync(n):
        return n and (contextvars.Context().run(read) if context else read())

    @app.function(max_containers=1)
    async def outer_async(n):
        if n and context:
            return contextvars.Context().run(read)
        return n and [each async for each in one.map.aio(["waits", "naps"])]

    outer = outer_sync if kind == "sync" else outer_async

    @app.function(max_containers=2)
    async def one(way):
        if way == "naps":
            return await asyncio.sleep(5)
        return await outer.remote.aio(0)

    with app.run(clock=clock), pytest.raises(DeadlockError):
        outer.remote(1)
    assert clock.now() == 5 + config.deadlock_grace


@pytest.mark.parametrize("first", ["waits", "naps"])
@pytest.mark.parametrize("asynchronous", [False, True])
def test_a_map_in_order_that_is_read_beside_a_stream(clock, asynchronous, first):
    """The generator holds the only slot, and its reader waits for an input that waits for it."""
    app = moorage.App("in order")

    @app.cls(max_containers=1)
    class C:
        @moorage.method()
        def items(self):
            yield from range(1000)

        @moorage.method()
        def other(self):
            return 1

    @app.function(max_containers=2)
    async def one(way):
        if way == "naps":
            return await asyncio.sleep(5 if first == "waits" else 1)
        await asyncio.sleep(1 if first == "waits" else 5)
        return await C().other.remote.aio()

    async def read_async():
        items = C().items.remote_gen.aio()
        await anext(items)
        return [each async for each in one.map.aio(["waits", "naps"])]

    def read():
        items = C().items.remote_gen()
        next(items)
        return list(one.map(["waits", "naps"]))

    with app.run(clock=clock), pytest.raises(DeadlockError):
        _ = clock.run(read_async()) if asynchronous else read()
    assert clock.now() >= 5


@pytest.mark.usefixtures("no_warnings")
@pytest.mark.parametrize("way", ["remote", "spawn", "map", "gather", "generator"])
def test_a_blocking_call_on_the_only_loop_for_it(way, clock):
    app = moorage.App("blocked")

    @app.cls(max_containers=1)
    @moorage.concurrent(max_inputs=10)
    class C:
        @moorage.method()
        async def outer(self):
            if way == "remote":
                return self.inner.remote()
            if way == "spawn":
                return self.inner.spawn().get()
            if way == "gather":
                return moorage.FunctionCall.gather(self.inner.spawn())
            if way == "map":
                return list(self.mapped.map([1]))
            return list(self.items.remote_gen())

        @moorage.method()
        async def inner(self):
            return 1

        @moorage.method()
        async def mapped(self, x):
            return x

        @moorage.method()
        async def items(self):
            yield 1

    with app.run(clock=clock):
        with pytest.raises(DeadlockError, match=r"write the call of .* with `await`"):
            C().outer.remote()
        assert C().inner.remote() == 1
        assert clock.now() == 0


@pytest.mark.usefixtures("no_warnings")
@pytest.mark.parametrize("way", ["remote", "map", "generator"])
def test_a_blocking_call_on_a_loop_goes_to_another_container(way, clock):
    app = moorage.App("blocked")

    @app.cls(max_containers=2)
    @moorage.concurrent(max_inputs=10)
    class C:
        @moorage.method()
        async def outer(self):
            if way == "remote":
                return self.inner.remote(1)
            if way == "map":
                return max(self.inner.map([1]))
            return max(self.items.remote_gen())

        @moorage.method()
        async def inner(self, x):
            await asyncio.sleep(1)
            return x

        @moorage.method()
        async def items(self):
            yield 1

    with app.run(clock=clock):
        assert C().outer.remote() == 1
        assert len(C().outer.statistics().containers) == 2
        assert C().inner.remote(1) == 1


@pytest.mark.usefixtures("no_warnings")
def test_a_sync_method_runs_in_a_container_whose_loop_is_blocked(clock):
    app = moorage.App("blocked")

    @app.cls(max_containers=1)
    @moorage.concurrent(max_inputs=2)
    class C:
        @moorage.method()
        async def outer(self):
            return self.inner.remote()

        @moorage.method()
        def inner(self):
            clock.sleep(1)
            return 1

        @moorage.method()
        async def another(self):
            return 2

    with app.run(clock=clock):
        outer = C().outer.spawn()
        clock.sleep(0.5)
        another = C().another.spawn()  # waits for the loop, and holds nobody up
        assert outer.get() == 1
        assert another.get() == 2
        assert clock.now() == 1


@pytest.mark.usefixtures("no_warnings")
def test_what_runs_on_the_loop_that_is_blocked_cannot_end(clock):
    app = moorage.App("blocked")

    @app.cls(max_containers=1)
    @moorage.concurrent(max_inputs=4)
    class C:
        @moorage.method()
        async def outer(self):
            call = self.inner.spawn()
            await asyncio.sleep(1)
            try:
                return call.get()
            except DeadlockError:
                return await call.get.aio()

        @moorage.method()
        async def inner(self):
            await asyncio.sleep(5)
            return 1

    with app.run(clock=clock):
        assert C().outer.remote() == 1


def test_a_hook_that_waits_for_its_own_container(clock):
    app = moorage.App("hook")

    @app.cls(max_containers=1)
    class C:
        @moorage.enter()
        def enter(self):
            try:
                type(self).found = C_().m.remote()
            except DeadlockError:
                type(self).found = "deadlock"

        @moorage.method()
        def m(self):
            return self.found

    C_ = C
    with app.run(clock=clock):
        assert C().m.remote() == "deadlock"


# -- streams ------------------------------------------------------------------------------------


@pytest.mark.parametrize("reader", ["outside", "input", "async outside", "async input"])
@pytest.mark.parametrize("generator", ["sync", "async"])
def test_a_reader_that_stops_and_waits_for_the_generators_slot(reader, generator, clock):
    app = moorage.App("stopped reader")

    @app.cls(max_containers=1)
    class C:
        @moorage.method()
        def items(self):
            yield from range(100)

        @moorage.method()
        async def async_items(self):
            for x in range(100):
                yield x

        @moorage.method()
        def other(self):
            return 1

    items = C().items if generator == "sync" else C().async_items

    def read():
        stream = items.remote_gen()
        assert next(stream) == 0
        try:
            return C().other.remote()
        finally:
            stream.close()

    async def read_async():
        stream = items.remote_gen.aio()
        assert await anext(stream) == 0
        try:
            return await C().other.remote.aio()
        finally:
            await stream.aclose()

    def read_outside():
        loop = clock.new_event_loop()
        try:
            loop.run_until_complete(read_async())
        finally:
            loop.close()

    reads = {
        "outside": read,
        "async outside": read_outside,
        "input": app.function(name="reads")(read).remote,
        "async input": app.function(name="reads_async")(read_async).remote,
    }
    with app.run(clock=clock):
        with pytest.raises(DeadlockError, match=r"items, .*read all items of"):
            reads[reader]()
        assert C().other.remote() == 1


def test_a_generator_that_fills_up_only_later(clock):
    """Nobody begins to wait at that moment but the generator itself."""
    app = moorage.App("later")

    @app.cls(max_containers=1)
    class C:
        @moorage.method()
        def items(self):
            yield 0
            clock.sleep(10)
            yield from range(100)

        @moorage.method()
        def other(self):
            return 1

    with app.run(clock=clock):
        stream = C().items.remote_gen()
        assert next(stream) == 0
        with pytest.raises(DeadlockError, match="read all items of"):
            C().other.remote()
        assert clock.now() == 10
        assert len(list(stream)) == 100


def test_a_reader_that_reads_on_in_another_thread_is_no_knot(clock, in_threads):
    app = moorage.App("handed over")

    @app.cls(max_containers=1)
    class C:
        @moorage.method()
        def items(self):
            for x in range(40):
                clock.sleep(1)
                yield x

        @moorage.method()
        def other(self):
            return 1

    with app.run(clock=clock):
        stream = C().items.remote_gen()
        assert next(stream) == 0

        def read_on():
            with clock.participate():
                return len(list(stream))

        background = in_threads(read_on)
        assert C().other.remote() == 1
        assert background.result() == 39


def test_a_generator_that_fits_into_the_hand_over_is_no_knot(clock):
    app = moorage.App("fits")

    @app.cls(max_containers=1)
    class C:
        @moorage.method()
        def items(self):
            yield from range(10)

        @moorage.method()
        def other(self):
            return 1

    with app.run(clock=clock):
        stream = C().items.remote_gen()
        assert next(stream) == 0
        assert C().other.remote() == 1
        assert len(list(stream)) == 9


# -- bounds that change ----------------------------------------------------------------------------


def test_a_retry_that_is_queued_into_a_full_pool(clock):
    app = moorage.App("retry")
    failed = []

    @app.function(max_containers=1, retries=moorage.Retries(max_retries=1, initial_delay=5.0))
    @moorage.concurrent(max_inputs=1)
    def f(what):
        if what == "fail once" and not failed:
            failed.append(1)
            raise ValueError
        if what == "wait":
            return calls[0].get()
        return "done"

    calls = []
    with app.run(clock=clock):
        calls.append(f.spawn("fail once"))
        clock.sleep(1)
        # It holds the only slot when the other's pause is over.
        with pytest.raises(DeadlockError):
            f.remote("wait")
        assert clock.now() == 5 + 5  # found at once, and then that one was tried again too


def test_a_limit_that_is_lowered(clock):
    app = moorage.App("lowered")

    @app.function(max_containers=1)
    @moorage.concurrent(max_inputs=3)
    def f(what):
        if what == "call":
            clock.sleep(1)
            return f.remote("leaf")
        if what == "lower":
            clock.sleep(2)
            moorage.experimental.set_local_input_concurrency(1)
            clock.sleep(10)
        return what

    with app.run(clock=clock):
        lower = f.spawn("lower")
        filler = f.spawn("lower")
        call = f.spawn("call")
        # The other two are still at work, but one slot for all is the caller's.
        with pytest.raises(DeadlockError):
            call.get()
        assert clock.now() == 2
        assert lower.get() == filler.get() == "lower"


def test_a_limit_that_is_lowered_and_leaves_enough(clock):
    app = moorage.App("lowered")

    @app.function(max_containers=1)
    @moorage.concurrent(max_inputs=3)
    def f(what):
        if what == "call":
            clock.sleep(1)
            return f.remote("leaf")
        if what == "lower":
            clock.sleep(2)
            moorage.experimental.set_local_input_concurrency(2)
            clock.sleep(10)
        return what

    with app.run(clock=clock):
        calls = [f.spawn("lower"), f.spawn("lower"), f.spawn("call")]
        assert [call.get() for call in calls] == ["lower", "lower", "leaf"]
        assert clock.now() == 12


def test_a_maximum_that_is_lowered(clock):
    app = moorage.App("maximum")

    @app.function(max_containers=2)
    def f(what):
        if what == "call":
            clock.sleep(1)
            return f.remote("leaf")
        clock.sleep(5)
        return what

    with app.run(clock=clock):
        first, call = f.spawn("first"), f.spawn("call")
        clock.sleep(2)
        # The idle one goes first; here none is, and the least busy go.
        f.update_autoscaler(max_containers=1)
        try:
            got = call.get()
        except DeadlockError:
            got = "deadlock"
        assert got in ("leaf", "deadlock")
        assert first.get() == "first"
        assert clock.now() <= 10


def test_a_container_that_takes_no_more(clock):
    app = moorage.App("stops fetching")

    @app.function(max_containers=1)
    @moorage.concurrent(max_inputs=2)
    def f(what):
        if what == "call":
            moorage.experimental.stop_fetching_inputs()
            return f.remote("leaf")
        return what

    with app.run(clock=clock):
        assert f.remote("call") == "leaf"  # a second one is started for it


# -- those that get on ---------------------------------------------------------------------------


def test_a_wait_with_a_limit_is_no_knot(clock):
    app = moorage.App("timed")

    @app.function(max_containers=1)
    def f(n):
        if not n:
            return "leaf"
        call = f.spawn(0)
        try:
            return call.get(timeout=3)
        except TimeoutError:
            return call

    @app.function(max_containers=1)
    async def g(n):
        if not n:
            return "leaf"
        call = g.spawn(0)
        try:
            return await call.get.aio(timeout=3)
        except TimeoutError:
            return call

    with app.run(clock=clock):
        assert f.remote(1).get() == "leaf"
        assert g.remote(1).get() == "leaf"
        assert clock.now() == 6


def test_an_awaiting_parent_may_have_a_limit_of_its_own(clock, caplog):
    app = moorage.App("timed")

    @app.function(max_containers=1)
    async def f(n):
        if not n:
            return "leaf"
        try:
            async with asyncio.timeout(3):
                return await f.remote.aio(0)
        except TimeoutError:
            return "out of time"

    with app.run(clock=clock), caplog.at_level(logging.WARNING):
        assert f.remote(1) == "out of time"
        assert clock.now() == 3
        clock.sleep(10)
        assert f.remote(0) == "leaf"
    assert not caplog.records


def test_what_a_child_task_awaits_does_not_hold_its_input_up(clock):
    app = moorage.App("tasks")

    @app.function(max_containers=1)
    async def f(n):
        if not n:
            return "leaf"
        task = asyncio.ensure_future(f.remote.aio(0))
        await asyncio.sleep(20)
        return task.cancel()

    with app.run(clock=clock):
        assert f.remote(1) is True
        assert clock.now() == 20


def test_a_holder_that_computes_is_waited_for(clock):
    app = moorage.App("computes")

    @app.function(max_containers=1)
    @moorage.concurrent(max_inputs=2)
    def f(what):
        if what == "compute":
            clock.sleep(100)
            return what
        return f.remote("compute") if what == "call" else what

    with app.run(clock=clock):
        first = f.spawn("compute")
        assert f.remote("call") == "compute"
        assert first.get() == "compute"


def test_a_knot_elsewhere_is_not_theirs(clock):
    """Those that merely wait behind a knot are spared; its own youngest goes."""
    app = moorage.App("behind")

    @app.function(max_containers=1)
    def f(n):
        clock.sleep(1)
        return n and 1 + f.remote(n - 1)

    @app.function()
    @moorage.concurrent(max_inputs=20)
    def asks():
        return f.remote(0)

    with app.run(clock=clock):
        cycle = f.spawn(1)
        clock.sleep(0.5)
        behind = [asks.spawn() for _ in range(5)]
        with pytest.raises(DeadlockError):
            cycle.get()
        assert [call.get() for call in behind] == [0] * 5


def test_the_awaiting_behind_a_knot_are_spared_too(clock):
    app = moorage.App("behind")

    @app.function(max_containers=1)
    async def f(n):
        return n and 1 + await f.remote.aio(n - 1)

    @app.function()
    @moorage.concurrent(max_inputs=20)
    async def asks(pause):
        await asyncio.sleep(pause)
        return await f.remote.aio(0)

    with app.run(clock=clock):
        cycle = f.spawn(1)
        behind = [asks.spawn(pause) for pause in (1, 2, 3, 4)]
        with pytest.raises(DeadlockError):
            cycle.get()
        assert clock.now() == config.deadlock_grace
        assert [call.get() for call in behind] == [0] * 4


def test_an_input_that_waits_for_itself(clock):
    app = moorage.App("itself")
    calls = []

    @app.function()
    def f():
        clock.sleep(1)
        return calls[0].get()

    with app.run(clock=clock):
        calls.append(f.spawn())
        with pytest.raises(DeadlockError, match="f waits for a result that comes only after f"):
            calls[0].get()


def test_two_inputs_that_wait_for_each_other(clock):
    app = moorage.App("each other")
    calls = []

    @app.function()
    @moorage.concurrent(max_inputs=2)
    async def f(other):
        await asyncio.sleep(1)
        return await calls[other].get.aio()

    with app.run(clock=clock):
        calls += [f.spawn(1), f.spawn(0)]
        for call in calls:
            with pytest.raises(DeadlockError):
                call.get()


# -- parents that end -----------------------------------------------------------------------------


@pytest.mark.parametrize("end", ["cancel", "timeout"])
@pytest.mark.parametrize("way", ["remote", "remote.aio", "map", "map.aio", "gen", "gen.aio"])
def test_a_parent_that_ends_takes_along_what_it_waits_for(way, end, clock):
    app = moorage.App("takes along")
    begun = []

    @app.cls(max_containers=1)
    class Child:
        @moorage.method()
        def run(self, x):
            begun.append(x)
            clock.sleep(50)

        @moorage.method()
        def items(self, x):
            begun.append(x)
            yield x

    child = Child()

    def parent(x):
        if way == "remote":
            child.run.remote(x)
        elif way == "map":
            list(child.run.map([x]))
        else:
            list(child.items.remote_gen(x))

    async def async_parent(x):
        if way == "remote.aio":
            await child.run.remote.aio(x)
        elif way == "map.aio":
            [x async for x in child.run.map.aio([x])]
        else:
            [x async for x in child.items.remote_gen.aio(x)]

    function = app.function(timeout=10, name="parent")(
        async_parent if way.endswith("aio") else parent
    )
    with app.run(clock=clock):
        blocker = child.run.spawn("blocker")
        clock.sleep(1)
        call = function.spawn("queued")
        clock.sleep(1)
        assert child.run.statistics().queued == 1
        if end == "cancel":
            call.cancel()
            error = InputCancelledError
        else:
            error = FunctionTimeoutError
        with pytest.raises(error):
            call.get()
        clock.sleep(1)
        statistics = child.run.statistics()
        assert statistics.queued == 0
        assert statistics.cancelled == 1
        blocker.get()
        assert begun == ["blocker"]


@pytest.mark.parametrize("way", ["get", "get.aio", "gather", "gather.aio"])
def test_a_spawned_call_goes_on_without_whoever_waits_for_it(way, clock):
    app = moorage.App("goes on")
    calls = []

    @app.function(max_containers=1)
    def child():
        clock.sleep(20)
        return 1

    def parent():
        calls.append(child.spawn())
        return calls[0].get() if way == "get" else moorage.FunctionCall.gather(calls[0])

    async def async_parent():
        calls.append(child.spawn())
        if way == "get.aio":
            return await calls[0].get.aio()
        return await moorage.FunctionCall.gather.aio(calls[0])

    function = app.function(name="parent")(async_parent if way.endswith("aio") else parent)
    with app.run(clock=clock):
        call = function.spawn()
        clock.sleep(1)
        call.cancel()
        assert calls[0].get() == 1


def test_a_wait_that_was_cancelled_and_not_yet_left_is_no_knot(clock, monkeypatch):
    """The slot of its input is as good as free."""
    app = moorage.App("on its way out")
    cancelled, called, blocked = [clock.make_waiter() for _ in range(3)]
    end_wait = Cell.cancel

    def end_wait_later(cell, input):
        cancelled.wake()
        clock.wait(blocked)
        end_wait(cell, input)

    monkeypatch.setattr(Cell, "cancel", end_wait_later)

    @app.function(max_containers=1)
    @moorage.concurrent(max_inputs=2)
    def f(what):
        if what == "first":
            return f.remote("leaf of the first")
        if what == "second":
            clock.wait(called)
            return f.remote("leaf of the second")
        return what

    with app.run(clock=clock):
        second, first = f.spawn("second"), f.spawn("first")
        clock.sleep(1)
        takes_part = threading.Event()

        def cancel():
            with clock.participate():
                takes_part.set()
                first.cancel()

        canceller = threading.Thread(target=cancel)
        canceller.start()
        assert takes_part.wait(10)
        clock.wait(cancelled)
        called.wake()
        clock.sleep(1)  # the second's call has found both slots taken
        blocked.wake()
        assert second.get() == "leaf of the second"
        canceller.join()


def test_a_parent_that_waits_for_room_in_a_full_backlog(clock):
    """As `on_full="wait"` does: it waits for the queue itself."""
    app = moorage.App("backlog")
    calls = []

    @app.function(max_containers=1)
    def f(what):
        if what == "leaf":
            return what
        call = f.spawn("leaf")
        waiter = clock.make_waiter()
        call._add(call._first, waiter.wake)
        calls.append(call)
        park_for(call._pool, waiter, None)
        return "room"

    with app.run(clock=clock):
        assert f.remote("fill the backlog") == "room"
        with pytest.raises(DeadlockError, match="backlog of f"):
            calls[0].get()


def test_a_parent_that_waits_for_a_backlog_that_moves(clock):
    app = moorage.App("backlog")

    @app.function(max_containers=1)
    @moorage.concurrent(max_inputs=2)
    def f(what):
        if what == "parent":
            call = f.spawn("leaf")
            waiter = clock.make_waiter()
            call._add(call._first, waiter.wake)
            park_for(call._pool, waiter, None)
            return call.get()
        clock.sleep(1)
        return what

    with app.run(clock=clock):
        other = f.spawn("other")
        assert f.remote("parent") == "leaf"
        other.get()


# -- what is noted ---------------------------------------------------------------------------


def test_waits_of_inputs_are_seen_and_those_outside_are_not(clock, in_threads):
    app = moorage.App("seen")

    @app.function()
    def inner():
        clock.sleep(10)

    @app.function()
    def outer():
        inner.remote()

    with app.run(clock=clock):
        call = outer.spawn()
        clock.sleep(1)
        (wait,) = waiting()
        assert wait.caller is call._first
        assert wait.on.call.target.name == "inner"
        assert (wait.timed, wait.awaits, wait.since) == (False, False, 0)
        call.get()
        assert waiting() == []


def test_many_parents_that_each_wait_for_a_child_cost_no_more_each():
    app = moorage.App("many")

    @app.function(max_containers=1)
    async def child(x):
        return x

    @app.function(max_containers=1)
    @moorage.concurrent(max_inputs=3000)
    async def parent(x):
        return await child.remote.aio(x)

    with app.run():
        assert sum(parent.map(range(3000))) == sum(range(3000))


def test_threads_that_close_a_knot_together_are_given_one_error():
    """Both look at once, and only one of them may be failed."""
    app = moorage.App("together")
    for _ in range(20):
        together = threading.Barrier(2)

        @app.function(max_containers=1, name=f"f{_}")
        @moorage.concurrent(max_inputs=2)
        def f(n, together=together):
            if n:
                together.wait(10)
                return 1 + f.remote(0)
            return 0

        with app.run():
            results = list(f.map([1, 1], return_exceptions=True))
        assert sorted(map(str, map(type, results))) == sorted(map(str, [int, DeadlockError]))


@pytest.mark.parametrize("way", ["spawn", "remote", "map"])
def test_a_backlog_that_is_full_of_what_its_slot_holder_waits_for(way):
    app = moorage.App()

    @app.function(max_containers=1, max_backlog=1, on_full="wait")
    def f(n):
        if n:
            if way == "spawn":
                calls = [f.spawn(0) for _ in range(2)]
                calls[1].get()
            elif way == "remote":
                f.spawn(0)
                f.remote(0)
            else:
                f.spawn(0)
                list(f.map([0, 0]))
        return n

    with VirtualClock() as clock, app.run(clock=clock):
        with pytest.raises(DeadlockError):
            f.remote(1)
        assert clock.now() < 1
        assert f.remote(0) == 0


def test_a_backlog_that_is_full_and_moves_is_no_knot():
    app = moorage.App()

    @app.function(max_containers=1, max_backlog=1, on_full="wait")
    @moorage.concurrent(max_inputs=2)
    def f(n):
        return sum(f.spawn(0).get() for _ in range(5)) if n else 1

    with VirtualClock() as clock, app.run(clock=clock):
        assert f.remote(1) == 5


def test_a_reader_that_is_woken_during_the_second_look_is_not_accused(monkeypatch):
    """1. The wait is there, 2. the reader takes all and waits anew, 3. there are no items."""
    clock = system_clock
    call = StreamCall(Target("items", iter, Kind.SYNC_GENERATOR))
    call.stream = Stream(clock)
    input = Input(call, 0, (), None)
    for item in range(AHEAD):
        call.stream.offer(item)
    pool = SimpleNamespace(clock=clock)
    wait = Wait("reader", None, pool, input, False, False, clock.make_waiter())

    class Known(dict):
        def get(self, flow, default=None):
            found = super().get(flow, default)
            self.clear()  # as the reader leaves this wait
            while call.stream.take_nowait(lambda: None)[0]:
                pass
            return found

    monkeypatch.setattr(waiting_graph, "waits_in_progress", Known(reader=wait))
    graph = waiting_graph.WaitingGraph([], None, frozenset())
    graph.waits[wait] = Node(wait, 1)
    assert not graph.is_still_so()


def test_a_stream_that_is_emptied_while_it_is_looked_at_does_not_wait_for_its_reader(monkeypatch):
    """1. The stream is full, 2. the reader takes all and waits for more, 3. that wait is seen."""
    clock = system_clock
    call = StreamCall(Target("items", iter, Kind.SYNC_GENERATOR))
    call.stream = stream = Stream(clock)
    call.reader = ("reader", None, None)
    input = Input(call, 0, (), None)
    for item in range(AHEAD):
        stream.offer(item)
    assert not stream.may_go_on(lambda: None)
    assert stream.is_full
    pool = SimpleNamespace(clock=clock)
    wait = Wait("reader", None, pool, input, False, False, clock.make_waiter())

    class Known(dict):
        def get(self, flow, default=None):
            while stream.take_nowait(lambda: None)[0]:
                pass
            return super().get(flow, default)

    monkeypatch.setattr(waits, "waits_in_progress", Known(reader=wait))
    assert waits.blockers_of(input) == []
