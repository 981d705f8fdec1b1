"""Cancelling one input of several in a container, and three ways to take part in it."""

import threading

import moorage
from moorage.exception import InputCancelledError

app = moorage.App("cancelling")
began = threading.Semaphore(0)
ended = threading.Semaphore(0)


@app.function(max_containers=1)
@moorage.concurrent(max_inputs=4)
def search(what: str) -> str:
    number = 0
    try:
        began.release()
        while True:  # no wait and no call of moorage's: only its thread is here
            if what == str(number):
                return "found"
            number += 1
    finally:
        ended.release()


@app.function(max_containers=1)
@moorage.cooperative
def tidy(steps: list[str]) -> None:
    began.release()
    while True:
        with moorage.shield():
            steps[:] = ["open", "write", "close"]  # all of it, or nothing
        moorage.check_cancelled()  # ends here, and nowhere else


with app.run():
    hopeless = search.spawn("unicorn")
    began.acquire()
    hopeless.cancel()
    try:
        hopeless.get()
    except InputCancelledError as error:
        print(error)
    print(search.remote("42"))
    ended.acquire()
    ended.acquire()  # the thread of the cancelled one is out of its loop, too

    steps: list[str] = []
    call = tidy.spawn(steps)
    began.acquire()
    began.acquire()
    call.cancel()
print(steps)
