"""Mounting: how the paths of containers come to lead to the files of volumes.

The command line calls `namespace.enter` (or `links.link`) before it imports a program, and gets a
`Place`.  What the program mounts is known later; then the `Place` puts each directory at its path.

Begin at ``place.py``; then ``namespace.py``, ``helper.py``, ``paths.py`` and ``made.py``.
"""
