"""Runs: entering, leaving in any way, and the ambient run."""

import asyncio
import threading

import anyio
import anyio.lowlevel
import pytest

import moorage
from moorage import App
from moorage.exception import ExecutionError, InputCancelledError, InvalidError
from moorage.running import runs
from moorage.runtime.clocks.virtual_clock import VirtualClock
from moorage.runtime.pools.capacity import process_capacity
from onlooker import new_threads


def make_app():
    """A class whose container tells what became of it."""
    app = App("test")
    log = []

    @app.cls()
    class Work:
        @moorage.enter()
        def enter(self):
            log.append("enter")

        @moorage.method()
        def work(self, value=None):
            return value

        @moorage.exit()
        def exit(self):
            log.append("exit")

    return app, Work(), log


def test_decorating_starts_nothing():
    before = set(threading.enumerate())
    _, _, log = make_app()
    assert log == []
    assert new_threads(before) == []


def test_a_run_scopes_the_containers():
    app, obj, log = make_app()
    with app.run():
        assert obj.work.remote(1) == 1
        assert log == ["enter"]
        assert process_capacity.statistics().containers == 1
    assert log == ["enter", "exit"]
    assert process_capacity.statistics().containers == 0


def test_an_app_may_run_again():
    app, obj, log = make_app()
    for _ in range(3):
        with app.run():
            assert obj.work.remote(1) == 1
    assert log == ["enter", "exit"] * 3


def test_async_with_from_any_loop(run_async):
    app, obj, log = make_app()

    async def main():
        async with app.run():
            assert await obj.work.remote.aio(1) == 1
            assert log == ["enter"]
        return list(log)

    assert run_async(main) == ["enter", "exit"]


def test_running_a_running_app_is_refused():
    app, obj, _ = make_app()
    with app.run():
        with pytest.raises(InvalidError, match="runs already"):
            app.run().__enter__()
        assert obj.work.remote(1) == 1, "the run that was there goes on"


def test_two_apps_run_side_by_side():
    first_app, first, first_log = make_app()
    second_app, second, second_log = make_app()
    with first_app.run():
        with second_app.run():
            assert (first.work.remote(1), second.work.remote(2)) == (1, 2)
        assert (first_log, second_log) == (["enter"], ["enter", "exit"])
        assert first.work.remote(3) == 3


@pytest.mark.parametrize("error", [LookupError, KeyboardInterrupt, SystemExit, GeneratorExit])
def test_leaving_by_an_exception_runs_the_exit_hooks(error):
    app, obj, log = make_app()

    def main():
        with app.run():
            obj.work.remote()
            raise error

    with pytest.raises(error):
        main()
    assert log == ["enter", "exit"]


def test_leaving_by_return_runs_the_exit_hooks():
    app, obj, log = make_app()

    def main():
        for _ in range(3):
            with app.run():
                return obj.work.remote("returned")
        return None

    assert main() == "returned"
    assert log == ["enter", "exit"]


def test_leaving_by_break_and_by_a_closed_generator_runs_the_exit_hooks():
    app, obj, log = make_app()

    def items():
        with app.run():
            while True:
                yield obj.work.remote(1)

    generator = items()
    assert next(generator) == 1
    generator.close()
    assert log == ["enter", "exit"]


def test_a_cancelled_task_in_async_with_runs_the_exit_hooks():
    app, obj, log = make_app()

    async def main():
        inside = asyncio.Event()

        async def run():
            async with app.run():
                await obj.work.remote.aio()
                inside.set()
                await asyncio.Event().wait()

        task = asyncio.create_task(run())
        await asyncio.wait_for(inside.wait(), 10)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return list(log)

    assert asyncio.run(main()) == ["enter", "exit"]


def test_a_cancelled_scope_in_async_with_on_trio_runs_the_exit_hooks():
    import trio

    app, obj, log = make_app()

    async def main():
        with trio.CancelScope() as scope:
            async with app.run():
                await obj.work.remote.aio()
                scope.cancel()
                await trio.sleep_forever()
        assert scope.cancelled_caught
        return list(log)

    assert trio.run(main) == ["enter", "exit"]


