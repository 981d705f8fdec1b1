"""Runs: when an app has containers, and which run a call belongs to.

A run begins in this order: `run_method.AppRun.__enter__` (the caller's side of ``app.run()``),
`app_runs.AppRuns.open` (which run the app has), `runs.Run` (its pools).  It ends in the same
order: `AppRun.__exit__`, `AppRuns.close`, `runs.close_runs`; at the exit of the interpreter
``runs.py`` ends the runs that are left.  A call outside of any run begins an ambient run in
`AppRuns.current`.  `services.AppService` makes the pools.
"""
