"""A function that waits for itself needs more slots than it is deep."""

import moorage

app = moorage.App("nested")


@app.function(max_containers=1)
@moorage.concurrent(max_inputs=3)
def count(depth: int) -> int:
    # Its own slot stays held while it waits for the next one.
    return depth and 1 + count.remote(depth - 1)


with app.run():
    print(count.remote(2))  # three inputs at once, three slots
    try:
        count.remote(3)  # a fourth slot does not exist
    except moorage.exception.DeadlockError as error:
        print("deadlock:", str(error).splitlines()[-1].partition(";")[0])
