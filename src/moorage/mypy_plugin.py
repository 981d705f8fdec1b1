"""A plugin for mypy: ``Model(language="en")`` of a class with parameters.

Owns what mypy cannot see by itself.  mypy looks for ``dataclass_transform`` at functions, classes
and metaclasses, and not at a method such as ``app.cls`` (mypy's issues 16527 and 19824), so it
refuses each keyword of a class that is decorated by ``@app.cls()`` alone.  Users write
``plugins = ["moorage.mypy_plugin"]`` in their configuration of mypy; nothing else imports this
file.  pyright needs no plugin.

Begin at `MoorageParameters`.
"""

from __future__ import annotations

from collections.abc import Callable

from mypy.nodes import AssignmentStmt, CallExpr, Expression, MemberExpr, NameExpr, SymbolNode
from mypy.plugin import ClassDefContext, Plugin

# Where `dataclass_transform` is written so that mypy sees it.
_TRANSFORM = "moorage.partial_function.concurrent"
_PARAMETER = "moorage.declaring.parameters.parameter"


class MoorageParameters(Plugin):
    """Has mypy treat ``@app.cls()`` above a class as it treats ``@moorage.concurrent(...)``."""

    def get_customize_class_mro_hook(
        self, fullname: str
    ) -> Callable[[ClassDefContext], None] | None:
        # This hook runs for each class, before its decorators are analyzed.
        return _see_cls


def _see_cls(context: ClassDefContext) -> None:
    for decorator in context.cls.decorators:
        called = decorator.callee if isinstance(decorator, CallExpr) else None
        if not isinstance(called, MemberExpr) or called.name != "cls":
            continue
        if called.node is not None or not _has_parameters(context):
            continue
        transform = context.api.lookup_fully_qualified_or_none(_TRANSFORM)
        if transform is not None:
            # mypy looks for `dataclass_transform` at the node of the decorator's name.  Of an
            # attribute of an object it leaves the node empty.
            called.node = transform.node


def _has_parameters(context: ClassDefContext) -> bool:
    """Whether the body of the class, or of a base class, has a ``moorage.parameter()``."""
    for info in context.cls.info.mro:
        for statement in info.defn.defs.body:
            if isinstance(statement, AssignmentStmt) and isinstance(statement.rvalue, CallExpr):
                node = _node(statement.rvalue.callee, context)
                if node is not None and node.fullname == _PARAMETER:
                    return True
    return False


def _node(expression: Expression, context: ClassDefContext) -> SymbolNode | None:
    name = _dotted(expression)
    found = context.api.lookup_qualified(name, expression, suppress_errors=True) if name else None
    return None if found is None else found.node


def _dotted(expression: Expression) -> str:
    if isinstance(expression, NameExpr):
        return expression.name
    if isinstance(expression, MemberExpr):
        owner = _dotted(expression.expr)
        return f"{owner}.{expression.name}" if owner else ""
    return ""


def plugin(version: str) -> type[Plugin]:
    """Return the plugin's class: mypy calls this function."""
    return MoorageParameters
