"""Load on web endpoints at length: back pressure, memory and neighbours.

``make load`` runs it, in about three minutes; ``tests/web/test_load.py`` has what the suite runs
of it.  All of it talks to loopback only.  Begin at ``__main__.py``.
"""
