"""The graph of calls: which input's code made which call, and how each input ended.

Owns `Graph`, the calls that descend from one root.  ``registry.py`` adds calls to graphs, under
its lock; calls note how their inputs ended (`CanBeNoted`); `FunctionCall.get_call_graph` reads
`Graph.infos`.

Begin at `Graph.add_spawned` and `Graph.add_input`, then `Graph.note`, then `Graph.infos`.

A graph exists only if an input's code has spawned a call, or a spawned call's code has made
any call.  All calls of a graph refer to the graph, and the graph refers to no settled call and
to no result, so a graph goes with the last of its calls.  A graph keeps about
`config.findable_calls` inputs at most, and shows a settled call for `config.findable_seconds`.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Final, TypeVar

from .. import config
from ..exception import FunctionTimeoutError, QueueTimeoutError
from ..runtime.clocks.clock import Clock
from ..runtime.input import Call, Input, Target, call_id, input_id
from ..runtime.outcome import Failure, Outcome, Value

if TYPE_CHECKING:
    from ..types import InputInfo
    from .function_call import FunctionCall

# The most inputs of one call in a graph, if the graph itself keeps them.
MOST_OF_ONE_CALL: Final = 1000

Ended = tuple[str, str]
"""How a settled input ended, and the id of its container."""


class CanBeNoted:
    """A call, not a spawned one, that can note in a graph how its inputs end.

    Noting takes another class, which `notable` makes: so a call that is in no graph pays nothing.
    """

    __slots__ = ()

    if TYPE_CHECKING:
        number: int
        graph: Graph  # set by `note_in` only

        def settled(self, input: Input, /) -> Callable[[], object] | None: ...

    _noting: ClassVar[type]

    def note_in(self, graph: Graph, /) -> None:
        """Note in `graph` how each input ends."""
        noting: Any = self
        noting.graph = graph
        noting.__class__ = self._noting


_Kind = TypeVar("_Kind", bound=type[CanBeNoted])


def notable(kind: _Kind) -> _Kind:
    """Make the class that calls of `kind`, which has a slot `graph`, are of while they note."""
    settled: Callable[[Any, Input], Callable[[], object] | None] = kind.settled

    def noting(self: CanBeNoted, input: Input, /) -> Callable[[], object] | None:
        self.graph.note(self.number, input)
        return settled(self, input)

    kind._noting = type(f"Noting{kind.__name__}", (kind,), {"__slots__": (), "settled": noting})
    return kind


class Node:
    """One call of a graph."""

    __slots__ = (
        "call",
        "entries",
        "number",
        "parent",
        "settled_at",
        "target",
    )

    def __init__(self, number: int, target: Target, parent: tuple[int, int] | None) -> None:
        self.number: int = number
        # The number of the call, and the index of the input, whose code made this call.
        self.parent: tuple[int, int] | None = parent
        self.target: Target = target
        # Set for a spawned call: while the call lives, it knows its inputs.
        self.call: weakref.ref[FunctionCall[Any]] | None = None
        # The inputs by index.  Of a spawned call: set when the call settles.  Of any other
        # call: an input is here from its submission on.
        self.entries: dict[int, Input | Ended] = {}
        # When an input last settled, by the graph's clock.
        self.settled_at: float | None = None

    def live_call(self) -> FunctionCall[Any] | None:
        return None if self.call is None else self.call()

    @property
    def size(self) -> int:
        return max(1, len(self.entries))

    def is_settled(self) -> bool:
        call = self.live_call()
        if call is not None:
            return call._settled_at is not None
        return not any(isinstance(entry, Input) for entry in self.entries.copy().values())


class Graph:
    """The calls that descend from one root; see the head of the file.

    Args:
        clock: the clock of the call that began the graph.
    """

    __slots__ = ("_clock", "_nodes", "_size", "_trims_at")

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        # By the number of the call.  A call comes after its parent.  The registry's lock guards
        # this field and those below; `note` only reads the dict.
        self._nodes: dict[int, Node] = {}
        # Invariant: the sum of `Node.size`.
        self._size: int = 0
        # The size from which the next addition trims.
        self._trims_at: int = 0

    def __contains__(self, number: int) -> bool:
        return number in self._nodes

    # -- adding, under the registry's lock -----------------------------------------------

    def add_spawned(self, call: FunctionCall[Any], parent: tuple[int, int] | None) -> None:
        """Add a spawned call, or replace the handle that the graph knows."""
        node = self._nodes.get(call.number)
        if node is None:
            node = self._add(call, parent)
        node.call = weakref.ref(call)

    def add_input(self, call: Call, input: Input, parent: tuple[int, int] | None) -> None:
        """Add `input` of a call that was not spawned.

        The call must `note` the end of the input from now on.
        """
        node = self._nodes.get(call.number)
        if node is None:
            node = self._add(call, parent)
        entries = node.entries
        if input.index in entries or len(entries) >= most_of_one_call():
            return
        if entries:
            self._make_room(parent)
            self._size += 1
        entries[input.index] = input
        # Read after the entry is stored: the input may settle at any time.
        if input.outcome is not None:
            self.note(call.number, input)

    def remove(self, number: int, inputs: Sequence[Input]) -> None:
        """Remove inputs that were added and not accepted.  The caller still has `inputs`."""
        node = self._nodes.get(number)
        if node is not None:
            self._size -= node.size
            for input in inputs:
                node.entries.pop(input.index, None)
            if node.entries:
                self._size += node.size
            else:
                del self._nodes[number]

    def _add(self, call: Call, parent: tuple[int, int] | None) -> Node:
        self._make_room(parent)
        node = self._nodes[call.number] = Node(call.number, call.target, parent)
        self._size += 1
        return node

    def _make_room(self, parent: tuple[int, int] | None) -> None:
        """Keep the bound before an input is added, whose parent is `parent`.

        Removes an eighth of the bound at once, so that the search for what to remove costs
        each addition little: settled calls without children, then settled calls that have
        children, the oldest first.  Their children have an unknown parent from then on.  Calls
        that are not settled stay, and so does `parent`.
        """
        bound = max(1, config.findable_calls)
        if self._size < max(bound, self._trims_at):
            return
        spare = bound // 8 + 1
        self._trim(self._size - bound + spare, parent)
        self._trims_at = self._size + spare  # also if nothing could be removed

    def _trim(self, excess: int, parent: tuple[int, int] | None) -> None:
        nodes = self._nodes
        parents = {node.parent[0] for node in nodes.values() if node.parent is not None}
        spared = None if parent is None else parent[0]
        for has_children in (False, True):
            for node in list(nodes.values()):
                if excess <= 0:
                    return
                number = node.number
                if (number in parents) is has_children and number != spared and node.is_settled():
                    del nodes[number]
                    self._size -= node.size
                    excess -= node.size

    # -- the ends of inputs ---------------------------------------------------------------

    def note(self, number: int, input: Input) -> None:
        """Note how an input of the call `number`, which was not spawned, has ended.

        May run under the pool's lock, so no user code runs, and the caller still has `input`.
        """
        node = self._nodes.get(number)
        if node is not None and input.index in node.entries:
            node.entries[input.index] = _ended(input)
            node.settled_at = self._clock.now()

    def note_spawned(self, call: FunctionCall[Any]) -> None:
        """Note how the inputs of `call`, which has settled, ended.  Under the registry's lock."""
        node = self._nodes.get(call.number)
        if node is not None:
            inputs = call._inputs[: most_of_one_call()]
            self._size -= node.size
            node.entries = {input.index: _ended(input) for input in inputs}
            self._size += node.size
            node.settled_at = self._clock.now()

    # -- reading --------------------------------------------------------------------------

    def nodes(self) -> list[Node]:
        """Return all calls, each after its parent.  Under the registry's lock."""
        return list(self._nodes.values())

    def infos(self, asked: FunctionCall[Any], nodes: list[Node]) -> list[InputInfo]:
        """Return the root of the ancestors of `asked`, with all that descends from the root.

        The root is the input without a parent, or the eldest ancestor that is still known.  If
        `asked` itself has no known parent, the roots are all of its inputs.
        """
        by_number = {node.number: node for node in nodes}
        node = by_number.get(asked.number)
        if node is None:
            return infos_of(asked)
        path = {node.number}
        index: int | None = None
        while node.parent is not None and node.parent[0] in by_number:
            number, index = node.parent
            node = by_number[number]
            path.add(number)
        shown = self._shown(nodes, path)
        children: dict[tuple[int, int], list[Node]] = {}
        for each in nodes:
            if each.number in shown and each.parent is not None:
                children.setdefault(each.parent, []).append(each)
        # No recursion: a job that spawns its successor makes a chain that is too deep for it.
        found: list[InputInfo] = []
        pending: list[tuple[Node, list[InputInfo]]] = [(node, found)]
        while pending:
            node, infos = pending.pop()
            made = _infos(node)
            if index is not None:  # only for the root
                made, index = {index: made[index]} if index in made else made, None
            infos.extend(made.values())
            for i, info in made.items():
                of_input = children.get((node.number, i), [])
                pending += [(child, info.children) for child in reversed(of_input)]
        return found

    def _shown(self, nodes: list[Node], path: set[int]) -> set[int]:
        """Return the calls to show: not expired, or with a descendant that is shown."""
        shown = set(path)
        now = self._clock.now()
        for node in reversed(nodes):
            at = node.settled_at
            if node.number not in shown:
                is_recent = at is None or now < at + config.findable_seconds
                if not is_recent and node.is_settled():
                    continue
                shown.add(node.number)
            if node.parent is not None:
                shown.add(node.parent[0])
        return shown


