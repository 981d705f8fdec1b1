"""Extras: the packages that web functions need, and that the extra ``web`` installs.

Owns `check_installed`, which a program meets when it asks for a URL, and `not_installed`, the
error that a container raises too: a mounted app and the test kit's client have no URL.

Begin at `check_installed`.
"""

from __future__ import annotations

from importlib.util import find_spec
from typing import Final

from ..exception import InvalidError

# By the kind of a web function: the package, its name in texts, and what the function is.
_NEEDED: Final = {
    "fastapi_endpoint": ("fastapi", "FastAPI", "a fastapi_endpoint"),
    "wsgi_app": ("a2wsgi", "a2wsgi", "a wsgi_app"),
    "web_server": ("aiohttp", "aiohttp", "a web server"),
}


def check_installed(name: str, kind: str) -> None:
    """Check that the package is there that a web function of this kind needs.  Imports nothing.

    Raises:
        InvalidError: if it is not installed.
    """
    if kind in _NEEDED and find_spec(_NEEDED[kind][0]) is None:
        raise not_installed(name, kind)


def not_installed(name: str, kind: str) -> InvalidError:
    """Return the error for the web function `name`, whose package is missing."""
    _, package, what = _NEEDED[kind]
    return InvalidError(
        f"{name} is {what}, and {package} is not installed; write pip install 'moorage[web]'"
    )
