"""Waiting: how callers wait for inputs, who waits for whom, and deadlocks.

Begin at `callers.py`, where each wait passes; then `deadlock.py`, which searches.
"""
