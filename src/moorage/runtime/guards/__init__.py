"""Guards: how running user code is cancelled or interrupted, and how that is deferred.

Begin at ``cells.py``, the state of one worker thread; then ``interrupts.py``, for Ctrl-C.
"""
