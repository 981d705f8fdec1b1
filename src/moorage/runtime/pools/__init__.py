"""Pools: which input gets which slot, and when containers start and stop.

Begin at `pool.py`.  Beside it are its leaves, which hold the state and call nobody above them,
and the pure decisions: `autoscaler.py`, `routing.py`, `verdicts.py`.
"""
