"""The autoscaler's policy, judged by a simulator that shares no code with the library's own.

`__main__` is the command; `traces` has the inputs, `pool` the simulated pool, `hindsight` the
oracle, and `scores` the score and the tables.
"""
