"""Two pools of one name can be told apart: in statistics, logs, `describe` and timelines."""

import io
import logging

import pytest

import moorage
from moorage import App
from moorage.runtime.clocks.virtual_clock import VirtualClock
from moorage.testing import Probe


def make_function(**options):
    app = App("metrics")

    @app.function(serialized=True, **options)
    async def f(value=1):
        return value

    return app, f


def make_class():
    app = App("metrics")

    @app.cls(serialized=True)
    class Model:
        language: str = moorage.parameter(default="en")

        @moorage.method()
        async def run(self):
            return self.language

    return app, Model


VARIANTS = {
    "timeout": (lambda f: f.with_options(timeout=1), "timeout=1"),
    "retries": (lambda f: f.with_options(retries=2), "retries=2"),
    "two options": (
        lambda f: f.with_options(timeout=7, max_containers=3),
        "timeout=7, max_containers=3",
    ),
    "concurrency": (
        lambda f: f.with_concurrency(max_inputs=4, target_inputs=2),
        "max_inputs=4, target_inputs=2",
    ),
    "variant of a variant": (
        lambda f: f.with_options(timeout=7).with_concurrency(max_inputs=4),
        "timeout=7, max_inputs=4",
    ),
}


@pytest.mark.parametrize("way", VARIANTS)
def test_a_variant_of_a_function_says_what_was_changed(way):
    change, variant = VARIANTS[way]
    app, f = make_function()
    with app.run():
        changed = change(f)
        changed.remote(), f.remote()
        assert (f.statistics().name, f.statistics().variant) == ("f", "")
        assert (changed.statistics().name, changed.statistics().variant) == ("f", variant)


@pytest.mark.parametrize("way", VARIANTS)
def test_a_variant_of_a_class_says_what_was_changed(way):
    change, variant = VARIANTS[way]
    app, model = make_class()
    with app.run():
        changed = change(model)("da")
        changed.run.remote(), model("da").run.remote(), model().run.remote()
        found = [s.run.statistics() for s in (changed, model("da"), model())]
        assert [s.variant for s in found] == [variant, "", ""]
        names = ["Model(language='da')", "Model(language='da')", "Model(language='en')"]
        assert [s.name for s in found] == names


def test_a_variant_by_batching_says_so():
    app = App()

    @app.function(serialized=True)
    @moorage.batched(max_batch_size=2, wait_ms=0)
    async def f(values):
        return values

    with app.run():
        changed = f.with_batching(max_batch_size=3, wait_ms=5)
        changed.remote(1)
        assert changed.statistics().variant == "max_batch_size=3, wait_ms=5"


def test_a_variant_with_the_declared_options_is_the_declared_one():
    app, f = make_function(timeout=9)
    with app.run():
        f.remote()
        assert f.with_options(timeout=9).statistics().variant == ""
        assert f.with_options(timeout=9).statistics().accepted == 1


def test_a_variant_of_a_deployed_function_says_what_was_changed():
    app, _ = make_function()
    app.deploy(name="deployed-metrics")
    try:
        changed = moorage.Function.from_name("deployed-metrics", "f").with_options(timeout=1)
        changed.remote()
        assert changed.statistics().variant == "timeout=1"
    finally:
        app.stop()


def test_retries_with_one_count_are_told_apart_by_a_number():
    app, f = make_function()
    with app.run():
        slow, quick = (
            f.with_options(retries=moorage.Retries(max_retries=2, initial_delay=delay))
            for delay in (1.0, 2.0)
        )
        slow.remote(), quick.remote()
        assert slow.statistics().variant == "retries=2"
        assert quick.statistics().variant.startswith("retries=2 #")
        # The label stays, also when the pool is asked again.
        assert quick.statistics().variant == quick.statistics().variant


class Alike:
    def __repr__(self):
        return "Alike()"


class Broken:
    def __repr__(self):
        raise ValueError("no text")


@pytest.mark.filterwarnings("ignore::moorage.exception.DeprecationError")
def test_parameters_with_one_repr_are_told_apart_by_a_number():
    app = App()

    @app.cls(serialized=True)
    class Model:  # with a constructor, which Modal refuses
        def __init__(self, setting):
            self.setting = setting

        @moorage.method()
        async def run(self):
            return 1

    settings = [Alike(), Alike(), Broken(), "x" * 10_000, "x" * 10_001]
    with app.run():
        labels = set()
        for setting in settings:
            instance = Model(setting)
            instance.run.remote()
            seen = instance.run.statistics()
            assert len(seen.name) < 110
            labels.add((seen.name, seen.variant))
        assert len(labels) == len(settings)


def test_the_statistics_of_a_pool_that_has_gone_keep_the_variant():
    app, f = make_function()
    clock = VirtualClock()
    with app.run(clock=clock):
        changed = f.with_options(timeout=1)
        changed.remote()
        clock.sleep(10_000)
        assert changed.statistics().variant == "timeout=1"


def test_serializing_runs_have_variants():
    app, f = make_function()
    with app.run(serialize=True):
        changed = f.with_options(timeout=1)
        changed.remote()
        assert changed.statistics().variant == "timeout=1"


def test_describe_names_the_variant():
    app, f = make_function()
    with app.run():
        f.remote(), f.with_options(timeout=1).remote()
        file = io.StringIO()
        moorage.describe(file)
    assert "\n  f (" in file.getvalue()
    assert "\n  f[timeout=1] (" in file.getvalue()


def test_a_log_record_names_the_variant(caplog):
    app = App()

    @app.cls(serialized=True)
    class Model:
        @moorage.enter()
        def load(self):
            raise ValueError("no model")

        @moorage.method()
        def run(self):
            return 1

    changed = Model.with_options(timeout=5)
    with caplog.at_level(logging.ERROR, "moorage"), app.run():
        with pytest.raises(ValueError, match="no model"):
            changed().run.remote()
        changed().update_autoscaler(min_containers=1)
    # A start that nobody waits for is logged.
    messages = [record.getMessage() for record in caplog.records]
    assert any("Model[timeout=5]" in message for message in messages), messages


def test_a_timeline_names_the_variant():
    app, f = make_function()
    probe = Probe()
    with app.run(clock=VirtualClock(), probe=probe):
        f.remote(), f.with_options(timeout=1).remote()
    places = {event.container for event in probe.events}
    assert {"f-1", "f[timeout=1]-1"} <= places
    assert "f[timeout=1]-1" in str(probe.timeline())


def test_a_fake_container_has_no_variant(fake_container):
    app, f = make_function()
    with app.run():
        f.remote()
    container = fake_container(f, max_inputs=3)
    assert list(container.map([1])) == [1]
    assert {event.container for event in container.events} <= {"", "f-1"}
