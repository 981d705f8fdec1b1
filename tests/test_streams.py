"""Streams: generators that run in a container, read here item by item."""

import asyncio
import contextlib
import contextvars
import gc
import itertools
import threading

import pytest

import moorage
from moorage import App
from moorage.runtime.clocks.virtual_clock import VirtualClock
from moorage.runtime.containers.streaming import AHEAD

KINDS = pytest.mark.parametrize("kind", ["sync", "async"])


def make_counter(app, kind, events, **options):
    """A generator function that counts for ever and tells `events` what it does."""
    if kind == "sync":

        @app.function(**options)
        def count(start=0):
            try:
                for n in itertools.count(start):
                    events.append(n)
                    yield n
            finally:
                events.append("closed")

    else:

        @app.function(**options)
        async def count(start=0):
            try:
                for n in itertools.count(start):
                    events.append(n)
                    yield n
            finally:
                events.append("closed")

    return count


@KINDS
def test_remote_gen_gives_all_items_in_order(kind):
    app = App()
    if kind == "sync":

        @app.function()
        def count(n):
            yield from range(n)

    else:

        @app.function()
        async def count(n):
            for i in range(n):
                yield i

    with app.run():
        assert list(count.remote_gen(5)) == [0, 1, 2, 3, 4]
        assert list(count.remote_gen(3 * AHEAD)) == list(range(3 * AHEAD))
        assert list(count.remote_gen(0)) == []


@KINDS
def test_remote_gen_aio_from_any_loop(kind, run_async):
    app = App()
    events = []
    count = make_counter(app, kind, events)

    async def main():
        reader = count.remote_gen.aio(10)
        got = [await anext(reader) for _ in range(2 * AHEAD)]
        await reader.aclose()
        return got

    with app.run():
        assert run_async(main) == list(range(10, 10 + 2 * AHEAD))


@KINDS
def test_the_input_is_submitted_at_the_first_step(kind):
    app = App()
    events = []
    count = make_counter(app, kind, events)
    with app.run():
        reader = count.remote_gen()
        assert count.statistics() is None
        assert next(reader) == 0
        reader.close()


@KINDS
def test_the_generator_is_a_bounded_number_of_items_ahead(kind):
    app = App()
    events = []
    count = make_counter(app, kind, events)
    with VirtualClock() as clock, app.run(clock=clock):
        reader = count.remote_gen()
        for taken in range(1, 2 * AHEAD):
            assert next(reader) == taken - 1
            clock.sleep(1)  # the generator has gone as far as it may
            assert len(events) == taken + AHEAD
        reader.close()


@KINDS
def test_closing_the_reader_closes_the_generator_and_gives_back_the_slot(kind):
    app = App()
    events = []
    count = make_counter(app, kind, events, max_containers=1)
    with VirtualClock() as clock, app.run(clock=clock):
        reader = count.remote_gen()
        assert next(reader) == 0
        assert count.statistics().running == 1
        reader.close()
        clock.sleep(1)
        assert events[-1] == "closed"
        assert count.statistics().running == 0
        assert list(reader) == []
        # The only slot there is serves the next reader.
        following = count.remote_gen(100)
        assert next(following) == 100
        following.close()
        clock.sleep(1)
        assert events.count("closed") == 2


@KINDS
def test_dropping_the_reader_closes_the_generator_and_gives_back_the_slot(kind):
    app = App()
    closed = threading.Event()

    class Events(list):
        def append(self, event):
            super().append(event)
            if event == "closed":
                closed.set()

    count = make_counter(app, kind, Events())
    with app.run():
        for item in count.remote_gen():
            if item == 3:
                break
        gc.collect()
        assert closed.wait(10)


@KINDS
def test_dropping_a_reader_in_a_cycle_closes_the_generator(kind):
    app = App()
    closed = threading.Event()

    class Events(list):
        def append(self, event):
            super().append(event)
            if event == "closed":
                closed.set()

    count = make_counter(app, kind, Events())
    with app.run():
        reader = count.remote_gen()
        assert next(reader) == 0
        cycle = [reader]
        cycle.append(cycle)
        del reader, cycle
        gc.collect()
        assert closed.wait(10)


