"""Explorations: racy programs, which must be found, and correct ones, which must pass."""
