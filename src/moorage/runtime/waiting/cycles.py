"""Cycles: which nodes of a waiting graph can never make progress.

Owns a pure algorithm: it takes a graph and returns the dead part.  It takes no lock and knows
no pool.  ``waiting_graph.py`` makes the graph and calls it.  Begin at `Node`, then `mark_alive`,
then `cycle_of`.

A node is *alive* if it makes progress, or will.  It becomes alive when `need` of the nodes
that it needs are alive: 1 for "any of these", their number for "each of these", and 0 for a
node that makes progress by itself.  The alive nodes are the least set that follows from this
rule.  All other nodes are *dead*: they wait for each other, and nothing outside can change
that.
"""

from __future__ import annotations

from collections.abc import Iterable


class Node:
    """What may be alive: a wait, an input, a container's slots, room for a container."""

    __slots__ = ("alive", "feeds", "need", "needs", "what")

    def __init__(self, what: object, need: int) -> None:
        self.what: object = what
        self.need: int = need  # the total weight of needed nodes that must still become alive
        self.alive: bool = False
        # The nodes that need this node, each with this node's weight there.
        self.feeds: list[tuple[Node, int]] = []
        self.needs: list[Node] = []

    def after(self, other: Node, weight: int = 1) -> None:
        """Make this node need `other`, which counts for `weight` of `need`."""
        other.feeds.append((self, weight))
        self.needs.append(other)

    def __repr__(self) -> str:
        state = "alive" if self.alive else f"needs {self.need}"
        return f"<Node {self.what!r}: {state}>"


def mark_alive(nodes: Iterable[Node]) -> None:
    """Mark all alive nodes, and count `need` down to the weight that stays missing."""
    due = [node for node in nodes if node.need <= 0 and not node.alive]
    for node in due:
        node.alive = True
    while due:
        for fed, weight in due.pop().feeds:
            fed.need -= weight
            if fed.need <= 0 and not fed.alive:
                fed.alive = True
                due.append(fed)


def cycle_of(nodes: Iterable[Node]) -> set[Node]:
    """Return the dead nodes that keep each other dead.

    Nodes that merely wait for the cycle are left out: if one of them failed, no other node
    would become alive.
    """
    cycle = {node for node in nodes if not node.alive}
    # For each node, the number of nodes in the cycle that need it.  A node that none needs is
    # removed, which may leave the nodes that it needs without one, and so on.
    held_up = {node: sum(fed in cycle for fed, _ in node.feeds) for node in cycle}
    loose = [node for node, count in held_up.items() if not count]
    while loose:
        node = loose.pop()
        cycle.discard(node)
        for needed in node.needs:
            if needed in cycle:
                held_up[needed] -= 1
                if not held_up[needed]:
                    loose.append(needed)
    return cycle
