"""How many containers: the bounds, and what they do, read from the counts."""

import threading

import moorage

app = moorage.App("functions")
gate = threading.Barrier(4)  # three inputs, and this program


@app.function(min_containers=1, max_containers=3, scaledown_window=2)
def meet(name: str) -> str:
    gate.wait()
    gate.wait()
    return name


def show(when: str) -> None:
    seen = meet.statistics()
    assert seen is not None
    states = [container.state.value for container in seen.containers]
    print(f"{when}: {seen.running} run, {seen.queued} wait, containers {states}")


with app.run():
    call = meet.experimental_spawn_map(["a", "b", "c"])
    gate.wait()  # all three are inside
    waiting = meet.spawn("d")
    show("three run")
    waiting.cancel()
    gate.wait()
    print(list(call.iter()))
    print(meet.update_autoscaler(max_containers=2))
