"""The graph of calls, under the name of Modal's module; the types are in ``types``."""

from .types import InputInfo as InputInfo
from .types import InputStatus as InputStatus
