"""The types of the graph of calls, under the name of Modal's module.

Owns nothing: ``types.py`` defines the types, ``FunctionCall.get_call_graph`` returns them.
"""

from .types import InputInfo as InputInfo
from .types import InputStatus as InputStatus
