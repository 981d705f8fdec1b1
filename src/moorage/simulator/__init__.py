"""The simulator of the autoscaler: the live pool's policy, without user code and without threads.

Begin at `simulation.simulate`.  ``python -m moorage.simulate`` is its command line.
"""
