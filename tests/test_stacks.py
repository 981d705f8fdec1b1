"""Asking where threads are must not freeze the process, whatever the collector does."""

import subprocess
import sys
from pathlib import Path

SRC = Path(__file__).parent.parent / "src"

ASKS_WHILE_COLLECTING = """
import gc, threading, time, weakref
from moorage.runtime import stacks

class Node:
    pass

def let_others_run(_):
    time.sleep(0)  # lets the interpreter go, as any callback may

def come_and_go():
    while not done:
        threads = [threading.Thread(target=int) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

done = False
starter = threading.Thread(target=come_and_go)
starter.start()
gc.freeze()
gc.set_threshold(1)
references = []
until = time.monotonic() + 1.0
while time.monotonic() < until:
    for _ in range(20):
        node = Node()
        node.me = node
        references = [*references[-50:], weakref.ref(node, let_others_run)]
        del node
    assert threading.get_ident() in stacks.current_frames()
    assert gc.isenabled()
done = True
starter.join()
print("asked")
"""


def test_asking_for_frames_while_the_collector_runs_and_threads_end():
    ran = subprocess.run(
        [sys.executable, "-c", ASKS_WHILE_COLLECTING],
        env={"PYTHONPATH": str(SRC)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (ran.stdout, ran.stderr) == ("asked\n", "")
