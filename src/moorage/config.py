"""Settings of the whole process.  Only `strict` is read from the environment, at import.

Owns defaults that have no better place; a setting of one function or one run is an argument
there.  Programs may assign these names at any time; any layer may read them.
"""

from __future__ import annotations

import os

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
