"""A dict of states, of which `skip_if_exists` makes a lock for each job."""

import moorage

app = moorage.App("jobs")
states = moorage.Dict.from_name("job-states", create_if_missing=True)


@app.function()
def run_once(job: str) -> bool:
    if not states.put(job, "running", skip_if_exists=True):
        return False  # another caller has it
    states[job] = "done"
    return True


if __name__ == "__main__":
    with app.run():
        print(sum(run_once.map(["a", "b", "a", "a"])))
    print(dict(sorted(states.items())))
