"""Describing: `moorage.describe` prints what a program is doing.

Begin at `describe` in ``describe.py``, which prints; ``text.py`` collects and makes the text.
"""
