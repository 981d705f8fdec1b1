"""Guards: how running user code is cancelled or interrupted, and what holds that off.

Begin at `cells.Cell`, the state of one worker thread; then `interrupts.py`, for Ctrl-C.
"""
