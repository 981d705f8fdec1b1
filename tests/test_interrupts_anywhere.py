"""Ctrl-C at every instant of a call, or at random ones: no effect of it is lost.

CPython looks for signals when a function begins, at the end of a call of C code, and
where a loop goes back.  Two programs: one goes through these points of our code one by
one, and hands our handler the signal there; the other sends real signals, many, at
random.  After each, counts balance, no map is left open, no lock held, no run left.

More by hand: MOORAGE_POINTS=1 looks at each point, not at each seventh, and
MOORAGE_STORM=60 sends signals for so many seconds.
"""

import os
import subprocess
import sys
import textwrap

import pytest

STRIDE = int(os.environ.get("MOORAGE_POINTS", "7"))
STORM = float(os.environ.get("MOORAGE_STORM", "2"))

HEAD = r"""
import asyncio, dis, faulthandler, gc, os, random, signal, sys, threading, time
import moorage
from moorage.running import runs
from moorage.runtime.waiting import waits
from moorage.runtime.pools.capacity import process_capacity
from moorage.runtime.guards.interrupts import interrupts

signal.signal(signal.SIGINT, signal.default_int_handler)
stride, seconds = int(sys.argv[1]), float(sys.argv[2])
faulthandler.dump_traceback_later(50 + 20 * seconds + 300 / stride, exit=True)
app = moorage.App("program")
tried = raised = 0
bad = []

@app.function(max_containers=1)
@moorage.concurrent(max_inputs=4)
def sync(value):
    return value

@app.function(max_containers=1)
@moorage.concurrent(max_inputs=4)
async def asynchronous(value):
    return value

@app.function(max_containers=1, max_backlog=2, on_full="wait")
def bounded(value):
    return value

@app.function(max_containers=1)
def stream(count):
    yield from range(count)

def get_in_time():
    try:
        sync.spawn(1).get(timeout=0.0005)
    except TimeoutError:
        pass

def left_early(results):
    for result in results:
        if result == 3:
            break

def closed(results):
    next(results)
    results.close()

gather = moorage.FunctionCall.gather
WAYS = {
    "remote": lambda: sync.remote(1),
    "remote of async": lambda: asynchronous.remote(1),
    "spawn": lambda: sync.spawn(1),
    "get": lambda: asynchronous.spawn(1).get(),
    "get in time": get_in_time,
    "gather": lambda: gather(sync.spawn(1), asynchronous.spawn(2)),
    "cancel": lambda: asynchronous.spawn(1).cancel(),
    "map": lambda: list(sync.map(range(3))),
    "map of an iterator": lambda: list(asynchronous.map(iter(range(3)), order_outputs=False)),
    "map left early": lambda: left_early(sync.map(range(20))),
    "map closed": lambda: closed(sync.map(range(100))),
    "for_each": lambda: sync.for_each(range(3)),
    "spawn_map": lambda: sync.spawn_map(range(3)),
    "bounded remote": lambda: bounded.remote(1),
    "bounded spawn": lambda: [bounded.spawn(i) for i in range(4)],
    "bounded map": lambda: list(bounded.map(range(6))),
    "stream": lambda: list(stream.remote_gen(3)),
    "stream left early": lambda: left_early(stream.remote_gen(100)),
    "stream closed": lambda: closed(stream.remote_gen(100)),
    "update_autoscaler": lambda: sync.update_autoscaler(max_containers=1),
}

def use_all():
    assert sync.remote(7) == asynchronous.remote(7) == bounded.remote(7) == 7
    assert list(stream.remote_gen(2)) == [0, 1]

def what_is_left():
    until = time.monotonic() + 10
    for pool in list(app._runs.run.pools.values()):
        while True:
            s = pool.statistics()
            under_way = (s.queued, s.running, s.waiting, s.outside, s.abandoned, pool._open_calls)
            if not any(under_way):
                break
            if time.monotonic() > until:
                return f"{s.name} has {under_way} under way"
            time.sleep(0.0005)
        if s.accepted != s.succeeded + s.failed + s.cancelled:
            return repr(s)
        while pool.lock.locked() or pool.attempts.errors or pool.fleet.blocked:
            if time.monotonic() > until:
                return f"{s.name} is not at rest"
            time.sleep(0.0005)
    while waits.open_streams:
        if time.monotonic() > until:
            return "open streams"
        time.sleep(0.0005)
    if waits.waits_in_progress or interrupts._depth or interrupts._open_to:
        return f"{waits.waits_in_progress} {interrupts._depth} {interrupts._open_to}"
"""

