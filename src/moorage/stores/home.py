"""The home: the directory of this user's named objects, and the environments in it.

Owns where the files are: ``<home>/<environment>/...``.  Nothing is made before it is needed.
``records.py`` and the public files (``volume.py``, ``secret.py``) ask it.

Begin at `home` and `environment_of`.  `records_of_made` is for mounts.
"""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

from .. import config
from ..exception import InvalidError
from ..runtime.context import current_run, is_a_container

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
    return _data_of_user()


def records_of_made() -> Path:
    """Return the directory for the records of what programs make on the disk to mount on.

    It is one for all programs of this user, whatever home they have: what they make is not in a
    home, and two programs of different homes may need the same path (see ``mounting/made.py``).
    It is in the home if this user has no directory for data.
    """
    try:
        data = there = _data_of_user()
    except RuntimeError:  # nobody knows where this user is at home
        return home() / ".made"
    while not there.exists() and there != there.parent:
        there = there.parent
    return (data if os.access(there, os.W_OK | os.X_OK) else home()) / ".made"


def _data_of_user() -> Path:
    """Return the directory for the data of this user's programs."""
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Application Support" / "moorage"
    data = os.environ.get("XDG_DATA_HOME")
    # As the specification of these directories says: a relative path is ignored.
    base = Path(data) if data and os.path.isabs(data) else Path.home() / ".local" / "share"
    return base / "moorage"


def make_folder(path: Path, mode: int = 0o777) -> None:
    """Make a folder of the home, and those above it.  Does nothing if it is there.

    Args:
        mode: of the folder, and not of those above it.

    Raises:
        OSError: of the class that the system raised, with a text that says who wants the folder.
    """
    refused: OSError | None = None
    try:
        os.makedirs(path, mode, exist_ok=True)
    except OSError as error:
        refused = error
    # Not in the handler: the caller needs no chain of all folders above.
    if refused is not None:
        what = (
            f"{refused.strerror}; moorage keeps named objects in its home {str(home())!r}: let "
            "MOORAGE_HOME name a directory in which you may write"
        )
        raise type(refused)(refused.errno, what, refused.filename)


def environment_of(name: str | None) -> str:
    """Return the environment of an object that was given this name of an environment.

    If none was given, the environment of the run in whose container this code runs
    (``app.run(environment_name="dev")``), else the configured one (``MODAL_ENVIRONMENT``), else
    ``"main"``.

    Raises:
        InvalidError: if the name is no possible name of an environment.
    """
    return configured_environment(name or environment_of_run())


def environment_that_goes_along(name: str | None) -> str | None:
    """Return the environment for a handle that may be looked up by another process.

    A container's process asks the calling program, which has another configuration.
    """
    return environment_of(name) if is_a_container() else name


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
