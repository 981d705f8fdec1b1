"""The report of one race, as a process of its own sees it.

``python -m explorations.report NAME SEED PREEMPT HEAP BUSY`` prints the error and the notes of one
replay.  `HEAP` objects are made, and a third of them dropped, before anything is imported, so that
addresses differ; with ``BUSY`` two threads compete for the interpreter meanwhile.
"""

from __future__ import annotations

import sys

if __name__ == "__main__":
    heap = [bytearray(n % 4000) for n in range(int(sys.argv[4]))]
    del heap[::3]

import contextlib
import logging
import threading
import time

from moorage.testing import explore, replay


def report_of(test, seed, preempt):
    """The error of a replay, and its notes with the timeline."""
    try:
        replay(test, seed=seed, preempt=preempt)
    except Exception as error:
        return "\n".join([repr(error), *error.__notes__])
    return "passed"


def first_failure(test, preempt, runs=200):
    """The first seed that fails within `runs` seeds from 0 on, and its report."""
    try:
        explore(test, runs=runs, preempt=preempt)
    except Exception as error:
        notes = "\n".join(error.__notes__)
        seed = int(notes.split("seed=")[1].split(":")[0].split(",")[0])
        return seed, "\n".join([repr(error), notes])
    raise LookupError(f"{test.__name__} was not found in {runs} runs")


@contextlib.contextmanager
def busy_threads():
    """In this block, two threads compete for the interpreter."""
    stop, interval = threading.Event(), sys.getswitchinterval()

    def spin():
        while not stop.is_set():
            sum(range(1000))

    def stutter():
        while not stop.is_set():
            time.sleep(0.0005)

    threads = [threading.Thread(target=each) for each in (spin, stutter)]
    for thread in threads:
        thread.start()
    sys.setswitchinterval(1e-5)
    try:
        yield
    finally:
        sys.setswitchinterval(interval)
        stop.set()
        for thread in threads:
            thread.join()


def main():
    from explorations.racy import RACY

    logging.disable()
    name, seed, preempt, _, busy = sys.argv[1:]
    (test,) = (each for each in RACY if each.__name__ == name)
    with busy_threads() if busy == "True" else contextlib.nullcontext():
        sys.stdout.write(report_of(test, int(seed), int(preempt)))


if __name__ == "__main__":
    main()
