"""Time: the real clock, the virtual clock, and the one thread that keeps deadlines.

Begin at `clock.Clock`, what the engine asks of a clock; then `timekeeper.py` for real time and
`virtual_clock.py` for virtual time.  No other folder reads the time.
"""
