"""Time: the real clock, the virtual clock, and the thread that fires timers in real time.

Begin at `clock.Clock`, the protocol of all clocks; then ``timekeeper.py`` for real time, and
``virtual_clock.py`` for virtual time.  Other folders read the time from a clock.
"""
