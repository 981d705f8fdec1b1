"""The engine: runs inputs in containers, and knows no decorators and no apps.

The folders are layers, and each layer imports only earlier ones: `clocks`, `guards`,
`containers`, `pools`, `waiting`.  The files in this folder itself are below all layers.  Begin
at ``pools/pool.py``.
"""
