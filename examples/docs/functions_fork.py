"""A forked child: its first call opens a run of its own."""

import os
import warnings

import moorage

# CPython 3.12 and later warn of any fork in a program with threads.
warnings.filterwarnings("ignore", category=DeprecationWarning)

app = moorage.App("forks")


@app.function()
def where(who: str) -> str:
    here = "here" if os.getpid() == me else "elsewhere"
    return f"the call of the {who} ran {here}"


me = os.getpid()
print(where.remote("parent"), flush=True)
call = where.spawn("parent")

pid = os.fork()
if pid == 0:
    me = os.getpid()
    print(where.remote("child"), flush=True)
    os._exit(0)
os.waitpid(pid, 0)
print(call.get())
