"""Pools: the queue and the containers of one function, and who gets which slot."""
