"""Objects of another event loop: the error, or the timeout, says what to write instead."""

import asyncio

import anyio
import pytest

import moorage
from moorage import App
from moorage.exception import FunctionTimeoutError
from moorage.runtime.clocks.first_look import FirstLook
from moorage.runtime.clocks.virtual_clock import VirtualClock
from moorage.runtime.loop_notes import ADVICE
from moorage.runtime.outcome import Failure
from moorage.runtime.waiting.other_loops import IT_WAITED


def notes_of(error):
    return getattr(error, "__notes__", [])


async def error_of(awaitable):
    try:
        await awaitable
    except Exception as error:
        return error
    pytest.fail("there was no error")


async def contended(kind):
    """A primitive of asyncio that is bound to this loop."""
    made = kind()
    if kind is asyncio.Lock or kind is asyncio.Semaphore:
        await made.acquire()
        waiting = asyncio.create_task(made.acquire())
    elif kind is asyncio.Queue:
        waiting = asyncio.create_task(made.get())
    elif kind is asyncio.Condition:
        await made.acquire()
        waiting = asyncio.create_task(made.wait())
    else:
        waiting = asyncio.create_task(made.wait())
    await asyncio.sleep(0)
    return made, waiting


async def use(made):
    if isinstance(made, (asyncio.Lock, asyncio.Semaphore)):
        await made.acquire()
    elif isinstance(made, asyncio.Queue):
        await made.get()
    elif isinstance(made, asyncio.Condition):
        async with made:
            await made.wait()
    else:
        await made.wait()


PRIMITIVES = [asyncio.Lock, asyncio.Semaphore, asyncio.Event, asyncio.Condition, asyncio.Queue]


@pytest.mark.parametrize("kind", PRIMITIVES)
def test_a_primitive_that_is_bound_to_the_callers_loop(kind):
    app = App()

    @app.function(serialized=True, timeout=5)
    async def work(made):
        await use(made)

    async def main():
        async with app.run():
            made, waiting = await contended(kind)
            error = await error_of(work.remote.aio(made))
            waiting.cancel()
            return error

    error = asyncio.run(main())
    assert "is bound to a different event loop" in str(error)
    assert notes_of(error) == [ADVICE]


async def in_wait_for(future):
    await asyncio.wait_for(future, 1)


async def in_gather(future):
    await asyncio.gather(future)


async def in_shield(future):
    await asyncio.shield(future)


async def in_group(future):
    async with asyncio.TaskGroup() as group:
        group.create_task(plainly(future))


async def in_another_error(future):
    try:
        await future
    except RuntimeError as error:
        raise LookupError("no answer") from error


async def while_handling(future):
    try:
        await future
    except RuntimeError:
        raise LookupError("no answer")  # noqa: B904


async def plainly(future):
    await future


@pytest.mark.parametrize(
    "way",
    [plainly, in_wait_for, in_gather, in_shield, in_group, in_another_error, while_handling],
)
def test_a_future_of_the_callers_loop(way):
    app = App()

    @app.function(serialized=True, timeout=5)
    async def work(future):
        await way(future)

    async def main():
        async with app.run():
            future = asyncio.get_running_loop().create_future()
            return await error_of(work.remote.aio(future))

    assert notes_of(asyncio.run(main())) == [ADVICE]


