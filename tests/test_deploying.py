"""Deployed apps: found by name, deployed anew, stopped, and ended with the interpreter."""

import subprocess
import sys
import textwrap
import threading

import pytest

import moorage
from moorage import App, Cls, Function, config
from moorage.exception import (
    ExecutionError,
    InputCancelledError,
    InvalidError,
    NotFoundError,
)
from moorage.experimental import get_app_objects, stop_app
from moorage.running import deployments
from moorage.runtime.pools.capacity import process_capacity


@pytest.fixture(autouse=True)
def nothing_stays_deployed():
    yield
    left = deployments.names()
    for name in left:
        deployments.find(name).stop()
    assert deployments.names() == []


def make_app(answer, name="shop", log=None):
    app = App(name)
    log = [] if log is None else log

    @app.function()
    def price(count=1):
        return f"{answer} x {count}"

    @app.cls()
    class Cart:
        owner: str = moorage.parameter(default="nobody")

        @moorage.enter()
        def enter(self):
            log.append(f"enter {answer}")

        @moorage.method()
        def total(self):
            return f"{answer} of {self.owner}"

        @moorage.exit()
        def exit(self):
            log.append(f"exit {answer}")

    return app, price, Cart


# -- deploy and look up -------------------------------------------------------------------


def test_a_deployed_app_is_found_by_name():
    app, price, _ = make_app("old")
    assert app.deploy() is app
    found = Function.from_name("shop", "price")
    assert found.remote(2) == "old x 2"
    assert Cls.from_name("shop", "Cart")(owner="eve").total.remote() == "old of eve"
    assert price.remote(3) == "old x 3", "and its own functions run there too"
    assert app.app_id
    assert deployments.names() == ["shop"]
    assert App.lookup("shop") is app
    assert get_app_objects("shop").keys() == {"price", "Cart"}


def test_looking_up_is_lazy_so_the_app_may_come_later():
    found, cart = Function.from_name("shop", "price"), Cls.from_name("shop", "Cart")
    total = cart(owner="eve").total
    with pytest.raises(NotFoundError, match="'shop'"):
        found.remote()
    make_app("old")[0].deploy()
    assert found.remote() == "old x 1"
    assert total.remote() == "old of eve"


@pytest.mark.parametrize(
    "use",
    [
        lambda f: f.remote(),
        lambda f: f.spawn(),
        lambda f: list(f.map([1])),
        lambda f: f.for_each([1]),
        lambda f: f.spawn_map([1]),
        lambda f: f.hydrate(),
        lambda f: f.get_current_stats(),
        lambda f: f.update_autoscaler(min_containers=1),
        lambda f: f.autoscaler.settings(),
        lambda f: f.app,
        lambda f: f.with_options(timeout=3).remote(),
    ],
)
def test_what_is_not_deployed_is_not_found_on_any_use(use):
    with pytest.raises(
        NotFoundError, match=r"no app runs or is deployed as 'nowhere'.*app\.deploy\(\)"
    ):
        use(Function.from_name("nowhere", "f"))


def test_not_found_says_what_there_is():
    make_app("old")[0].deploy()
    with pytest.raises(NotFoundError, match=r"'nowhere' in this process \(there: shop\)"):
        Function.from_name("nowhere", "price").remote()
    with pytest.raises(NotFoundError, match=r"'shop' has no function 'prize'.*it has: price"):
        Function.from_name("shop", "prize").remote()
    with pytest.raises(NotFoundError, match=r"'shop' has no class 'Card'.*it has: Cart"):
        Cls.from_name("shop", "Card")().total.remote()
    with pytest.raises(NotFoundError, match="has no method 'sum'"):
        Cls.from_name("shop", "Cart")().sum.remote()
    with pytest.raises(NotFoundError, match="nowhere"):
        App.lookup("nowhere")
    with pytest.raises(InvalidError, match=r"Cls\.from_name\('shop', 'Cart'\)\(\)\.total"):
        Function.from_name("shop", "Cart.total")


def test_the_reprs_of_what_is_looked_up_say_so():
    assert "'shop', 'price'" in repr(Function.from_name("shop", "price"))
    assert "'shop', 'Cart'" in repr(Cls.from_name("shop", "Cart"))
    assert "with_options" in repr(Function.from_name("shop", "price").with_options(timeout=2))
    with pytest.raises(NotFoundError):
        Function.from_name("shop", "price").app


def test_what_is_looked_up_has_no_local_code():
    make_app("old")[0].deploy()
    with pytest.raises(ExecutionError, match=r"\.remote\("):
        Function.from_name("shop", "price").local()


