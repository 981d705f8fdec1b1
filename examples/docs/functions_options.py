"""One function with several sets of options: each set has containers of its own."""

import time

import moorage

app = moorage.App("functions")


@app.function(max_containers=1)
def nap(seconds: float) -> str:
    time.sleep(seconds)
    return "slept"


hurried = nap.with_options(timeout=0.05)
crowded = nap.with_concurrency(max_inputs=4)

with app.run():
    print(nap.remote(0.1))
    try:
        hurried.remote(0.1)
    except moorage.exception.FunctionTimeoutError:
        print("too slow")
    crowded.for_each([0.02] * 4)
    for name, function in (("nap", nap), ("hurried", hurried), ("crowded", crowded)):
        seen = function.statistics()
        assert seen is not None
        print(f"{name:8} max_inputs={seen.max_inputs} accepted={seen.accepted}")
