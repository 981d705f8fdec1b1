"""Decimal contexts: each input computes with its own, a copy of its caller's."""

import asyncio
import contextvars
import decimal
import os
import subprocess
import sys
import textwrap
import threading

import pytest

import moorage
from moorage import App
from moorage.runtime.captured import capture, decimal_context

FRESH = decimal.DefaultContext.prec


def precision():
    return decimal.getcontext().prec


@pytest.fixture
def with_20_digits():
    """Runs a function in a context whose precision is 20; then it must still be."""

    def run(main):
        def body():
            decimal.setcontext(decimal.Context(prec=20))
            result = main()
            assert precision() == 20, "the caller's own"
            return result

        return contextvars.Context().run(body)

    return run


def sets(digits):
    before = precision()
    decimal.getcontext().prec = digits
    return before


async def sets_async(digits):
    return sets(digits)


def sets_and_yields(digits):
    yield sets(digits)
    yield precision()
    decimal.getcontext().prec = digits + 1
    yield precision()


async def sets_and_yields_async(digits):
    yield sets(digits)
    await asyncio.sleep(0)
    yield precision()
    decimal.getcontext().prec = digits + 1
    yield precision()


def results_of(function):
    if function in (sets_and_yields, sets_and_yields_async):
        return lambda f, digits: next(f.remote_gen(digits))
    return lambda f, digits: f.remote(digits)


KINDS = [sets, sets_async, sets_and_yields, sets_and_yields_async]


@pytest.mark.parametrize("kind", KINDS)
def test_what_an_input_sets_reaches_neither_its_caller_nor_the_next(kind, with_20_digits):
    app = App()
    function = app.function(max_containers=1)(kind)
    call = results_of(kind)

    def main():
        return [call(function, 3), call(function, 4)]

    with app.run():
        assert with_20_digits(main) == [20, 20]


@pytest.mark.parametrize("kind", KINDS)
def test_a_caller_that_never_used_decimal_gives_the_default(kind):
    app = App()
    function = app.function(max_containers=1)(kind)
    call = results_of(kind)

    def main():
        before = [call(function, 3), call(function, 4)]
        assert decimal_context not in contextvars.copy_context()
        return before

    with app.run():
        assert contextvars.Context().run(main) == [FRESH, FRESH]


@pytest.mark.parametrize("kind", [sets_and_yields, sets_and_yields_async])
def test_all_steps_of_a_generator_share_one(kind, with_20_digits):
    app = App()
    function = app.function(max_containers=1)(kind)

    def main():
        steps = []
        for step in function.remote_gen(5):
            assert precision() == 20
            steps.append(step)
        return steps

    with app.run():
        assert with_20_digits(main) == [20, 5, 6]


@pytest.mark.parametrize("is_async", [False, True])
def test_neighbours_in_one_container(is_async, with_20_digits):
    app = App()
    if is_async:
        set_both = asyncio.Event()
        came = []

        @app.function(max_containers=1)
        @moorage.concurrent(max_inputs=2)
        async def third(digits):
            decimal.getcontext().prec = digits
            came.append(digits)
            if len(came) == 2:
                set_both.set()
            await set_both.wait()
            return str(decimal.Decimal(1) / 3)
    else:
        both = threading.Barrier(2)

        @app.function(max_containers=1)
        @moorage.concurrent(max_inputs=2)
        def third(digits):
            decimal.getcontext().prec = digits
            both.wait(60)
            return str(decimal.Decimal(1) / 3)

    with app.run():
        assert with_20_digits(lambda: list(third.map([3, 6]))) == ["0.333", "0.333333"]


def test_the_copy_is_made_when_the_call_is_made(with_20_digits):
    app = App()
    gate = threading.Event()

    @app.function(max_containers=1)
    @moorage.concurrent(max_inputs=1)
    def waits():
        gate.wait(60)
        return precision()

    def main():
        calls = [waits.spawn(), waits.spawn()]
        results = waits.map([])
        decimal.getcontext().prec = 7
        gate.set()
        assert [call.get() for call in calls] == [20, 20]
        assert waits.remote() == 7
        assert list(results) == []
        decimal.getcontext().prec = 20

    with app.run():
        with_20_digits(main)


