"""The leaves of a pool, each alone: one file for each, and no pool in any of them."""
