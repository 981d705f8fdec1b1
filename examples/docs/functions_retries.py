"""A failed input is tried again; the earlier errors are notes on the last."""

import moorage

app = moorage.App("functions")
attempts: list[str | None] = []


@app.function(retries=moorage.Retries(max_retries=3, initial_delay=0.1, backoff_coefficient=2.0))
def flaky(needed: int) -> str:
    attempts.append(moorage.current_input_id())
    if len(attempts) < needed:
        raise ConnectionError(f"attempt {len(attempts)}")
    return f"done at attempt {len(attempts)}"


with app.run():
    print(flaky.remote(3), len(set(attempts)))
    try:
        flaky.remote(99)
    except ConnectionError as error:
        print(error, *error.__notes__, sep="\n")
