"""Old names work, and the warning shows the new one."""

import moorage as modal

app = modal.App("old")


@app.function(keep_warm=1, concurrency_limit=2, allow_concurrent_inputs=10)
def shout(text: str) -> str:
    return text.upper()


with app.run():
    print(shout.remote("ahoy"))