@KINDS
def test_leaving_an_async_reader_by_aclose_closes_the_generator(kind, run_async):
    app = App()
    closed = threading.Event()

    class Events(list):
        def append(self, event):
            super().append(event)
            if event == "closed":
                closed.set()

    count = make_counter(app, kind, Events())

    async def main():
        async with contextlib.aclosing(count.remote_gen.aio()) as reader:
            async for item in reader:
                if item == 3:
                    return item
        return None

    with app.run():
        assert run_async(main) == 3
        assert closed.wait(10)


@KINDS
def test_a_reader_that_was_never_stepped_does_nothing(kind):
    app = App()
    events = []
    count = make_counter(app, kind, events)
    with app.run():
        reader = count.remote_gen()
        reader.close()
        del reader
        assert count.statistics() is None
    assert events == []


@KINDS
def test_an_error_of_the_generator_comes_after_its_items(kind):
    app = App()
    if kind == "sync":

        @app.function()
        def fail():
            yield 1
            yield 2
            raise LookupError("no more")

    else:

        @app.function()
        async def fail():
            yield 1
            yield 2
            raise LookupError("no more")

    with app.run():
        reader = fail.remote_gen()
        assert [next(reader), next(reader)] == [1, 2]
        with pytest.raises(LookupError, match="no more"):
            next(reader)
        assert list(reader) == []
        assert fail.statistics().failed == 1


@KINDS
def test_a_generator_runs_steps_and_closes_in_one_context(kind):
    app = App()
    variable = contextvars.ContextVar("variable", default="unset")
    seen, threads = [], []
    closed = threading.Event()

    def note():
        seen.append((variable.get(), moorage.current_input_id(), moorage.is_local()))
        threads.append(threading.current_thread())

    if kind == "sync":

        @app.function()
        def steps():
            note()
            token = variable.set("set in the first step")
            try:
                while True:
                    note()
                    yield
            finally:
                note()
                variable.reset(token)  # ValueError in any other context
                note()
                closed.set()

    else:

        @app.function()
        async def steps():
            note()
            token = variable.set("set in the first step")
            try:
                while True:
                    note()
                    yield
            finally:
                note()
                variable.reset(token)
                note()
                closed.set()

    with app.run():
        variable.set("the caller's")
        reader = steps.remote_gen()
        for _ in range(3 * AHEAD):
            next(reader)
        reader.close()
        assert closed.wait(10)
    assert [seen[0][0], seen[-1][0]] == ["the caller's"] * 2
    assert {value for value, _, _ in seen[1:-1]} == {"set in the first step"}
    assert len({(input_id, local) for _, input_id, local in seen}) == 1
    assert seen[0][1] is not None
    assert seen[0][2] is False
    assert len(set(threads)) == 1


def test_streams_share_slots_with_nobody_beyond_the_limit():
    app = App()
    events = []
    count = make_counter(app, "sync", events, max_containers=1)
    with VirtualClock() as clock, app.run(clock=clock):
        first = count.remote_gen()
        assert next(first) == 0
        waiting = count.remote_gen(100)

        def read_other():
            with clock.participate():
                try:
                    return next(waiting)
                finally:
                    waiting.close()

        got = []
        thread = threading.Thread(target=lambda: got.append(read_other()), daemon=True)
        thread.start()
        while count.statistics().queued == 0:
            clock.sleep(1)
        assert got == []
        first.close()
        while not got:
            clock.sleep(1)
        assert got == [100]
        thread.join(10)
        assert not thread.is_alive()


@KINDS
def test_leaving_the_run_ends_a_stream_that_another_thread_reads(kind, in_threads):
    app = App()
    started = threading.Event()
    if kind == "sync":

        @app.function()
        def once():
            yield 1
            started.set()
            inner.remote()

    else:

        @app.function()
        async def once():
            yield 1
            started.set()
            await asyncio.Event().wait()

    @app.function()
    async def inner():
        await asyncio.Event().wait()

    with app.run():
        reader = in_threads(lambda: list(once.remote_gen()))
        assert started.wait(10)
    with pytest.raises(moorage.exception.InputCancelledError):
        reader.result()


@KINDS
def test_a_generator_may_outlast_its_timeout_only_by_being_cancelled(kind):
    app = App()
    events = []
    count = make_counter(app, kind, events, timeout=5)
    with VirtualClock() as clock, app.run(clock=clock):
        reader = count.remote_gen()
        assert next(reader) == 0
        clock.sleep(6)
        assert events[-1] == "closed"
        with pytest.raises(moorage.exception.FunctionTimeoutError):
            list(reader)
        assert count.statistics().running == 0
