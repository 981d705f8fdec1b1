"""What harms whoever reads or writes it, and an app that sends it about.

Containers import this module anew.  `THERE` is true in them.
"""

import asyncio
import ctypes
import os
import resource
import signal
import threading

import moorage

app = moorage.App("poisons")

THERE = not moorage.is_local()

# What reads in this process waits until a test lets it go on.
gate = threading.Event()
reads = threading.Event()


class Unlucky(Exception):
    pass


def read(what, where):
    """What is called where the object is read back."""
    if where == ("there" if THERE else "here"):
        act(what)
    return what


def act(what):
    if what == "fails":
        raise Unlucky(what)
    if what == "hangs":
        reads.set()
        gate.wait()
    if what == "kills":
        os._exit(5)


class Poison:
    """Does harm where it is read: "here", beside the callers, or "there", in a container."""

    def __init__(self, what, where):
        self.what, self.where = what, where

    def __reduce__(self):
        return read, (self.what, self.where)


class HarmsTheWriter:
    def __init__(self, what):
        self.what = what

    def __reduce__(self):
        act(self.what)
        raise AssertionError("it was to do harm")


class OddError(Exception):
    def __init__(self, first, second):
        super().__init__(f"{first} and {second}")


class UnreadableError(Exception):
    def __reduce__(self):
        return read, ("fails", "here")


@app.function(max_containers=2, timeout=8)
@moorage.concurrent(max_inputs=4)
def give(what, where):
    return Poison(what, where)


@app.function(max_containers=2, timeout=8)
@moorage.concurrent(max_inputs=4)
def give_what_harms_the_writer(what):
    return HarmsTheWriter(what)


@app.function(max_containers=2)
@moorage.concurrent(max_inputs=4)
def items(what, where):
    yield 1
    yield Poison(what, where)
    yield 3


@app.function(max_containers=2, timeout=8)
@moorage.concurrent(max_inputs=4)
def take(what):
    return what


@app.function(max_containers=2, timeout=8)
@moorage.concurrent(max_inputs=4)
async def take_async(what):
    return what


@app.function(max_containers=1)
@moorage.batched(max_batch_size=4, wait_ms=20)
def take_many(whats):
    return whats


@app.function()
def fails(how):
    raise OddError("one", "two") if how == "odd" else UnreadableError("what")


@app.function()
def reads_what_harms(path):
    """Calls what gives something that kills whoever reads it."""
    with open(path, "a") as file:
        file.write("run\n")
    return give.remote("kills", "there")


@app.function()
def kills_itself():
    os.kill(os.getpid(), signal.SIGKILL)


def maps(where="there"):
    whats = [("fails", where), ("", where), ("fails", where)]
    return [type(each).__name__ for each in give.starmap(whats, return_exceptions=True)]


async def maps_async(where="there"):
    whats = [("fails", where), ("", where), ("fails", where)]
    results = give.starmap.aio(whats, return_exceptions=True)
    return [type(each).__name__ async for each in results]


maps_there = app.function(name="maps_there")(maps)
maps_there_async = app.function(name="maps_there_async")(maps_async)

WAYS = {
    "map": lambda: maps("here"),
    "map_async": lambda: asyncio.run(maps_async("here")),
    "in_a_container": maps_there.remote,
    "in_a_container_async": maps_there_async.remote,
}


@app.function(max_containers=2)
@moorage.concurrent(max_inputs=20)
def one_of_many(x, how, path):
    file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(file, f"{x}\n".encode())
    os.close(file)
    if x == 13:
        end(how)
    return x


def end(how):
    if how == "exit":
        os._exit(3)
    elif how == "segfault":
        ctypes.string_at(0)
    elif how == "abort":
        os.abort()
    elif how == "memory":
        # As much as it has now, and what the others need.
        resource.setrlimit(resource.RLIMIT_AS, (2 << 30, resource.RLIM_INFINITY))
        bytearray(1 << 40)
