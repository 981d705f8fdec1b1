"""Spawned calls of one caller share its context until it changes, and nobody notices."""

from __future__ import annotations

import asyncio
import decimal
import gc
import threading
import tracemalloc
import weakref
from contextvars import Context, ContextVar, copy_context

import moorage
from moorage.runtime.captured import shared_capture

variable = ContextVar("variable", default=None)


class Never:
    """A value whose comparison fails the test."""

    def __eq__(self, other):
        raise AssertionError("the engine compared values of the user")

    __hash__ = object.__hash__


def in_new_context(function):
    # Without the decimal context that pytest may have.
    return Context().run(function)


def test_captures_without_a_change_between_them_are_one_object():
    assert in_new_context(lambda: shared_capture() is shared_capture())


def test_a_change_of_the_caller_is_in_later_captures_alone():
    def work():
        variable.set("a")
        first = shared_capture()
        variable.set("b")
        second = shared_capture()
        assert (first[variable], second[variable]) == ("a", "b")
        variable.set("a")  # an equal context, and not the same
        assert shared_capture() is not first

    in_new_context(work)


def test_values_are_not_compared():
    def work():
        variable.set(Never())
        first = shared_capture()
        variable.set(Never())
        assert shared_capture() is not first

    in_new_context(work)


def test_values_of_a_caller_are_freed_with_its_captures():
    class Value:
        pass

    def work():
        value = Value()
        variable.set(value)
        shared_capture()
        return weakref.ref(value)

    gone = in_new_context(work)
    gc.collect()
    assert gone() is None


def test_a_decimal_context_is_copied_for_each_capture():
    def work():
        decimal.getcontext().prec = 7
        first, second = shared_capture(), shared_capture()
        assert first is not second
        precisions = {id(each.run(decimal.getcontext)) for each in (copy_context(), first, second)}
        assert len(precisions) == 3
        decimal.getcontext().prec = 3
        assert first.run(lambda: decimal.getcontext().prec) == 7

    in_new_context(work)


def test_tasks_that_change_nothing_share_the_context_of_their_maker():
    async def capture():
        return shared_capture()

    async def main():
        return await asyncio.gather(capture(), capture())

    first, second = in_new_context(lambda: asyncio.run(main()))
    assert first is second


def test_inputs_of_calls_that_share_a_context_do_not_see_each_others_changes():
    app = moorage.App("contexts")

    @app.function(max_containers=1)
    @moorage.concurrent(max_inputs=4)
    async def change(value):
        before = variable.get()
        variable.set(value)
        await asyncio.sleep(0)
        return before, variable.get()

    def work():
        variable.set("caller's")
        with app.run():
            calls = [change.spawn(i) for i in range(8)]
            assert len({id(call.context) for call in calls if call._settled_at is None}) <= 1
            assert [call.get() for call in calls] == [("caller's", i) for i in range(8)]
        assert variable.get() == "caller's"

    in_new_context(work)


def test_a_queued_call_takes_few_bytes():
    app = moorage.App("bytes")
    begun, end = threading.Event(), threading.Event()

    @app.function(max_containers=1)
    def wait(x):
        begun.set()
        end.wait(60)
        return x

    def work():
        count = 2000
        with app.run():
            first = wait.spawn(0)
            assert begun.wait(60)
            calls = [None] * count
            gc.collect()
            tracemalloc.start()
            try:
                for i in range(count):
                    calls[i] = wait.spawn(i)
                gc.collect()
                size = tracemalloc.get_traced_memory()[0]
            finally:
                tracemalloc.stop()
                end.set()
            assert [call.get() for call in [first, *calls]] == [0, *range(count)]
        return size / count

    # Of 404, a context of its own took 64, and the time at which it was queued 24.
    assert in_new_context(work) < 370
