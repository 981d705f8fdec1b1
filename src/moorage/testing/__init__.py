"""The test kit: a fake container, virtual time, gates, and what happened.

``pip install moorage`` has it; nothing of it is imported until you do.  The guide is
``docs/guides/testing.md``; fixtures come from the pytest plugin.
"""

from ..runtime.clocks.virtual_clock import VirtualClock as VirtualClock
from .events import Event as Event
from .events import EventKind as EventKind
from .events import Events as Events
from .events import Timeline as Timeline
from .fake_container import FakeContainer as FakeContainer
from .fake_container import FakeMethod as FakeMethod
from .fake_container import FakeOptions as FakeOptions
from .fake_container import FakeStatistics as FakeStatistics
from .gates import Gate as Gate
from .gates import GatePoint as GatePoint
from .probe import Probe as Probe
from .sequencer import Sequencer as Sequencer
from .submission import Submission as Submission

__all__ = [
    "Event",
    "EventKind",
    "Events",
    "FakeContainer",
    "FakeMethod",
    "FakeOptions",
    "FakeStatistics",
    "Gate",
    "GatePoint",
    "Probe",
    "Sequencer",
    "Submission",
    "Timeline",
    "VirtualClock",
]
