"""Containers: they run the user's code; each container has slots for its inputs.

Begin at ``container.py``, the states and the protocol; then ``local.py``, the container that
runs in this process; then ``task_lane.py`` for async inputs, ``thread_lane.py`` for sync inputs.
"""
