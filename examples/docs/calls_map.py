"""map and its relatives."""

import time

import moorage

app = moorage.App("calls")


@app.function(max_containers=1)
@moorage.concurrent(max_inputs=4)
def weigh(ton: float, factor: float = 1.0) -> float:
    if ton < 0:
        raise ValueError(f"a weight of {ton}")
    time.sleep(ton / 5)
    return ton * factor


with app.run():
    print(list(weigh.map([3, 2, 1])))
    print(list(weigh.map([3, 2, 1], order_outputs=False)))
    print(list(weigh.map([3, 2], [10, 100])))
    print(list(weigh.starmap([(1, 2), (2, 2)])))
    print(list(weigh.map([1, 2], kwargs={"factor": 0.5})))
    print(list(weigh.map([1, -1], return_exceptions=True)))
    try:
        weigh.for_each([1, -1])
    except ValueError as error:
        print(f"ValueError: {error}")
