"""What is kept of an input that has settled: nothing."""

from __future__ import annotations

import contextvars
import gc
import weakref

import pytest

from .work import Mine, in_every_shape, in_every_shape_and_both_times, shaped


class Thing:
    """Can be watched."""


@in_every_shape_and_both_times
def test_nothing_of_an_input_is_kept_once_it_has_settled(way, shape, world):
    """Neither arguments nor result nor error, nor what its context held; also with a probe."""
    variable = contextvars.ContextVar("variable")

    async def body(x):
        if isinstance(x, dict):
            raise Mine(1, detail=x["thing"])
        return Thing() if x is not None else None

    code, options = shaped(shape, body)
    alive = []

    def use(argument):
        thing, other = Thing(), Thing()
        variable.set(other)
        alive.extend([weakref.ref(thing), weakref.ref(other)])
        given = {"thing": thing} if argument == "fails" else thing
        del thing, other
        try:
            alive.append(weakref.ref(container.call(given)))
        except Mine as error:
            alive.append(weakref.ref(error))

    with way.open(code, world.clock, **options) as container:
        for argument in ("returns", "fails"):
            contextvars.copy_context().run(use, argument)
            # Whoever ran it has gone on.
            contextvars.copy_context().run(container.call, None)
            world.wait_until(lambda: not container.counts().running)
        gc.collect()
        assert [reference() for reference in alive] == [None] * 6


@in_every_shape
def test_nothing_of_what_was_cancelled_is_kept(way, shape, world):
    async def body(x):
        with world.at_work(x):
            await world.sleep(1)
        world.began.clear()
        world.ended.clear()

    code, options = shaped(shape, body)
    with way.open(code, world.clock, **options) as container:
        things = [Thing() for _ in range(3)]
        alive = [weakref.ref(thing) for thing in things]
        handles = [container.submit(thing) for thing in things]
        del things
        world.sleep_here(0.5)
        for handle in handles:
            handle.cancel()
        world.sleep_here(5)
        world.began.clear()
        world.ended.clear()
        container.submit(None).result()
        gc.collect()
        assert [reference() for reference in alive] == [None] * 3


@pytest.fixture
def no_collections():
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@in_every_shape
def test_an_error_dies_with_its_caller_not_with_a_collection(way, shape, world, no_collections):
    async def body(x):
        raise Mine(1, detail=x)

    code, options = shaped(shape, body)
    alive = []

    def use(container):
        try:
            container.call(1)
        except Mine as error:
            alive.append(weakref.ref(error))

    with way.open(code, world.clock, **options) as container:
        use(container)
    assert alive[0]() is None
