"""Settings of the whole process, read once from the environment.

Owns defaults that have no better place; anything that belongs to one function
or one run is an argument there.  Any layer may read it.
"""

from __future__ import annotations

import os

# Refuse what Modal refuses, instead of accepting it with a warning.
strict: bool = os.environ.get("MOORAGE_STRICT", "") not in ("", "0")

# Room for the containers of all pools of this process (see runtime/pools/capacity.py).
max_containers: int = 32
max_sync_slots: int = 512

# Seconds an input may run, as in Modal.
default_timeout: float = 300.0

# Seconds an idle container is kept where nothing says so; None: the autoscaler chooses,
# 60 for the last container, as in Modal, and mostly less for others.
default_scaledown_window: float | None = None

# Seconds that leaving a run waits for inputs and exit hooks, all together.
exit_grace: float = 5.0

# Seconds after its cancel that InputCancellation is raised in a synchronous input
# that still runs; None for never, as if all were `cooperative`.
cancel_grace: float | None = 0.1

# Seconds after which a container is given up that holds an input which was answered
# (cancelled, or out of time) and does not end.
abandoned_seconds: float = 30.0
# Seconds from the warning about awaiting inputs that wait for one another to the
# DeadlockError: they may have timeouts of their own.  Blocking ones get it at once.
deadlock_grace: float = 5.0


# Seconds for which an async input may block its container's event loop before the
# log says so, once for each function, with the line it is at; None for no watch.
# Read when a container starts.
slow_loop_seconds: float | None = None

# A spawned call whose id was given out is found by it until this many seconds after the
# call settled, and while no more than so many others that can be found have settled since.
# Both hold by themselves, whatever else is called.
findable_seconds: float = 600.0
findable_calls: int = 10_000
