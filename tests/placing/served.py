"""An app whose containers are processes: this module is imported anew in each."""

import asyncio
import ctypes
import gc
import os
import signal
import subprocess
import sys
import threading
from typing import ClassVar

import moorage
from moorage.experimental import get_local_input_concurrency, set_local_input_concurrency
from moorage.placing.channel import Channel

app = moorage.App("served")

WAS_LOCAL = moorage.is_local()
LOCK = threading.Lock()  # does not pickle: each process has its own
count = 0


@app.function()
def where(x=0):
    global count
    with LOCK:
        count += 1
    return {
        "x": x,
        "pid": os.getpid(),
        "count": count,
        "was_local": WAS_LOCAL,
        "is_local": moorage.is_local(),
        "is_main": threading.current_thread() is threading.main_thread(),
        "directory": os.getcwd(),
        "environ": dict(os.environ),
        "input": moorage.current_input_id(),
        "call": moorage.current_function_call_id(),
        "argv": sys.argv,
        "group": os.getpgid(0),
    }


@app.function(
    env={"COLOR": "red"},
    secrets=[moorage.Secret.from_dict({"PASSWORD": "secret"})],
    image=moorage.Image.debian_slim().env({"SHAPE": "round"}).workdir("/"),
)
def surrounded():
    return dict(os.environ), os.getcwd()


@app.function()
@moorage.concurrent(max_inputs=100)
async def double(x):
    await asyncio.sleep(0)
    return 2 * x


@app.function()
def numbers(n):
    yield from range(n)


@app.function()
@moorage.batched(max_batch_size=4, wait_ms=5)
def add_one(xs):
    return [x + 1 for x in xs]


class SpecialError(Exception):
    def __init__(self, text, *, code):
        super().__init__(text)
        self.code = code


@app.function()
def fail(text):
    raise SpecialError(text, code=7)


@app.function(single_use_containers=True)
def once(x):
    return os.getpid()


@app.function(max_containers=1)
@moorage.concurrent(max_inputs=4)
def note(path, name):
    """Note that the code has begun; the first time, wait until the process is killed."""
    with open(path, "a") as file:
        file.write(f"{name} {os.getpid()}\n")
    with open(path) as file:
        if name == "endless" or len({line.split()[1] for line in file}) == 1:
            threading.Event().wait()
    return os.getpid()


@app.function()
def end_with(code):
    os._exit(code)


@app.function()
def crash():
    ctypes.string_at(0)


@app.function()
def kill_itself():
    os.kill(os.getpid(), signal.SIGKILL)


@app.function()
def close_everything():
    os.closerange(3, 4096)
    threading.Event().wait()


@app.function()
def run_again():
    with app.run():
        pass


@app.function(max_containers=1)
@moorage.concurrent(max_inputs=20)
def poisoned(x, path):
    """One input ends the process, while its neighbours wait for it to have begun."""
    with open(path, "a") as file:
        file.write(f"{x}\n")
    if x == 13:
        os._exit(3)
    return x


@app.function()
def with_grandchild():
    """Start a program that holds all that it can of this process, and give its pid."""
    child = subprocess.Popen(
        [sys.executable, "-c", "import time; time.sleep(1000)"], close_fds=False
    )
    return os.getpid(), child.pid


@app.function()
def talk_nonsense(path):
    """Write to the driver what is no frame, and wait."""
    bear_witness(path, "begin", 0)
    gc.unfreeze()  # else the collector does not know the channel
    for channel in gc.get_objects():
        if isinstance(channel, Channel):
            channel._end.send(b"\xff" * 64)
    threading.Event().wait()


@app.cls()
class Collected:
    @moorage.enter()
    def load(self):
        self.loaded = [[]]

    @moorage.method()
    def sees(self):
        """Whether the collector visits what the module has, and what the hook has made."""
        seen = gc.get_objects()
        return [any(each is one for each in seen) for one in (Model, self.loaded)]


@app.function()
def sockets_of_a_fork():
    """How many sockets this process has, and a process that is forked from it."""
    reads, writes = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.write(writes, str(count_sockets()).encode())
        os._exit(0)
    os.waitpid(pid, 0)
    there = int(os.read(reads, 100))
    os.close(reads)
    os.close(writes)
    return count_sockets(), there


def count_sockets():
    folder, found = "/proc/self/fd", 0
    for name in os.listdir(folder):
        try:
            found += os.readlink(f"{folder}/{name}").startswith("socket:")
        except FileNotFoundError:  # the folder itself
            pass
    return found


@app.function(nonpreemptible=True)
def start_and_wait(path):
    """Start a program in the group of this process, and wait for ever."""
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(1000)"])
    with open(path, "w") as file:
        file.write(f"{os.getpid()} {child.pid}")
    threading.Event().wait()