def test_every_way_to_call_has_the_note():
    app = App()

    @app.function(serialized=True)
    async def work(future):
        await future

    @app.function(serialized=True)
    async def items(future):
        yield 1
        await future

    @app.function(serialized=True)
    @moorage.batched(max_batch_size=2, wait_ms=10)
    async def batch(futures):
        await futures[0]

    @app.function(serialized=True, retries=moorage.Retries(max_retries=1, initial_delay=0.0))
    async def again(future):
        await future

    @app.cls(serialized=True)
    class Model:
        @moorage.method()
        async def work(self, future):
            await future

    async def read(results):
        return [result async for result in results]

    async def spawned(future):
        call = await work.spawn.aio(future)
        return await call.get.aio()

    def ways(future):
        return {
            "remote": work.remote.aio(future),
            "for_each": work.for_each.aio([future]),
            "method": Model().work.remote.aio(future),
            "remote_gen": read(items.remote_gen.aio(future)),
            "batch": batch.remote.aio(future),
            "retries": again.remote.aio(future),
            "map": read(work.map.aio([future])),
            "starmap": read(work.starmap.aio([(future,)])),
            "spawn": spawned(future),
            "variant": work.with_options(timeout=3).remote.aio(future),
        }

    async def main():
        found = {}
        async with app.run():
            future = asyncio.get_running_loop().create_future()
            for way, call in ways(future).items():
                error = await error_of(call)
                found[way] = sum(note == ADVICE for note in notes_of(error))
        return found

    found = asyncio.run(main())
    assert found == dict.fromkeys(found, 1)


def test_an_object_of_a_loop_that_is_closed():
    app = App()

    @app.function(serialized=True)
    async def work(loop):
        loop.call_soon(print)

    loop = asyncio.new_event_loop()
    loop.close()
    with app.run(), pytest.raises(RuntimeError, match="Event loop is closed") as caught:
        work.remote(loop)
    assert notes_of(caught.value) == [ADVICE]


def test_an_object_of_trio():
    trio = pytest.importorskip("trio")
    app = App()

    @app.function(serialized=True)
    async def work(event):
        await event.wait()

    with app.run(), pytest.raises(RuntimeError) as caught:
        work.remote(trio.Event())
    assert notes_of(caught.value) == [ADVICE]


def test_a_function_of_trio():
    trio = pytest.importorskip("trio")
    app = App()

    @app.function(serialized=True)
    async def sleeps():
        await trio.sleep(0)

    with app.run(), pytest.raises(RuntimeError, match="bad yield") as caught:
        sleeps.remote()
    assert notes_of(caught.value) == [ADVICE]


def test_a_nursery_of_a_caller_on_trio():
    trio = pytest.importorskip("trio")
    app = App()
    made = []

    @app.function()
    async def work():
        made[0].start_soon(trio.sleep, 0)

    async def main():
        async with app.run(), trio.open_nursery() as nursery:
            made.append(nursery)
            return await error_of(work.remote.aio())

    error = trio.run(main)
    assert type(error) is AttributeError
    assert notes_of(error) == [ADVICE]


def test_an_enter_hook_and_an_exit_hook(caplog):
    app = App()
    loop = asyncio.new_event_loop()
    future = loop.create_future()

    @app.cls(serialized=True)
    class Enters:
        @moorage.enter()
        async def load(self):
            await future

        @moorage.method()
        async def work(self):
            return 1

    @app.cls(serialized=True)
    class Exits:
        @moorage.method()
        async def work(self):
            return 1

        @moorage.exit()
        async def save(self):
            await future

    with app.run():
        with pytest.raises(RuntimeError) as caught:
            Enters().work.remote()
        Exits().work.remote()
    loop.close()
    assert notes_of(caught.value) == [ADVICE]
    assert any("exit hook" in r.getMessage() and ADVICE in r.getMessage() for r in caplog.records)


def test_an_error_that_the_user_keeps_gets_one_note():
    app = App()
    kept = RuntimeError("Event loop is closed")

    @app.function(serialized=True)
    async def work():
        raise kept

    with app.run():
        for _ in range(3):
            with pytest.raises(RuntimeError) as caught:
                work.remote()
            assert notes_of(caught.value).count(ADVICE) == 1


@pytest.mark.parametrize(
    "name", ["__cause__", "__context__", "__suppress_context__", "__class__", "exceptions", "args"]
)
@pytest.mark.parametrize("is_async", [True, False], ids=["async def", "def"])
def test_the_look_at_an_error_runs_none_of_its_code(name, is_async):
    def refuse(self):
        raise KeyError(name)

    base = ExceptionGroup if name == "exceptions" else RuntimeError
    given = ("odd", [ValueError()]) if name == "exceptions" else ("odd",)
    odd = type("Odd", (base,), {name: property(refuse)})
    app = App()

    async def on_loop():
        raise odd(*given)

    def in_thread():
        raise odd(*given)

    function = app.function(timeout=10, name="f", serialized=True)(
        on_loop if is_async else in_thread
    )
    raised = None
    with app.run():
        try:
            function.remote()
        except BaseException as error:
            raised = type(error)
    assert raised is odd