def test_deploy_and_stop_from_any_loop(run_async):
    log = []
    app, _price, _cart = make_app("old", log=log)

    async def main():
        assert await app.deploy.aio() is app
        assert await App.lookup.aio("shop") is app
        result = await Function.from_name("shop", "price").remote.aio(2)
        total = await Cls.from_name("shop", "Cart")().total.remote.aio()
        await app.stop.aio()
        return result, total

    assert run_async(main) == ("old x 2", "old of nobody")
    assert log == ["enter old", "exit old"]
    assert deployments.names() == []


# -- deploying anew -----------------------------------------------------------------------


def test_deploying_another_app_of_the_name_moves_every_handle():
    log = []
    old, _, _ = make_app("old", log=log)
    old.deploy()
    found = Function.from_name("shop", "price")
    varied = found.with_options(timeout=7)
    cart = Cls.from_name("shop", "Cart")
    obj = cart(owner="eve")
    total = obj.total
    varied_total = cart.with_options(timeout=7)().total
    handles = [
        lambda: found.remote(),
        lambda: varied.remote(),
        lambda: next(found.map([1])),
        lambda: found.spawn().get(),
    ]
    assert [each() for each in handles] == ["old x 1"] * 4
    assert (total.remote(), obj.total.remote()) == ("old of eve",) * 2
    assert varied_total.remote() == "old of nobody"

    new, _, _ = make_app("new", log=log)
    new.deploy()
    assert [each() for each in handles] == ["new x 1"] * 4
    assert (total.remote(), obj.total.remote()) == ("new of eve",) * 2
    assert varied_total.remote() == "new of nobody"
    assert old.app_id is None, "the old one is stopped"
    assert log.count("exit old") == log.count("enter old") == 2
    assert new.app_id
    assert App.lookup("shop") is new


def test_a_stopped_app_is_not_found_any_more_by_who_found_it_before():
    app, _, _ = make_app("old")
    app.deploy()
    found, total = Function.from_name("shop", "price"), Cls.from_name("shop", "Cart")().total
    assert found.remote() == "old x 1"
    assert total.remote() == "old of nobody"
    app.stop()
    for use in (found.remote, total.remote):
        with pytest.raises(NotFoundError):
            use()
    app.deploy()
    assert (found.remote(), total.remote()) == ("old x 1", "old of nobody")


def test_deploying_the_same_app_again_keeps_its_containers():
    log = []
    app, _, cart = make_app("old", log=log)
    app.deploy()
    obj = cart()
    obj.total.remote()
    app_id = app.app_id
    assert app.deploy() is app
    obj.total.remote()
    assert log == ["enter old"]
    assert app.app_id == app_id


def test_an_app_may_have_several_names_and_keeps_those_that_nobody_takes():
    app, _, _ = make_app("old", name=None)
    with pytest.raises(InvalidError, match=r'app\.deploy\(name="some-name"\)'):
        app.deploy()
    app.deploy(name="first")
    app.deploy(name="second")
    assert app.description == "second"
    assert Function.from_name("first", "price").remote() == "old x 1"
    other, _, _ = make_app("new")
    other.deploy(name="first")
    assert Function.from_name("first", "price").remote() == "new x 1"
    assert Function.from_name("second", "price").remote() == "old x 1"
    app.stop()
    assert deployments.names() == ["first"]


@pytest.mark.parametrize("strategy", ["rolling", "recreate"])
def test_the_strategies_that_modal_knows_are_accepted(strategy):
    app, _, _ = make_app("old")
    assert app.deploy(strategy=strategy, tag="v1", environment_name="main") is app


@pytest.mark.parametrize(
    ("arguments", "message"),
    [({"strategy": "blue-green"}, "'rolling' or 'recreate'"), ({"name": "no spaces"}, "no spaces")],
)
def test_a_deploy_that_is_refused_changes_nothing(arguments, message):
    app, price, _ = make_app("old")
    with pytest.raises(InvalidError, match=message):
        app.deploy(**arguments)
    assert app.app_id is None
    assert deployments.names() == []
    with app.run():
        assert price.remote() == "old x 1"


def test_a_deploy_that_strict_mode_refuses_changes_nothing(monkeypatch):
    monkeypatch.setattr(config, "strict", True)
    app = App("strict")

    @app.function(serialized=True)
    @moorage.concurrent(max_inputs=-3)
    def wrong(): ...

    for _ in range(2):
        with pytest.raises(ValueError, match="max_inputs"):
            app.deploy()
        assert app.app_id is None
        assert deployments.names() == []
        with pytest.raises(ValueError, match="max_inputs"), app.run():
            pass
        assert app.app_id is None


