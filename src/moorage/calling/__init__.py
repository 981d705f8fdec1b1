"""How functions are called, on the caller's side: `remote`, `spawn`, `map` and the others.

Begin at `ways.Remote`, the most common way.  ``waited.py`` owns the calls whose caller waits
for the result, ``function_call.py`` the spawned calls, ``registry.py`` how a spawned call is
found by its id, ``graph.py`` which call was made by which input, ``maps.py`` the calls with many
inputs, ``feeding.py`` how a map reads its inputs.
"""
