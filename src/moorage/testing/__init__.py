"""The test kit: virtual time, and the order of steps, for tests of concurrent code.

Nothing of it is imported by ``import moorage``; write ``from moorage.testing import ...``.
"""

from ..runtime.clock import VirtualClock as VirtualClock
from .sequencer import Sequencer as Sequencer

__all__ = [
    "Sequencer",
    "VirtualClock",
]
