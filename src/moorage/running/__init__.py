"""Runs: when an app has containers, and which run a call belongs to.

Begin at `app_run.AppRun`, the context manager of ``app.run()``, then `runs.Run`, which has the
pools, then `services.AppService`, which makes the pools.
"""
