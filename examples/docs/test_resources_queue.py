"""A worker that waits for a job, in virtual time."""

import queue

import pytest

import moorage

app = moorage.App("workers")


@app.function()
@moorage.concurrent(max_inputs=10)
def worker(jobs: moorage.Queue) -> str:
    return jobs.get(timeout=60)


def test_a_worker_waits_a_minute_for_a_job(run_app, virtual_clock):
    run_app(app)
    with moorage.Queue.ephemeral() as jobs:
        call = worker.spawn(jobs)
        virtual_clock.sleep(59)
        jobs.put("job 1")
        assert call.get() == "job 1"
        with pytest.raises(queue.Empty):
            worker.remote(jobs)
        assert virtual_clock.now() == 119
