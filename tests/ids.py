"""Names for the cases of a parametrized test that are the same in every process.

pytest-xdist's workers must collect tests of the same names: an address in one ends the run.
"""

import re

_ADDRESS = re.compile(r" at 0x[0-9a-f]+| id='\d+'")


def stable(value: object) -> str:
    """`str(value)` without addresses."""
    return _ADDRESS.sub("", str(value))
