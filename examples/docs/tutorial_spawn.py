"""Start now, collect later; give up on what takes too long."""

import time

import moorage

app = moorage.App("tutorial")


@app.function(timeout=0.2)
@moorage.concurrent(max_inputs=2)
def work(seconds: float) -> str:
    time.sleep(seconds)
    return f"{seconds} s of work"


with app.run():
    call = work.spawn(0.05)
    print("going on")
    print(call.get())
    try:
        work.remote(0.4)
    except moorage.exception.FunctionTimeoutError as error:
        print(f"FunctionTimeoutError: {error}")
