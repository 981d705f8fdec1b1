"""Knots: which of those that wait for one another can never get on.

Pure: a graph in, the dead part of it out.  ``waiting_graph.py`` makes the graph.

A node is alive once `need` of what it needs is alive: 1 for "any of these",
all of them for "each of these", and 0 for what is under way by itself.  What
is alive is the least set that follows from that; the rest is *dead*: it waits
for itself, and stays dead whatever the others do.
"""

from __future__ import annotations

from collections.abc import Iterable


class Node:
    """One that may be alive: a wait, an input, the slots of a container, room."""

    __slots__ = ("alive", "feeds", "need", "needs", "what")

    def __init__(self, what: object, need: int) -> None:
        self.what: object = what
        self.need: int = need  # how much more must come alive; weights add up
        self.alive: bool = False
        self.feeds: list[tuple[Node, int]] = []  # who needs this, and what it weighs there
        self.needs: list[Node] = []

    def after(self, other: Node, weight: int = 1) -> None:
        """`other` counts for `weight` of what this one needs."""
        other.feeds.append((self, weight))
        self.needs.append(other)

    def __repr__(self) -> str:
        state = "alive" if self.alive else f"needs {self.need}"
        return f"<Node {self.what!r}: {state}>"


def revive(nodes: Iterable[Node]) -> None:
    """Mark all that is alive, and count `need` down to what stays missing."""
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
    """Those of the dead that keep one another dead.

    Without those that merely wait for them: to give one of these up would help
    nobody else.
    """
    cycle = {node for node in nodes if not node.alive}
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
