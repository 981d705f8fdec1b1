"""Benchmarks: what an input costs, beside the code one would write by hand.

``python -m benchmarks`` from the repository's root; the method is in README.md.
"""
