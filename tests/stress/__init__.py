"""The stress run: many inputs of all kinds, and three sums that must agree to the last one.

``python -m tests.stress`` runs it; ``tests/test_stress.py`` runs a small one, and shows
that it fails when a count is off by one.
"""
