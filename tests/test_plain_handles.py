"""Handles of a class without arguments: ``Model().run.remote(x)``.  They share what costs time."""

from __future__ import annotations

import copy
import gc
import sys
import threading
import weakref
from unittest import mock

import pytest

import moorage
from moorage.cls import Obj
from moorage.functions import Function


def make(**options):
    app = moorage.App("plain")

    @app.cls(**options)
    class Model:
        size: int = moorage.parameter(default=1)

        @moorage.method()
        def run(self, x):
            return x * self.size

        @moorage.method()
        def me(self):
            return id(self)

        @moorage.method()
        def __call__(self, x):
            return -x

        @moorage.method()
        def _service(self):
            return "the user's own"

    return app, Model


def python_calls(work):
    """Return how many Python functions `work` calls."""
    calls = []

    def note(frame, event, argument):
        if event == "call":
            calls.append(frame.f_code.co_qualname)

    sys.setprofile(note)
    try:
        work()
    finally:
        sys.setprofile(None)
    return calls[1:]


def test_the_second_handle_and_its_method_are_two_calls():
    _, Model = make()
    _ = Model().run
    assert python_calls(lambda: Model().run) == ["Cls.__call__", "_PlainMethod.__get__"]


def test_each_handle_is_its_own_with_its_own_methods():
    app, Model = make()
    with app.run():
        handles = [Model() for _ in range(4)]
        assert len({id(each) for each in handles}) == 4
        assert len({id(each.run) for each in handles}) == 4
        for each in handles:
            assert each.run is each.run
            assert isinstance(each, Obj)
            assert type(each.run) is Function
            assert repr(each) == "<Model() of Cls(Model)>"
            assert repr(each.run) == "Method(Model.run)"
            assert each.run.remote(3) == 3
        assert handles[2].run.statistics().accepted == 4  # one pool


def test_a_patch_of_one_handles_method_reaches_no_other():
    app, Model = make()
    _ = Model().run
    with app.run():
        first, second = Model(), Model()
        with (
            mock.patch.object(first.run, "remote", return_value="patched"),
            mock.patch.object(second, "me"),
        ):
            assert first.run.remote(2) == "patched"
            assert second.run.remote(2) == Model().run.remote(2) == 2
            assert isinstance(first.me.remote(), int)
        assert first.run.remote(2) == 2
        assert isinstance(second.me.remote(), int)


def test_each_handle_has_its_own_local_instance():
    _, Model = make()
    _ = Model().run, Model().me
    first, second = Model(), Model()
    run = first.run
    assert first.me.local() == first.me.local() != second.me.local()
    first.size = 7  # of the handle, not of the instance
    assert run.local(3) == 3


def test_the_local_instance_is_that_of_the_handle_after_the_handle_is_gone():
    _, Model = make()
    _ = Model().me
    handle = Model()
    me, run = handle.me, handle.run
    here = me.local()
    del handle
    assert (me.local(), run.local(2)) == (here, 2)


def test_a_patched_default_is_that_of_handles_made_then():
    app, Model = make()
    with app.run():
        before = Model()
        assert Model().run.remote(2) == 2
        with mock.patch.object(Model, "size", 5):
            assert Model().run.remote(2) == 10
            assert before.run.remote(2) == 2
        assert Model().run.remote(2) == 2


def test_patched_code_of_a_method_is_called_by_handles_made_before_and_after():
    _, Model = make(scaledown_window=2)
    _ = Model().run
    before = Model()
    assert before.run.local(2) == 2

    def other(self, x):
        return "new"

    with mock.patch.object(Model, "run", other):
        assert Model().run.local(2) == "new"
        assert before.run.local(2) == "new"
    assert Model().run.local(2) == before.run.local(2) == 2


def test_a_default_that_is_patched_to_a_wrong_type_is_refused_at_once():
    _, Model = make()
    _ = Model()
    with (
        mock.patch.object(Model, "size", moorage.parameter()),
        pytest.raises(TypeError, match="missing a required argument: 'size'"),
    ):
        Model()
    Model()


def test_strict_mode_that_comes_later_counts():
    _, Model = make()
    _ = Model().run
    with mock.patch.object(moorage.config, "strict", True):
        assert type(Model()) is Obj
    assert type(Model()) is not Obj


def test_methods_with_special_names_are_found_as_before():
    app, Model = make()
    _ = Model().run
    handle = Model()
    with app.run():
        assert handle.__call__.remote(2) == -2
        with pytest.raises(TypeError, match="not callable"):
            handle(2)
        assert handle._service is not None


def test_with_options_is_another_class_with_handles_of_its_own():
    app, Model = make()
    _ = Model().run
    Other = Model.with_options(max_containers=1)
    with app.run():
        assert Other().run.remote(2) == 2
        assert Model().run.statistics() is None or Model().run.statistics().accepted == 0
        settings = Model().update_autoscaler(max_containers=3)
        assert settings.max_containers == 3


def test_copies_are_of_the_same_values():
    _, Model = make()
    _ = Model().me
    handle = Model()
    here = handle.me.local()
    assert copy.copy(handle).me.local() == here
    assert copy.deepcopy(handle) is handle


def test_a_handle_of_one_call_is_freed_without_a_collection():
    app, Model = make()
    with app.run():
        assert Model().run.remote(1) == 1
        gc.disable()
        try:
            handle = Model()
            method = weakref.ref(handle.run)
            assert handle.run.remote(1) == 1
            del handle
            assert method() is None
        finally:
            gc.enable()


def test_threads_that_ask_one_handle_get_one_method():
    _, Model = make()
    _ = Model().run
    for _ in range(20):
        handle, barrier, found = Model(), threading.Barrier(4), []

        def ask(handle=handle, barrier=barrier, found=found):
            barrier.wait()
            found.append(handle.run)

        threads = [threading.Thread(target=ask) for _ in range(4)]
        for each in threads:
            each.start()
        for each in threads:
            each.join()
        assert len({id(each) for each in found}) == 1