def most_of_one_call() -> int:
    """Return how many inputs of one call a graph keeps."""
    return min(MOST_OF_ONE_CALL, config.findable_calls)


def infos_of(call: FunctionCall[Any]) -> list[InputInfo]:
    """Return the inputs of `call`, without children."""
    node = Node(call.number, call.target, None)
    node.call = weakref.ref(call)
    return list(_infos(node).values())


def _infos(node: Node) -> dict[int, InputInfo]:
    from ..types import InputInfo, InputStatus

    call = node.live_call()
    # A copy, because inputs are added meanwhile; `copy` of a dict is one step, and `sorted` is not.
    entries = node.entries.copy()
    shown_id = call_id(node.number)
    if call is not None:
        entries = {input.index: input for input in call._inputs}
        shown_id = call._give_out_id()
    module_name = getattr(node.target.function, "__module__", "") or ""
    infos: dict[int, InputInfo] = {}
    for index, entry in sorted(entries.items(), key=lambda pair: pair[0]):
        status, task_id = _ended(entry) if isinstance(entry, Input) else entry
        infos[index] = InputInfo(
            input_id=input_id(node.number, index),
            function_call_id=shown_id,
            task_id=task_id,
            status=InputStatus[status],
            function_name=node.target.name,
            module_name=module_name,
            children=[],
        )
    return infos


def _ended(input: Input) -> Ended:
    container = input.container
    return _status(input.outcome), "" if container is None else f"ta-{container.number}"


def _status(outcome: Outcome | None) -> str:
    """Return the name of the `InputStatus`.  No member: this may run under the pool's lock."""
    if outcome is None:
        return "PENDING"
    if type(outcome) is Value:
        return "SUCCESS"
    if type(outcome) is Failure:
        # `type`, because `isinstance` may run a user's ``__class__`` property.
        # `unread`, because this runs under the pool's lock, where no error may be opened.
        timed_out = issubclass(type(outcome.unread), (FunctionTimeoutError, QueueTimeoutError))
        return "TIMEOUT" if timed_out else "FAILURE"
    return "TERMINATED"
