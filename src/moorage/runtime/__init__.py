"""The engine: it runs inputs in containers, and knows no decorator and no app.

The folders are layers, each built on those before it: `clocks`, `guards`, `containers`, `pools`,
`waiting`.  The files beside them are the ground of all.  Begin at `pools/pool.py`.
"""
