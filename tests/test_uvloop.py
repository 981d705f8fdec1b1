"""``config.uvloop``: the loops of containers are those of uvloop, an extra.

A module in its place says which loops are asked for; the loop of uvloop itself is tried where it is
installed.
"""

from __future__ import annotations

import asyncio
import sys
import types

import pytest

import moorage
from moorage.exception import DeadlockError, InvalidError


@pytest.fixture
def app(monkeypatch):
    monkeypatch.setattr(moorage.config, "uvloop", True)
    return moorage.App("loops")


def test_containers_ask_for_a_loop_of_uvloop(app, monkeypatch):
    class Loop(asyncio.SelectorEventLoop):
        pass

    module = types.ModuleType("uvloop")
    module.new_event_loop = Loop
    monkeypatch.setitem(sys.modules, "uvloop", module)

    @app.function()
    async def look():
        return type(asyncio.get_running_loop()) is Loop

    @app.cls()
    class Model:
        @moorage.enter()
        async def load(self):
            self.in_hook = type(asyncio.get_running_loop()) is Loop

        @moorage.method()
        def look(self):
            return self.in_hook

    with app.run():
        assert look.remote()
        assert Model().look.remote()


def test_the_error_names_the_extra(app, monkeypatch):
    monkeypatch.setitem(sys.modules, "uvloop", None)
    with pytest.raises(InvalidError, match=r'write pip install "moorage\[uvloop\]"$'), app.run():
        pass


@pytest.mark.parametrize("placement", ["thread", "process"])
def test_calls_run_on_uvloop(app, monkeypatch, placement):
    pytest.importorskip("uvloop")
    monkeypatch.setattr(moorage.config, "deadlock_grace", 0.1)

    @app.function(serialized=True)
    @moorage.concurrent(max_inputs=10)
    async def double(x):
        await asyncio.sleep(0)
        return 2 * x, type(asyncio.get_running_loop()).__module__

    @app.function(serialized=True)
    async def count(n):
        for item in range(n):
            yield item

    with app.run(placement=placement):
        assert list(double.map(range(50))) == [(2 * x, "uvloop") for x in range(50)]
        assert asyncio.run(double.remote.aio(4))[0] == 8
        assert list(count.remote_gen(40)) == list(range(40))


def test_a_deadlock_is_found_on_uvloop(app, monkeypatch):
    pytest.importorskip("uvloop")
    monkeypatch.setattr(moorage.config, "deadlock_grace", 0.1)

    @app.function(max_containers=1)
    async def waits_for_itself():
        return await waits_for_itself.remote.aio()

    with app.run(), pytest.raises(DeadlockError):
        waits_for_itself.remote()
