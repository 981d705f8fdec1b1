"""How functions are called, on the caller's side: `remote`, `spawn`, `map` and the others.

Begin at `ways.Remote`, the most common way.  `waited.py` has the calls whose caller waits for
the result, `function_call.py` those that are spawned, `maps.py` those with many inputs.
"""
