"""Suggestions for misspelled names: "Did you mean".

Owns which of the known names a word was most likely meant to be.  Begin at `nearest`.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from typing import Final

# How similar a name must be, from 0 to 1; and how long the beginning of a name must be.
SIMILAR: Final = 0.6
SHORTEST_BEGINNING: Final = 3
MOST: Final = 3


def nearest(word: str, names: Iterable[str]) -> list[str]:
    """Return the names that `word` was most likely meant to be, the best first; at most three.

    Upper and lower case, and ``_`` and ``-``, are the same.  A word of three letters or more also
    stands for the one name that begins with it.
    """
    known = {_plain(name): name for name in reversed(list(names)) if name != word}
    plain = _plain(word)
    if plain in known:
        return [known[plain]]
    similar = difflib.get_close_matches(plain, list(known), MOST, SIMILAR)
    if not similar and len(plain) >= SHORTEST_BEGINNING:
        similar = [name for name in known if name.startswith(plain)]
        if len(similar) > 1:
            return []
    return [known[name] for name in similar]


def did_you_mean(suggestions: Sequence[str]) -> str:
    """Return the lines that show the suggestions; "" for none."""
    if not suggestions:
        return ""
    return "\n".join(["Did you mean:", *(f"    {each}" for each in suggestions)])


def _plain(name: str) -> str:
    return name.lower().replace("_", "-")
