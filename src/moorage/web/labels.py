"""Labels: the part of a URL that names a web function.

Owns `label_of` and `check_label`.  The rules are Modal's.

Begin at `label_of`.
"""

from __future__ import annotations

import hashlib
import re
from typing import Final

from ..exception import InvalidError

# The most characters of a label.
LONGEST: Final = 63

_VALID: Final = re.compile(r"(?!-)(?![0-9]+\Z)[a-z0-9-]{1,63}(?<!-)\Z")


def label_of(app: str | None, name: str, *, suffix: str = "") -> str:
    """Return the label of the web function `name` of an app, when no ``label=`` was given.

    Args:
        app: the name of the app; None if it has none.
        name: the name of the function, or ``Cls.method``.
        suffix: of an app that is not deployed, such as ``-dev``.
    """
    text = f"{app}-{name}" if app else name
    label = re.sub("[^a-z0-9-]", "-", text.lower()) + suffix
    if len(label) > LONGEST:
        label = f"{label[:56]}-{hashlib.sha256(label.encode()).hexdigest()[:6]}"
    return label.strip("-") or "web"


def check_label(label: str) -> str:
    """Return a label that a program gives.

    Raises:
        InvalidError: if no host can have this name.
    """
    if _VALID.match(label) is None:
        fixed = label_of(None, label)
        instead = fixed if _VALID.match(fixed) else "my-app"
        raise InvalidError(
            "label must be 1 to 63 of the characters a-z, 0-9 and -, without - at an end, and "
            f'not digits alone, got {label!r}; write label="{instead}"'
        )
    return label
