"""The test kit."""

from ..runtime.clock import VirtualClock as VirtualClock
