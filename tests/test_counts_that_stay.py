"""What a run says of a function or a class never goes back: read while pools come and go."""

import threading

import pytest

import moorage
from moorage import App
from moorage.runtime.clocks.virtual_clock import VirtualClock
from moorage.runtime.pools.pool import Pool


def make_ten_seconds(app, clock):
    @app.cls()
    class Ten:
        tenant: int = moorage.parameter(default=0)

        @moorage.method()
        def run(self):
            clock.sleep(10)

    return Ten


def test_a_pool_that_is_replaced_while_it_is_asked_does_not_answer(monkeypatch):
    app, clock = App(), VirtualClock()
    Ten = make_ten_seconds(app, clock)
    statistics = Pool.statistics

    with clock, app.run(clock=clock):
        method = Ten().run
        call = method.spawn()
        clock.sleep(3)
        second = []

        def replace_first(pool):
            if not second:
                # 1. the pool was found, 2. it retires, 3. another one begins.
                call.get()
                clock.sleep(1000)
                second.append(method.spawn())
                clock.sleep(2)
            return statistics(pool)

        monkeypatch.setattr(Pool, "statistics", replace_first)
        seen = method.statistics()
        monkeypatch.undo()
        assert (seen.accepted, seen.succeeded, seen.running) == (2, 1, 1)
        assert seen.busy_seconds == pytest.approx(12, abs=0.1)
        second[0].get()


def test_counts_read_while_pools_come_and_go():
    app = App()
    names = ("accepted", "succeeded", "containers_started", "busy_seconds", "start_seconds")
    ended, wrong = threading.Event(), []

    @app.function()
    def once():
        moorage.experimental.stop_fetching_inputs()

    def read():
        before = [0.0] * len(names)
        while not ended.is_set():
            seen = once.statistics()
            if seen is None and not any(before):
                continue
            now = [getattr(seen, name) for name in names]
            if any(new < old - 1e-6 for new, old in zip(now, before, strict=True)):
                wrong.append((before, now))
                return
            before = now

    with app.run():
        readers = [threading.Thread(target=read) for _ in range(2)]
        for reader in readers:
            reader.start()
        for _ in range(40):
            once.remote()
        ended.set()
        for reader in readers:
            reader.join(30)
        assert wrong == []
        assert once.statistics().succeeded == 40


@pytest.mark.parametrize("tenants", [1, 3])
def test_a_class_is_busy_for_as_long_as_its_inputs_run(tenants):
    app, clock = App(), VirtualClock()
    Ten = make_ten_seconds(app, clock)

    with clock, app.run(clock=clock):
        for before in range(2):
            clock.sleep(1000)  # its pools have gone
            calls = [Ten(tenant=tenant).run.spawn() for tenant in range(tenants)]
            clock.sleep(7)
            seen = Ten.statistics()
            assert seen.accepted == tenants * (before + 1)
            assert seen.busy_seconds == pytest.approx(tenants * (10 * before + 7), abs=0.1)
            moorage.FunctionCall.gather(*calls)
            seen = Ten.statistics()
            assert seen.busy_seconds == pytest.approx(tenants * 10 * (before + 1), abs=0.1)