def test_other_errors_and_sync_functions_have_no_note():
    app = App()

    @app.function(serialized=True)
    async def work():
        raise RuntimeError("the loop of the game has ended")

    @app.function(serialized=True)
    def in_a_thread():
        raise RuntimeError("Event loop is closed")

    with app.run():
        for function in (work, in_a_thread):
            with pytest.raises(RuntimeError) as caught:
                function.remote()
            assert notes_of(caught.value) == []


# -- without an error: the input hangs until its timeout -----------------------------------------


async def take_lock(lock):
    async with lock:
        return 1


async def wait_event(event):
    await event.wait()


async def get_item(queue):
    return await queue.get()


async def wait_condition(condition):
    async with condition:
        await condition.wait()


async def nested(event):
    await asyncio.gather(asyncio.sleep(0), asyncio.create_task(event.wait()))


async def grouped(event):
    async with asyncio.TaskGroup() as group:
        group.create_task(event.wait())


async def with_limit(event):
    await asyncio.wait_for(event.wait(), 100)


async def with_timeout(event):
    async with asyncio.timeout(100):
        await event.wait()


async def and_goes_on(event):
    await event.wait()
    await asyncio.sleep(100)


async def waits_for_future(future):
    await asyncio.wait({future})


async def release_later(made, seconds):
    await asyncio.sleep(seconds)
    if isinstance(made, (asyncio.Lock, asyncio.Semaphore)):
        made.release()
    elif isinstance(made, asyncio.Event):
        made.set()
    elif isinstance(made, asyncio.Queue):
        made.put_nowait(1)
    elif isinstance(made, asyncio.Condition):
        async with made:
            made.notify_all()
    else:
        made.set_result(1)


async def locked_lock():
    lock = asyncio.Lock()
    await lock.acquire()
    return lock


async def full_semaphore():
    return asyncio.Semaphore(0)


async def event():
    return asyncio.Event()


async def queue():
    return asyncio.Queue()


async def future():
    return asyncio.get_running_loop().create_future()


HANGS = [
    (locked_lock, take_lock),
    (full_semaphore, take_lock),
    (event, wait_event),
    (queue, get_item),
    (event, nested),
    (event, grouped),
    (event, with_limit),
    (event, with_timeout),
    (event, and_goes_on),
    (future, waits_for_future),
]


@pytest.mark.parametrize("virtual", [True, False], ids=["virtual", "real"])
@pytest.mark.parametrize(("make", "body"), HANGS, ids=lambda f: f.__name__)
def test_an_input_that_another_loop_cannot_wake(make, body, virtual):
    app = App()

    @app.function(serialized=True, timeout=0.5 if virtual else 2)
    async def work(made):
        return await body(made)

    clock = VirtualClock() if virtual else None

    async def main():
        async with app.run(clock=clock):
            made = await make()
            releasing = asyncio.create_task(release_later(made, 0.1))
            error = await error_of(work.remote.aio(made))
            await releasing
            return error

    error = asyncio.run(main()) if clock is None else clock.run(main())
    assert type(error) is FunctionTimeoutError
    assert notes_of(error) == [IT_WAITED]


def test_many_inputs_that_another_loop_cannot_wake():
    app = App()

    @app.function(serialized=True, timeout=2, max_containers=2)
    @moorage.concurrent(max_inputs=10)
    async def work(made):
        await made.wait()

    async def main():
        async with app.run():
            made = asyncio.Event()
            asyncio.get_running_loop().call_later(0.1, made.set)
            results = work.map.aio([made] * 5, return_exceptions=True)
            return [error async for error in results]

    # The first timeout wakes the loop, and with it the other inputs, which may end well.  On a busy
    # machine the time of one of those may be over before its task goes on: it waits for nothing.
    errors = [error for error in asyncio.run(main()) if error is not None]
    noted = [note for error in errors for note in notes_of(error)]
    assert noted
    assert all(ADVICE in note for note in noted)


