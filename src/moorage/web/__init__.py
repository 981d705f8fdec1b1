"""Web endpoints: the decorators that mark them.  This version does not serve them.

Begin at ``decorators.py``.
"""