# -- with runs ----------------------------------------------------------------------------


def test_deploying_inside_a_run_is_refused():
    app, price, _ = make_app("old")
    with app.run():
        with pytest.raises(InvalidError, match=r"leave `with app\.run\(\):` first"):
            app.deploy()
        assert price.remote() == "old x 1", "the run goes on"
    assert deployments.names() == []
    app.deploy()


def test_running_a_deployed_app_is_refused():
    app, price, _ = make_app("old")
    app.deploy()
    with pytest.raises(InvalidError, match=r"is deployed; app\.stop\(\) first"), app.run():
        pass
    assert price.remote() == "old x 1", "the deployment goes on"
    app.stop()
    with app.run():
        assert price.remote() == "old x 1"


def test_deploying_takes_over_an_ambient_run_with_its_containers():
    log = []
    app, _, cart = make_app("old", log=log)
    obj = cart()
    obj.total.remote()
    app.deploy()
    obj.total.remote()
    assert log == ["enter old"]
    with pytest.raises(InvalidError, match="is deployed"), app.run():
        pass
    app.stop()
    assert log == ["enter old", "exit old"]


@pytest.mark.parametrize("ambient_first", [False, True])
def test_deploying_starts_the_minimum(ambient_first):
    app = App("shop")
    entered = threading.Semaphore(0)

    @app.function()
    def other():
        return 1

    @app.cls(min_containers=2)
    class Warm:
        @moorage.enter()
        def enter(self):
            entered.release()

        @moorage.method()
        def work(self): ...

    if ambient_first:
        other.remote()
    app.deploy()
    for _ in range(2):
        assert entered.acquire(timeout=30)
    app.deploy()
    assert not entered.acquire(timeout=0), "and no more of them the second time"


def test_stop_ends_what_runs_and_what_waits(in_threads):
    app = App("shop")
    started = threading.Event()

    @app.function(max_containers=1)
    async def hang():
        started.set()
        await moorage.runtime.waiting.async_waiters.make_async_waiter().wait()

    app.deploy()
    running, queued = hang.spawn(), hang.spawn()
    assert started.wait(30)
    waiting = in_threads(queued.get)
    app.stop()
    for call in (running, queued):
        with pytest.raises(InputCancelledError):
            call.get()
    with pytest.raises(InputCancelledError):
        waiting.result()
    assert process_capacity.statistics().containers == 0


def test_stop_of_an_app_that_does_not_run_is_refused():
    app, _, _ = make_app("old")
    with pytest.raises(InvalidError, match=r"app\.deploy\(\)"):
        app.stop()
    app.deploy()
    app.stop()
    with pytest.raises(InvalidError, match="does not run"):
        app.stop()


def test_stop_inside_a_run_ends_it_and_leaving_it_is_harmless():
    log = []
    app, _, cart = make_app("old", log=log)
    with app.run():
        cart().total.remote()
        app.stop()
        assert log == ["enter old", "exit old"]
    assert app.app_id is None
    with app.run():
        cart().total.remote()


def test_stop_app_by_its_name(run_async):
    make_app("old")[0].deploy()
    stop_app("shop")
    make_app("old")[0].deploy()
    run_async(lambda: stop_app.aio("shop"))
    assert deployments.names() == []
    with pytest.raises(NotFoundError):
        stop_app("shop")


def test_a_function_may_look_up_and_call_another_app():
    make_app("old")[0].deploy()
    app = App("caller")

    @app.function()
    def ask(count):
        return Function.from_name("shop", "price").remote(count)

    with app.run():
        assert list(ask.map([1, 2])) == ["old x 1", "old x 2"]


# -- lookup -------------------------------------------------------------------------------


def test_lookup_creates_an_empty_app_if_told_to(run_async):
    app = App.lookup("empty", create_if_missing=True)
    assert app.name == "empty"
    assert app.app_id
    assert App.lookup("empty", create_if_missing=True) is app
    assert run_async(lambda: App.lookup.aio("empty")) is app


def test_one_app_is_created_by_many_lookups_at_once(in_threads, often_switching):
    for n in range(20):
        looking = [
            in_threads(lambda n=n: App.lookup(f"empty-{n}", create_if_missing=True))
            for _ in range(4)
        ]
        found = [each.result() for each in looking]
        assert len(set(map(id, found))) == 1
        assert found[0].app_id


# -- ids ----------------------------------------------------------------------------------


