"""The arguments of a class's constructor in strict mode: each of them must pickle, as in Modal.

Owns `check_constructor_arguments`.  ``cls.py`` calls it when ``Model(...)`` is written.  Modal
uses the pickle of the standard library here, so this file needs no cloudpickle: a lambda and a
local class are refused.
"""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from typing import Any

from ..exception import InvalidArgumentsError, InvalidValueError
from .culprits import PROTOCOL, Part, Sink, Spent, find_culprit
from .serializing import _persistent_id


class _Pickler(pickle.Pickler):
    """Pickles with the standard library; a handle of moorage is passed by reference."""

    def __init__(self, file: Any) -> None:
        super().__init__(file, protocol=PROTOCOL)
        self.handles: list[object] = []

    def persistent_id(self, obj: Any) -> int | None:
        return _persistent_id(self, obj)


def _dump(value: object, file: Any) -> None:
    _Pickler(file).dump(value)


def check_constructor_arguments(
    name: str, args: tuple[object, ...], kwargs: Mapping[str, object]
) -> None:
    """Refuse an argument of the class `name` that does not pickle.  May run user code.

    Raises:
        InvalidArgumentsError: also a TypeError; where pickling raised a TypeError, as for a lock.
        InvalidValueError: also a ValueError; where pickling raised a PicklingError, a ValueError
            or an AttributeError, as for a lambda.
    """
    named = [(f"argument {number}", value) for number, value in enumerate(args, 1)]
    for argument, value in [*named, *kwargs.items()]:
        try:
            _dump(value, Sink())
        except Spent:
            continue  # as many bytes as the bound allows, and no fault in them
        except (TypeError, AttributeError, ValueError, pickle.PicklingError) as error:
            _, culprit = find_culprit([Part(argument, value)], error, _dump)
            kind = InvalidArgumentsError if isinstance(error, TypeError) else InvalidValueError
            raise kind(
                f"{name}(...): {argument} does not pickle, and Modal sends it to a container: "
                f"{culprit.explain(argument, 'pass')}"
            ) from None
