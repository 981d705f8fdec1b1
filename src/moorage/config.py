"""Settings of the whole process.  Only `strict` is read from the environment, at import.

Owns defaults that have no better place; a setting of one function or one run is an argument
there.  Programs may assign these names at any time; any layer may read them.

``modal.config`` is also the module of Modal's own client settings.  Programs find Modal's names at
the end of this file: `config`, `config_profiles` and the others, which ``client_config.py`` owns.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Final

from .client_config import USER_CONFIG_PATH, active_profile, read_profiles
from .client_config import Config as Config

# Strict mode: refuse what Modal refuses, instead of accepting it with a warning.  True if
# MOORAGE_STRICT is set to anything but "" or "0" when moorage is imported.
strict: bool = os.environ.get("MOORAGE_STRICT", "") not in ("", "0")

# The most containers, and the most sync slots, over all pools of this process (see
# runtime/pools/capacity.py).
max_containers: int = 32
max_sync_slots: int = 512

# Seconds an input may run if its function was given ``timeout=None``.
default_timeout: float = 300.0

# Seconds an idle container is kept if its function sets no scaledown_window.  None: the
# autoscaler chooses, 60 for the last container, as in Modal, and mostly less for the others.
default_scaledown_window: float | None = None

# Seconds that leaving a run waits for inputs and exit hooks, in all.  Read when a run begins.
exit_grace: float = 5.0

# Seconds between the cancel of a sync input and InputCancellation, which is raised in the input
# if it still runs; None for never, as if every function were `cooperative`.
cancel_grace: float | None = 0.1

# Seconds after which a container is given up because of an abandoned input: an input whose caller
# was answered (it was cancelled, or timed out) while its code still runs and holds the slot.
abandoned_seconds: float = 30.0

# Seconds between the warning about async inputs that wait for each other and the DeadlockError,
# because their code may have timeouts of its own.  A cycle of sync inputs gets the error at once.
deadlock_grace: float = 5.0

# Seconds that an async input may block its container's event loop before a warning is logged,
# once for each function, with the line at which the loop is blocked; None for no watch.  Read
# when a container starts.
slow_loop_seconds: float | None = None

# How long a spawned call whose id was read can be found by that id after the call settled: for
# `findable_seconds`, and while at most `findable_calls` other findable calls have settled since.
# Each of the two limits holds on its own.
findable_seconds: float = 600.0
findable_calls: int = 10_000

# The address on which web functions are served.  Another address than one of this machine alone,
# such as "0.0.0.0", lets other machines in.  Read when a web function gets its port.
web_host: str = "127.0.0.1"

# Names by which web functions may be called beside those of this machine, in the Host and in the
# Origin of a request: "my-laptop.lan", "my-laptop.lan:8000" or "*.my-laptop.lan".  Read at each
# request.
allowed_hosts: Collection[str] = ()

# Let web pages of all origins call web functions, as on Modal.  Read at each request.
open_cors: bool = False

# The tokens for functions with ``requires_proxy_auth=True``, as secrets by key.  None: those of
# MOORAGE_PROXY_TOKENS=key:secret,...  Read at each request to such a function.
proxy_tokens: Mapping[str, str] | None = None

# The directory of named objects: volumes, secrets, persisted dicts and queues.  None: the
# directory for the data of this user's programs.  MOORAGE_HOME in the environment comes first.
home: str | os.PathLike[str] | None = None

# What a container does at its start about the paths of its volumes.  "look": it does not start if a
# path is not there (see ``running/mounts.py``).  "ignore": nothing; for programs that find their
# files by `Volume.local_path`, or by the methods of `Volume` alone.
mounts: str = "look"

# Whether named dicts and queues are kept in files of `home`, and outlive the process.
persist: bool = False

# Where containers are: "thread" for threads of this process, "process" for worker processes,
# a `moorage.Processes`, or a mapping of names of functions to these, with "*" for the others.
# None: what MOORAGE_PLACEMENT says, else "thread".  Read when a run begins; a run with a virtual
# clock or a probe has threads all the same.
placement: object = None

# Whether the event loops of containers are those of uvloop, which the extra `uvloop` installs.
# Read when a container starts; a run with a virtual clock has its own loops all the same.
uvloop: bool = False

# Whether the schedules of functions (Period and Cron) call them while a run lasts.  Read when a run
# begins.
schedules: bool = True

# -- the settings of Modal's client -------------------------------------------------------------

# `config["environment"]`, and `config.get("environment")`.
config: Final = Config(lambda: _active_profile())

# The name of the active profile.  Read at its first use, by `__getattr__`, because few programs
# ask for it, and it may need a look into the file.
_profile: str

user_config_path: str = USER_CONFIG_PATH
DEFAULT_SERVER_URL: Final = "https://api.modal.com,https://api.modal2.com"
DEFAULT_STREAMS_URL: Final = "https://modal-labs-streams--streams-service-proxy.modal.run"
logger: Final = logging.getLogger("modal-client")


def config_profiles() -> list[str]:
    """Return the names of the profiles in ``~/.modal.toml``."""
    return list(read_profiles())


def _active_profile() -> str:
    # A program, or its test, may have assigned `_profile`.
    found: str | None = globals().get("_profile")
    return found or active_profile()


if not TYPE_CHECKING:

    def __getattr__(name):
        if name == "_profile":
            return active_profile()
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
