"""The simulator of the autoscaler: runs the live pool's policy without user code and threads.

Begin at `simulate` in ``simulation.py``.  ``python -m moorage.simulate`` is the command line.
"""
