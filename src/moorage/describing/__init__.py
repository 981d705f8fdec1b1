"""The description of what a program is doing: `moorage.describe`.

Begin at `describe.describe`, which collects; `text.py` writes.
"""
