"""GPUs as objects, which old programs name: ``modal.gpu.A100(count=2)``.

Owns those classes.  An object is the text that Modal takes today, ``"A100:2"``, and so goes
wherever a ``gpu=`` argument goes.  Programs find this module as ``modal.gpu``; in strict mode the
module is not there, as in Modal 1.6.4.

Begin at `GPU`.
"""

from __future__ import annotations

from typing import ClassVar, Self

from ..exception import InvalidError
from .names import accept_old_spelling


class GPU(str):
    """A kind of GPU and a count, as text: the base of the classes of this file."""

    __slots__ = ()

    kind: ClassVar[str] = ""

    def __new__(cls, count: int = 1) -> Self:
        return cls._made(cls.kind, count)

    @classmethod
    def _made(cls, kind: str, count: int) -> Self:
        if isinstance(count, bool) or not isinstance(count, int) or count < 1:  # pyright: ignore[reportUnnecessaryIsInstance]
            raise InvalidError(
                f"count must be a whole number from 1 up, got {count!r}; "
                f'write gpu="{kind}", or gpu="{kind}:2" for two'
            )
        made = super().__new__(cls, kind if count == 1 else f"{kind}:{count}")
        accept_old_spelling(f"modal.gpu.{cls.__name__}(...)", f'write gpu="{made}"')
        return made

    def __reduce__(self) -> tuple[type[str], tuple[str]]:
        return str, (str(self),)  # a copy does not warn


class T4(GPU):
    """``gpu="T4"``."""

    __slots__ = ()
    kind = "T4"


class L4(GPU):
    """``gpu="L4"``."""

    __slots__ = ()
    kind = "L4"


class A10G(GPU):
    """``gpu="A10G"``."""

    __slots__ = ()
    kind = "A10G"


class L40S(GPU):
    """``gpu="L40S"``."""

    __slots__ = ()
    kind = "L40S"


class H100(GPU):
    """``gpu="H100"``."""

    __slots__ = ()
    kind = "H100"


class H200(GPU):
    """``gpu="H200"``."""

    __slots__ = ()
    kind = "H200"


class B200(GPU):
    """``gpu="B200"``."""

    __slots__ = ()
    kind = "B200"


class Any(GPU):
    """``gpu="any"``."""

    __slots__ = ()
    kind = "any"


class A100(GPU):
    """``gpu="A100"``, ``gpu="A100-40GB"`` or ``gpu="A100-80GB"``."""

    __slots__ = ()
    kind = "A100"

    def __new__(cls, count: int = 1, size: str | None = None, memory: int | None = None) -> Self:
        """Make the text; `memory` in GiB is a still older name of `size`."""
        if size is None and memory is not None:
            size = f"{memory}GB"
        if size not in (None, "40GB", "80GB"):
            raise InvalidError(
                f'size must be "40GB" or "80GB", got {size!r}; write gpu="A100-80GB"'
            )
        return cls._made("A100" if size is None else f"A100-{size}", count)