def test_a_function_is_found_by_its_id_while_it_lives(run_async):
    app, price, _ = make_app("old")
    assert Function.from_id(price.object_id) is price
    varied = price.with_options(timeout=3)
    assert varied.object_id != price.object_id
    assert Function.from_id(varied.object_id) is varied
    found = Function.from_name("shop", "price")
    assert Function.from_id(found.object_id) is found
    unknown = Function.from_id("fu-123")  # lazy: only a use of the result raises
    with pytest.raises(NotFoundError, match="'fu-123'"), app.run():
        unknown.remote()
    gone = price.with_options(timeout=4).object_id
    import gc

    gc.collect()
    with pytest.raises(NotFoundError, match=gone):
        Function.from_id(gone).hydrate()
    with app.run():
        assert Function.from_id(price.object_id).remote() == "old x 1"


# -- options of what is looked up ---------------------------------------------------------


def test_options_of_what_is_looked_up_are_checked_at_once_and_have_pools_of_their_own():
    found = Function.from_name("shop", "price")
    with pytest.raises(InvalidError, match="timeout"):
        found.with_options(timeout=-1)
    with pytest.raises(TypeError, match="colour"):
        found.with_options(colour="red")
    varied = found.with_options(max_containers=3)
    wide = found.with_concurrency(max_inputs=5)
    app, price, _ = make_app("old")
    app.deploy()
    assert varied.remote() == wide.remote() == found.remote() == "old x 1"
    assert varied.statistics().max_inputs == 1
    assert wide.statistics().max_inputs == 5
    assert varied.autoscaler.settings().max_containers == 3
    assert found.autoscaler.settings().max_containers is None
    # Asked for again, and through the function itself, it is the same pool.
    assert price.with_options(max_containers=3).statistics().accepted == 1
    assert varied.with_concurrency(max_inputs=5).remote() == "old x 1"
    assert wide.with_options(max_containers=3).statistics().accepted == 1


def test_variants_of_a_looked_up_class_have_pools_of_their_own():
    cart = Cls.from_name("shop", "Cart")
    wide = cart.with_concurrency(max_inputs=4).with_options(max_containers=2)
    app, _, own = make_app("old")
    app.deploy()
    assert wide(owner="eve").total.remote() == "old of eve"
    s = wide(owner="eve").total.statistics()
    assert (s.max_inputs, s.accepted) == (4, 1)
    assert (
        own.with_concurrency(max_inputs=4)
        .with_options(max_containers=2)(owner="eve")
        .total.statistics()
        .accepted
        == 1
    )
    assert cart(owner="eve").total.statistics() is None


def test_the_autoscaler_of_what_is_looked_up_can_be_changed():
    make_app("old")[0].deploy()
    found = Function.from_name("shop", "price")
    assert found.update_autoscaler(max_containers=2).max_containers == 2
    assert found.autoscaler.settings().max_containers == 2
    obj = Cls.from_name("shop", "Cart")(owner="eve")
    assert obj.update_autoscaler(max_containers=3).max_containers == 3


# -- races --------------------------------------------------------------------------------


def test_of_two_apps_deployed_at_once_one_is_left(in_threads, often_switching):
    for _ in range(20):
        apps = [make_app(n)[0] for n in range(2)]
        for thread in [in_threads(app.deploy) for app in apps]:
            thread.result()
        left = [app for app in apps if app.app_id]
        assert left == [App.lookup("shop")]
        left[0].stop()


def test_a_handle_never_keeps_an_app_that_was_replaced(in_threads, often_switching):
    found = Function.from_name("shop", "price")
    make_app(0)[0].deploy()
    stop = threading.Event()

    def call():
        while not stop.is_set():
            try:
                found.remote()
            except (ExecutionError, InputCancelledError, NotFoundError):
                pass  # caught by the end of the old one

    callers = [in_threads(call) for _ in range(2)]
    for n in range(1, 20):
        app, _, _ = make_app(n)
        app.deploy()
    stop.set()
    for each in callers:
        each.result()
    assert found.remote() == "19 x 1"


# -- the interpreter's exit ---------------------------------------------------------------


def test_deployed_apps_run_their_exit_hooks_when_the_interpreter_exits():
    program = """
    import os
    import moorage
    app = moorage.App("shop")

    def say(what):
        os.write(1, (what + "\\n").encode())

    @app.cls(min_containers=1)
    class Work:
        @moorage.enter()
        def enter(self):
            say("enter")

        @moorage.method()
        def work(self):
            return "worked"

        @moorage.exit()
        def exit(self):
            say("exit")

    app.deploy()
    say(moorage.Cls.from_name("shop", "Work")().work.remote())
    say("end")
    """
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", textwrap.dedent(program)],
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert done.stderr == b""
    assert done.stdout.decode().splitlines() == ["enter", "worked", "end", "exit"]
    assert done.returncode == 0
