"""Waiting: how callers wait for inputs, who waits for whom, and how deadlocks are found.

Begin at ``callers.py``, through which each wait of a caller goes; then read ``deadlock.py``,
which searches for deadlocks.
"""