POINTS = r"""
PACKAGE = os.path.dirname(moorage.__file__)
CALLS = {dis.opmap[n] for n in ("CALL", "CALL_FUNCTION_EX", "CALL_KW") if n in dis.opmap}
BACK, RESUME = dis.opmap["JUMP_BACKWARD"], dis.opmap["RESUME"]
SUSPENDS = 0x20 | 0x80 | 0x200  # generators and coroutines
tables = {}

def handler_at(code, offset):
    if code not in tables:
        tables[code] = dis._parse_exception_table(code)
    return next((e.target for e in tables[code] if e.start <= offset < e.end), None)

class Point:
    '''The signal comes at the `at`-th point.'''

    def __init__(self, at):
        self.at, self.count, self.where = at, 0, None
        self.last = {}  # opcode and offset, by frame
        self.quiet = None  # a frame that has just come back from Python code: no point

    def reach(self, frame):
        self.count += 1
        if self.count == self.at:
            self.where = f"{frame.f_code.co_qualname}:{frame.f_lineno}"
            interrupts._handle(signal.SIGINT, frame)

    def trace(self, frame, event, arg):
        if self.count >= self.at or not frame.f_code.co_filename.startswith(PACKAGE):
            return None
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        self.quiet = frame
        if not frame.f_code.co_flags & SUSPENDS:  # else at RESUME, which throw() passes by
            self.reach(frame)
        return self.trace_within

    def trace_within(self, frame, event, arg):
        if self.count >= self.at:
            return self.trace_within
        code = frame.f_code
        if event == "opcode":
            op = code.co_code[frame.f_lasti]
            before, offset = self.last.get(frame, (None, 0))
            self.last[frame] = op, frame.f_lasti
            called = before in CALLS and self.quiet is not frame
            if op == RESUME and code.co_flags & SUSPENDS:
                self.reach(frame)
            # It would be raised by the call, and go where an error of that goes.
            elif (called or before == BACK) and (
                handler_at(code, offset) == handler_at(code, frame.f_lasti)
            ):
                self.reach(frame)
            if self.quiet is frame or op in CALLS:
                self.quiet = None
        elif event == "return":
            self.last.pop(frame, None)
            self.quiet = frame.f_back
        return self.trace_within

def explore(name, way, look):
    global tried, raised
    at = 1 + len(name) % stride
    while True:
        point = Point(at)
        sys.settrace(point.trace)
        try:
            try:
                way()
            finally:
                sys.settrace(None)
                point.last.clear()
                point.quiet = None
            if point.where:
                time.sleep(5)  # it came in a finalizer, and comes once more
                bad.append(f"{name} swallows it at {point.where}")
        except KeyboardInterrupt:
            raised += 1
        interrupts._pending = False
        left = look()
        if left:
            bad.append(f"{name} at {point.where}: {left}")
            return
        if not point.where:
            return
        tried += 1
        at += stride
"""

CALLS = r"""
with app.run():
    use_all()
    for name, way in WAYS.items():
        explore(name, way, what_is_left)
    use_all()
"""

# The caller reads what comes from the container itself.
ELSEWHERE = r"""
with app.run(placement="process"):
    for _ in range(3):
        use_all()
    for name in ("remote", "remote of async"):
        explore(name, WAYS[name], what_is_left)
    use_all()
"""

