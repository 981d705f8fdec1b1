"""The home: the directory of this user's named objects, and the environments in it.

Owns where the files are: ``<home>/<environment>/...``.  Nothing is made before it is needed.
``records.py`` and the public files (``volume.py``, ``secret.py``) ask it.

Begin at `home` and `environment_of`.
"""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

from .. import config
from ..exception import InvalidError
from ..runtime.context import current_run

# The environment of objects that name none.
MAIN = "main"


def home() -> Path:
    """Return the directory that holds everything: absolute, perhaps not there yet.

    ``MOORAGE_HOME``, else ``config.home``, else the directory for the data of this user's
    programs.  Under pytest the plugin sets ``MOORAGE_HOME`` to a temporary directory, and
    ``MOORAGE_PYTEST_HOME`` to the same: then ``config.home`` comes first.
    """
    chosen: str | os.PathLike[str] | None = os.environ.get("MOORAGE_HOME")
    if not chosen or (config.home and chosen == os.environ.get("MOORAGE_PYTEST_HOME")):
        chosen = config.home
    if chosen:
        return Path(chosen).expanduser().absolute()
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Application Support" / "moorage"
    data = os.environ.get("XDG_DATA_HOME")
    # As the specification of these directories says: a relative path is ignored.
    base = Path(data) if data and os.path.isabs(data) else Path.home() / ".local" / "share"
    return base / "moorage"


def environment_of(name: str | None) -> str:
    """Return the environment of an object that was given this name of an environment.

    If none was given, the environment of the run in whose container this code runs
    (``app.run(environment_name="dev")``), else the configured one (``MODAL_ENVIRONMENT``), else
    ``"main"``.

    Raises:
        InvalidError: if the name is no possible name of an environment.
    """
    return configured_environment(name or environment_of_run())


def configured_environment(given: str | None) -> str:
    """As `environment_of`, but wherever the code runs."""
    chosen = given or config.config.get("environment") or MAIN
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9\-_]{0,63}", str(chosen)):
        raise InvalidError(
            f"environment_name has 1 to 64 letters, digits, '-' or '_', and begins with a letter "
            f'or digit, got {chosen!r}; write environment_name="dev"'
        )
    return str(chosen)


def environment_of_run() -> str | None:
    """Return the environment that the run of this code was given; None outside of containers."""
    found: str | None = getattr(current_run(), "environment_name", None)
    return found


def directory_of(environment: str) -> Path:
    """Return the directory of one environment."""
    return home() / environment