def test_a_lock_that_stays_locked_has_a_note_that_says_if():
    app, clock = App(), VirtualClock()
    lock = asyncio.Lock()

    @app.function(serialized=True, timeout=5)
    async def work():
        await lock.acquire()
        await lock.acquire()

    with app.run(clock=clock), pytest.raises(FunctionTimeoutError) as caught:
        work.remote()
    (note,) = notes_of(caught.value)
    assert note.startswith("the input waited for an asyncio.Lock; if code on another event loop")
    assert note.endswith(ADVICE)


@pytest.mark.parametrize("kind", [anyio.Lock, anyio.Semaphore], ids=["Lock", "Semaphore"])
def test_a_primitive_of_anyio_that_stays_locked_has_the_same_note(kind):
    app, clock = App(), VirtualClock()
    made = []

    @app.function(timeout=5)
    async def work():
        async with made[0]:
            pass

    async def main():
        made.append(anyio.Lock() if kind is anyio.Lock else anyio.Semaphore(1))
        async with app.run(clock=clock), made[0]:
            return await error_of(work.remote.aio())

    error = clock.run(main())
    assert type(error) is FunctionTimeoutError
    (note,) = notes_of(error)
    assert note.startswith(f"the input waited for an anyio.{kind.__name__}; if code on another")
    assert note.endswith(ADVICE)


async def sleeps():
    await asyncio.sleep(100)


async def waits_alone():
    await asyncio.Event().wait()


async def reads():
    await asyncio.to_thread(lambda: None)
    await asyncio.sleep(100)


@pytest.mark.parametrize("body", [sleeps, waits_alone, reads])
def test_other_timeouts_have_no_note(body):
    app, clock = App(), VirtualClock()

    @app.function(serialized=True, timeout=5)
    async def work():
        await body()

    with app.run(clock=clock), pytest.raises(FunctionTimeoutError) as caught:
        work.remote()
    assert notes_of(caught.value) == []


def test_a_loop_that_is_blocked_beyond_the_timeout_has_no_note():
    """A future that is done behind code that holds the loop is no fault of another loop."""
    import time

    app = App()

    @app.function(serialized=True, timeout=0.2, max_containers=1)
    @moorage.concurrent(max_inputs=2)
    async def work(blocks):
        loop = asyncio.get_running_loop()
        future = loop.create_future()
        loop.call_later(0.05, future.set_result, None)
        if blocks:
            await asyncio.sleep(0.02)
            time.sleep(0.4)
        await future
        await asyncio.sleep(10)

    with app.run():
        calls = [work.spawn(True), work.spawn(False)]
        for call in calls:
            with pytest.raises(FunctionTimeoutError) as caught:
                call.get()
            assert notes_of(caught.value) == []


def test_the_loop_has_its_own_time_again():
    app = App()
    loops = []

    @app.function(serialized=True, timeout=1, max_containers=1)
    async def work(waits):
        loops.append(asyncio.get_running_loop())
        if waits:
            await asyncio.sleep(10)

    with app.run():
        with pytest.raises(FunctionTimeoutError):
            work.remote(True)
        work.remote(False)
        assert "time" not in vars(loops[-1])


def test_a_time_that_was_set_on_the_loop_stays():
    loop = asyncio.new_event_loop()
    try:
        mine = loop.time
        vars(loop)["time"] = mine
        looks = FirstLook(loop, lambda task, slept: "why")

        async def sleep():
            await asyncio.sleep(0)

        task = loop.create_task(sleep())
        failure = Failure(TimeoutError())
        looks.expect(task, failure)
        assert vars(loop)["time"] is not mine
        looks.look(slept=False)
        assert vars(loop)["time"] is mine
        assert failure.note == "why"
        loop.run_until_complete(task)
    finally:
        loop.close()