RUNS = r"""
entered, exited = [], []

@app.cls(min_containers=1)
class Work:
    @moorage.enter()
    def enter(self):
        entered.append(1)

    @moorage.exit()
    def exit(self):
        exited.append(1)

    @moorage.method()
    def work(self):
        pass

def run():
    with app.run():
        Work().work.remote()

def drain():
    with app.run(drain=True):
        asynchronous.spawn(1)

def what_is_left_of_runs():
    if app._runs.run is not None or runs._open_runs:
        return "a run was not left"
    if process_capacity.statistics().containers:
        return "a container lives"
    if len(entered) != len(exited):
        return f"{len(entered)} entered, {len(exited)} exited"
    if signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        return "SIGINT was not given back"
    if interrupts._depth or interrupts._open_to or interrupts._installed:
        return "the guard is not at rest"

explore("run", run, what_is_left_of_runs)
explore("drain", drain, what_is_left_of_runs)
"""

STORMS = r"""
main, over = threading.main_thread().ident, False
# No threading.Event: its lock would stay held where a signal cuts its code.
armed = False

def press():
    chance = random.Random(1)
    while not over:
        if not armed:
            time.sleep(2e-5)
            continue
        for _ in range(int(chance.expovariate(1 / 150))):
            pass
        if armed:
            signal.pthread_kill(main, signal.SIGINT)
        time.sleep(chance.choice([0, 0, 3e-4 * chance.random()]))

threading.Thread(target=press, daemon=True).start()
sys.unraisablehook = lambda seen: None  # those that land in finalizers of Python's own

def storm():
    global tried, raised, armed
    until = time.monotonic() + seconds
    chance = random.Random(2)
    while time.monotonic() < until:
        tried += 1
        try:
            armed = True
            try:
                chance.choice(list(WAYS.values()))()
            finally:
                armed = False
        except KeyboardInterrupt:
            raised += 1
        armed = False

with app.run():
    use_all()
    while True:
        try:
            storm()
            break
        except KeyboardInterrupt:
            raised += 1
    over = True
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    armed = False
    interrupts._pending = False
    gc.collect()
    left = what_is_left()
    if left:
        bad.append(left)
    use_all()
if process_capacity.statistics().containers:
    bad.append("a container lives")
"""

END = r"""
print(tried, raised)
assert not bad, bad
"""


def run(*parts):
    program = "\n".join(textwrap.dedent(part) for part in (HEAD, *parts, END))
    process = subprocess.run(
        [sys.executable, "-c", program, str(STRIDE), str(STORM)],
        capture_output=True,
        text=True,
        timeout=100 + 30 * STORM + 600 / STRIDE,
        check=False,
    )
    assert process.returncode == 0, process.stderr[-5000:]
    tried, raised = map(int, process.stdout.split()[-2:])
    print(f"{tried} tried, {raised} raised")
    return tried, raised


@pytest.mark.parametrize("program", [CALLS, RUNS], ids=["calls", "runs"])
def test_ctrl_c_at_each_point_of_our_code_loses_nothing(program):
    tried, raised = run(POINTS, program)
    assert tried > 700 / STRIDE
    assert raised == tried, "each is raised, sooner or later"


@pytest.mark.skipif(sys.platform != "linux", reason="pidfds are Linux's")
def test_ctrl_c_at_each_point_of_a_call_of_another_process_loses_nothing():
    tried, raised = run(POINTS, ELSEWHERE)
    assert tried > 200 / STRIDE
    assert raised == tried, "each is raised, sooner or later"


@pytest.mark.skipif(sys.platform == "win32", reason="signals go to a thread on POSIX only")
def test_a_storm_of_ctrl_c_loses_nothing():
    tried, raised = run(STORMS)
    assert min(tried, raised) > 20 * STORM
