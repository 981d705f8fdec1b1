"""A signal asks a program that hangs; here the program sends it to itself."""

import os
import signal
import threading
import time

import moorage

app = moorage.App("hanging")
moorage.describe_on_signal(signal.SIGUSR1)


@app.function()
def hang() -> None:
    time.sleep(2)


@app.function()
def hang_too() -> None:
    hang.remote()


def ask() -> None:  # what `kill -USR1 <pid>` does
    time.sleep(1)
    os.kill(os.getpid(), signal.SIGUSR1)


threading.Thread(target=ask).start()
with app.run():
    hang_too.remote()
