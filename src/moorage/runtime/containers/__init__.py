"""Containers: where the user's code runs, and its slots.

Begin at `container.py`, the states and the protocol; then `local.py`, the container of this
process; then `task_lane.py` for async inputs and `thread_lane.py` for sync inputs.
"""