def test_traps_and_rounding_are_copied_and_flags_do_not_come_back(with_20_digits):
    app = App()

    @app.function()
    def divide():
        assert decimal.getcontext().rounding == decimal.ROUND_UP
        assert str(decimal.Decimal(1) / 0) == "Infinity"
        return decimal.getcontext().flags[decimal.DivisionByZero]

    def main():
        decimal.getcontext().rounding = decimal.ROUND_UP
        decimal.getcontext().traps[decimal.DivisionByZero] = False
        assert divide.remote()
        assert not decimal.getcontext().flags[decimal.DivisionByZero]
        assert decimal.getcontext().traps[decimal.InvalidOperation]

    with app.run():
        with_20_digits(main)


@pytest.mark.parametrize("is_async", [False, True])
def test_each_attempt_has_a_fresh_one(is_async, virtual_clock, with_20_digits):
    app = App()
    seen = []

    def attempt():
        seen.append(sets(len(seen) + 2))
        if len(seen) < 3:
            raise ValueError("again")

    if is_async:

        @app.function(retries=3)
        async def fails():
            attempt()
    else:

        @app.function(retries=3)
        def fails():
            attempt()

    with app.run():
        with_20_digits(fails.remote)
    assert seen == [20, 20, 20]


def test_a_batch_has_its_first_members(with_20_digits):
    app = App()

    @app.function(max_containers=1)
    @moorage.batched(max_batch_size=2, wait_ms=1000)
    def batch(digits):
        return [sets(digits[0])] * len(digits)

    def main():
        first = batch.spawn(3)
        second = batch.spawn(4)
        return [first.get(), second.get(), *batch.map([5, 6])]

    with app.run():
        assert with_20_digits(main) == [20, 20, 20, 20]


def test_hooks_have_the_default_and_keep_to_themselves(with_20_digits):
    app = App()
    seen = []

    @app.cls(max_containers=1)
    class Model:
        @moorage.enter()
        def begin(self):
            seen.append(sets(3))

        @moorage.enter()
        async def begin_async(self):
            seen.append(sets(4))

        @moorage.method()
        def work(self):
            return sets(5)

        @moorage.exit()
        def end(self):
            seen.append(sets(6))

    def main():
        with app.run():
            return Model().work.remote()

    assert with_20_digits(main) == 20
    assert seen == [FRESH, FRESH, FRESH]


def test_an_input_calls_with_its_own(with_20_digits):
    app = App()

    @app.function()
    def inner():
        return sets(2)

    @app.function()
    def outer():
        sets(9)
        return inner.remote(), precision()

    with app.run():
        assert with_20_digits(outer.remote) == (9, 9)


def test_an_iterator_that_is_fed_by_a_thread(with_20_digits):
    app = App()

    @app.function()
    def read(before):
        return before, precision()

    def inputs():
        yield sets(3)
        yield precision()

    with app.run():
        assert with_20_digits(lambda: list(read.map(inputs()))) == [(20, 20), (3, 20)]


def test_an_iterator_that_is_fed_by_a_task(run_async):
    app = App()

    @app.function()
    def read(before):
        return before, precision()

    async def inputs():
        yield sets(3)
        yield precision()

    async def main():
        decimal.setcontext(decimal.Context(prec=20))
        results = [result async for result in read.map.aio(inputs())]
        assert precision() == 20
        return results

    with app.run():
        assert contextvars.Context().run(run_async, main) == [(20, 20), (3, 20)]


class Loud(decimal.Context):
    def copy(self):
        raise AssertionError("the user's code, in the engine")

    __copy__ = copy


def test_a_users_kind_of_context_is_copied_without_its_code():
    def body():
        decimal.setcontext(Loud(prec=11))
        return capture()[decimal_context]

    copied = contextvars.Context().run(body)
    assert type(copied) is decimal.Context
    assert copied.prec == 11


def test_a_context_without_decimals_is_captured_as_it_is():
    assert decimal_context not in contextvars.Context().run(capture)


def test_the_decimal_module_in_python():
    program = """
        import sys
        sys.modules["_decimal"] = None
        import decimal, _pydecimal, moorage
        assert decimal.getcontext is _pydecimal.getcontext
        app = moorage.App()

        @app.function()
        def sets():
            before = decimal.getcontext().prec
            decimal.getcontext().prec = 3
            return before

        with app.run():
            decimal.getcontext().prec = 20
            assert list(map(lambda _: sets.remote(), range(2))) == [20, 20]
            assert decimal.getcontext().prec == 20
        """
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    subprocess.run([sys.executable, "-c", textwrap.dedent(program)], check=True, env=env)
