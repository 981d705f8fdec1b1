"""The public names of the test kit: fake containers, virtual time, gates and recorded events.

Owns nothing: this file re-exports names of the other files of this folder, and
`VirtualClock` of ``runtime/clocks/virtual_clock.py``.  The test kit is installed with
moorage, but ``import moorage`` does not import the test kit.  The user's guide is
``docs/guides/testing.md``; the pytest fixtures are in ``pytest_plugin.py``.

Begin at ``fake_container.py``, then ``probe.py``, then ``gates.py``.
"""

from ..runtime.clocks.virtual_clock import VirtualClock as VirtualClock
from .events import Event as Event
from .events import EventKind as EventKind
from .events import Events as Events
from .events import Timeline as Timeline
from .explore import Explored as Explored
from .explore import explore as explore
from .explore import replay as replay
from .fake_container import FakeContainer as FakeContainer
from .fake_options import FakeOptions as FakeOptions
from .fake_statistics import FakeStatistics as FakeStatistics
from .gates import Gate as Gate
from .gates import GatePoint as GatePoint
from .probe import Probe as Probe
from .sequencer import Sequencer as Sequencer
from .submission import Submission as Submission
from .submitting import FakeMethod as FakeMethod
from .submitting import Submit as Submit

__all__ = [
    "Event",
    "EventKind",
    "Events",
    "Explored",
    "FakeContainer",
    "FakeMethod",
    "FakeOptions",
    "FakeStatistics",
    "Gate",
    "GatePoint",
    "Probe",
    "Sequencer",
    "Submission",
    "Submit",
    "Timeline",
    "VirtualClock",
    "explore",
    "replay",
]
