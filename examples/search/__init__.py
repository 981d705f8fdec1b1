"""A search server, as one builds them for inference: a model, batches, hundreds of callers.

    python -m examples.search [QUERY ...]

`texts` finds what is searched, `model` makes vectors of it and searches them,
`server` is the class whose containers do so, `measure` asks it.
"""