def test_leaving_cancels_what_is_queued_and_what_runs():
    app = App()
    started, seen = threading.Event(), []

    @app.function(max_containers=1)
    async def work():
        started.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            seen.append("cancelled")
            raise

    with app.run():
        running = work.spawn()
        queued = work.spawn()
        assert started.wait(10)
    for call in (running, queued):
        with pytest.raises(InputCancelledError, match="run was left"):
            call.get()
    assert seen == ["cancelled"], "the queued one never ran"


def test_leaving_releases_a_thread_that_waits_in_remote(in_threads):
    app = App()
    started = threading.Event()

    @app.function()
    async def work():
        started.set()
        await asyncio.Event().wait()

    with app.run():
        caller = in_threads(work.remote)
        assert started.wait(10)
    with pytest.raises(InputCancelledError):
        caller.result()


def test_leaving_waits_for_a_sync_input_and_then_runs_the_exit_hooks():
    app = App()
    started, leaving, log = threading.Event(), threading.Event(), []

    @app.cls()
    class Work:
        @moorage.method()
        def work(self):
            started.set()
            assert leaving.wait(10)
            log.append("work ended")

        @moorage.exit()
        def exit(self):
            log.append("exit")

    with app.run():
        call = Work().work.spawn()
        assert started.wait(10)
        # Its caller is released when the run is left, and lets the input end.
        waiter = threading.Thread(target=lambda: (_wait(call), leaving.set()))
        waiter.start()
    waiter.join(10)
    assert not waiter.is_alive()
    assert log == ["work ended", "exit"]


def _wait(call):
    with pytest.raises(InputCancelledError):
        call.get()


def test_a_stuck_sync_input_is_left_after_the_grace_with_a_warning(caplog):
    app = App("stuck")
    started, gate, log = threading.Event(), threading.Event(), []

    @app.cls()
    class Work:
        @moorage.method()
        def work(self):
            started.set()
            assert gate.wait(30)

        @moorage.exit()
        def exit(self):
            log.append("exit")

    with app.run(grace=0.2):
        Work().work.spawn()
        assert started.wait(10)
    gate.set()
    messages = [record.getMessage() for record in caplog.records]
    assert any("'stuck' was left while this still ran" in message for message in messages), messages
    assert any("Work.work (" in message for message in messages), "it says where it sits"


def test_calls_of_a_left_run_keep_their_results():
    app, obj, _ = make_app()
    with app.run():
        call = obj.work.spawn(5)
        assert call.get() == 5
    assert call.get() == 5
    call.cancel()
    assert call.get() == 5


def test_a_call_while_the_run_is_being_left_is_refused():
    app = App()
    errors = []

    @app.cls()
    class Work:
        @moorage.method()
        def work(self):
            return None

        @moorage.exit()
        def exit(self):
            try:
                other.remote()
            except BaseException as error:
                errors.append(error)

    @app.function()
    def other():
        return None

    with app.run():
        Work().work.remote()
    assert [type(error) for error in errors] == [ExecutionError]


def test_a_call_outside_of_any_run_opens_an_ambient_run():
    _, obj, log = make_app()
    assert obj.work.remote(1) == 1
    assert obj.work.remote(2) == 2
    [run] = runs._open_runs
    assert run.ambient
    assert log == ["enter"]
    run.close()
    assert log == ["enter", "exit"]


def test_a_scoped_run_takes_the_place_of_the_ambient_one():
    app, obj, log = make_app()
    assert obj.work.remote(1) == 1
    with app.run():
        assert log == ["enter", "exit"]
        assert obj.work.remote(2) == 2
    assert log == ["enter", "exit"] * 2
    assert not runs._open_runs


def test_a_run_that_waits_for_the_ambient_one_to_end_is_running(in_threads):
    app = App()
    exiting, gate, left = threading.Event(), threading.Event(), threading.Event()

    @app.cls()
    class Work:
        @moorage.method()
        def work(self):
            return None

        @moorage.exit()
        def exit(self):
            exiting.set()
            assert gate.wait(10)

    def run():
        with app.run():
            assert left.wait(10)

    Work().work.remote()
    runner = in_threads(run)
    assert exiting.wait(10)
    with pytest.raises(InvalidError, match="runs already"):
        app.run().__enter__()
    gate.set()
    left.set()
    runner.result()


