"""The garbage collector, in processes that are moorage's own.

Owns `keep_what_is_there`, which `moorage serve`, `moorage deploy`, the zygote and the processes of
containers call when a program is imported.  A process of the user's has its collector to itself.
"""

from __future__ import annotations

import gc


def keep_what_is_there() -> None:
    """Have the collector leave alone all objects that there are now, from now on.

    Modules stay until the process ends.  While requests come, full collections would visit all
    that the imports made again and again.

    Hazard: of these objects, those that are or become part of a cycle are never freed.  So it is
    called before hooks, which load what a program may replace.
    """
    gc.collect()  # else garbage would stay, too
    gc.freeze()