@app.cls()
class Model:
    size: int = moorage.parameter(default=1)
    path: str = moorage.parameter(default="")

    @moorage.enter()
    def load(self):
        self.pid = os.getpid()
        self.heard = 0
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGUSR1, self.hear)

    def hear(self, number, frame):
        self.heard += 1

    @moorage.method()
    def run(self, x):
        if signal.getsignal(signal.SIGUSR1) == self.hear:
            signal.raise_signal(signal.SIGUSR1)
        return self.size * x, self.pid, self.heard

    @moorage.exit()
    def leave(self):
        if self.path:
            with open(self.path, "a") as file:
                file.write(f"left {self.size}\n")


@app.cls()
class Broken:
    @moorage.enter()
    def load(self):
        raise SpecialError("no model", code=9)

    @moorage.method()
    def run(self):
        pass


@app.cls()
class CrashesAtStart:
    @moorage.enter()
    def load(self):
        os._exit(4)

    @moorage.method()
    def run(self):
        pass


@app.function(timeout=5, max_containers=1)
def hold(path):
    """Keep the interpreter's lock: not even a cancel gets in."""
    bear_witness(path, "begin", 0)
    ctypes.PyDLL(None).sleep(1000)


@app.function(timeout=5)
def be_stopped(path):
    bear_witness(path, "begin", 0)
    os.kill(os.getpid(), signal.SIGSTOP)


@app.cls(startup_timeout=8)
class NeverStarts:
    path: str = moorage.parameter()

    @moorage.enter()
    def load(self):
        bear_witness(self.path, "begin", 0)
        while True:
            pass

    @moorage.method()
    def run(self):
        pass


@app.function()
def stop_here():
    breakpoint()


@app.function()
def printing(text):
    print(text)


def bear_witness(path, what, id):
    """Append one line, by one system call, so lines of several processes never mix."""
    file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(file, f"{what} {id} {os.getpid()}\n".encode())
    os.close(file)


@app.function(max_containers=2, timeout=100)
@moorage.concurrent(max_inputs=3)
def witnessed(path, id, padding):
    bear_witness(path, "begin", id)
    bear_witness(path, "end", id)
    return id, len(padding), padding[:300]


@app.function(max_containers=2, timeout=100, nonpreemptible=True)
@moorage.concurrent(max_inputs=3)
def witnessed_once(path, id, padding):
    return witnessed.local(path, id, padding)


@app.function()
def answer_when(path, go):
    bear_witness(path, "begin", 0)
    pause = threading.Event()
    while not os.path.exists(go):
        pause.wait(0.001)
    return "the answer"


@app.function(timeout=100)
@moorage.concurrent(max_inputs=3)
def slowly(path, id):
    bear_witness(path, "begin", id)
    threading.Event().wait(0.005)
    bear_witness(path, "end", id)
    return id


@app.function(max_containers=1)
@moorage.concurrent(max_inputs=40)
async def echo(data):
    return data


@app.function()
@moorage.concurrent(max_inputs=8)
def limited(to):
    before = get_local_input_concurrency()
    set_local_input_concurrency(to)
    return before, get_local_input_concurrency()


def _said(call):
    try:
        return str(call())
    except Exception as error:
        return f"{type(error).__name__}: {error}".partition(",")[0]


@app.function()
def calls_in_a_fork():
    notes = moorage.Dict.from_name("notes-of-forks", create_if_missing=True)
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        calls = (lambda: double.remote(1), lambda: double.spawn(1).get(), lambda: notes.get("x"))
        os.write(write, "\n".join(map(_said, calls)).encode())
        os._exit(0)
    os.waitpid(pid, 0)
    os.close(write)
    with open(read) as file:
        return file.read().splitlines(), double.remote(4)


@app.function()
def stops_itself():
    os.kill(os.getpid(), signal.SIGSTOP)


@app.function()
def waits_for_item(queue):
    queue.get()
    return 1


@app.function()
def asks_another(queue):
    return waits_for_item.remote(queue)


@app.function()
async def awaits_another(queue):
    total = 0
    async for each in waits_for_item.map.aio([queue, queue]):
        total += each
    return total


@app.cls()
class EntersForever:
    path: str = moorage.parameter()

    @moorage.enter()
    def load(self):
        bear_witness(self.path, "begin", 0)
        while True:
            pass

    @moorage.method()
    def run(self):
        pass


class SpawnsWhenItDies:
    """A result whose finalizer waits for another call, in the program that has read it."""

    died: ClassVar[list[object]] = []

    def __del__(self):
        if moorage.is_local():
            try:
                self.died.append(double.spawn(1).get())
            except Exception as error:
                self.died.append(error)


@app.function()
def makes_one_that_spawns():
    return SpawnsWhenItDies()