def test_entering_on_a_loop_leaves_the_ambient_run_without_stopping_the_loop(run_async):
    app, go_on = App("test"), threading.Event()

    @app.function()
    def wait():
        return go_on.wait(30)

    call = wait.spawn()

    async def main():
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(release)
            async with app.run():
                pass

    async def release():
        # Entering waits for the ambient run's input, which ends only if the loop runs.
        go_on.set()

    run_async(main)
    assert call.get()


@pytest.mark.parametrize("leave_ambient", [False, True])
def test_entering_that_is_cancelled_leaves_no_run(run_async, leave_ambient):
    app, go_on = App("test"), threading.Event()

    @app.function()
    def wait():
        return go_on.wait(30)

    if leave_ambient:
        wait.spawn()

    async def enter():
        async with app.run():
            await anyio.sleep_forever()

    async def main():
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(enter)
            await anyio.lowlevel.checkpoint()  # its turn
            go_on.set()
            tasks.cancel_scope.cancel()

    run_async(main)
    assert app.app_id is None


def test_after_a_scoped_run_a_call_opens_an_ambient_run_again():
    app, obj, log = make_app()
    with app.run():
        obj.work.remote()
    assert obj.work.remote(3) == 3
    assert log == ["enter", "exit", "enter"]


def test_in_strict_mode_a_call_outside_of_any_run_is_refused(monkeypatch):
    _, obj, log = make_app()
    monkeypatch.setattr(moorage.config, "strict", True)
    with pytest.raises(ExecutionError, match=r"with app\.run\(\)"):
        obj.work.remote()
    assert log == []


def test_exit_hooks_run_side_by_side():
    app = App()
    both = threading.Barrier(2)

    def make():
        @app.cls()
        class Work:
            @moorage.method()
            def work(self):
                return None

            @moorage.exit()
            def exit(self):
                both.wait(10)  # broken, and so logged, if they ran in turn

        return Work()

    first, second = make(), make()
    with app.run(grace=20):
        first.work.remote()
        second.work.remote()
    assert not both.broken


def test_a_container_that_still_starts_when_its_run_is_left_runs_its_exit_hooks():
    app = App()
    entering, leaving, log = threading.Event(), threading.Event(), []

    @app.cls()
    class Work:
        @moorage.enter()
        def enter(self):
            entering.set()
            assert leaving.wait(10)
            log.append("enter")

        @moorage.method()
        def work(self):
            log.append("work")

        @moorage.exit()
        def exit(self):
            log.append("exit")

    with app.run():
        call = Work().work.spawn()
        assert entering.wait(10)
        waiter = threading.Thread(target=lambda: (_wait(call), leaving.set()))
        waiter.start()
    waiter.join(10)
    assert not waiter.is_alive()
    assert log == ["enter", "exit"], "its enter succeeded, so its exit is owed; no input ran"


def test_leaving_in_virtual_time_takes_none_of_it():
    app = App()

    @app.function()
    async def nap():
        await asyncio.sleep(1000)

    with VirtualClock() as clock:
        with app.run(clock=clock):
            call = nap.spawn()
            clock.sleep(1)
        assert clock.now() == 1
        with pytest.raises(InputCancelledError):
            call.get()


def test_reprs_say_what_things_are():
    app, obj, _ = make_app()

    @app.function()
    def function():
        return None

    assert repr(app) == "App('test')"
    assert repr(function) == "Function(function)"
    assert repr(obj.work) == "Method(Work.work)"
    with app.run():
        call = function.spawn()
        call.get()
        assert repr(call) == f"<FunctionCall {call.object_id} of function: settled>"


def test_a_run_that_strict_mode_refuses_leaves_the_ambient_run_as_it_was(monkeypatch):
    app = App("checked")

    @app.function()
    def one():
        return 1

    assert one.remote() == 1
    ambient = app._runs.run
    monkeypatch.setattr(moorage.config, "strict", True)
    monkeypatch.setattr(
        app._runs, "_check_for_run", lambda: (_ for _ in ()).throw(InvalidError("refused"))
    )
    with pytest.raises(InvalidError, match="refused"):
        app.run().__enter__()
    assert app._runs.run is ambient
    app.stop()
