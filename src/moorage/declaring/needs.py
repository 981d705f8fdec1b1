"""Needs: what a function wants of the process that its containers run in.

Owns `Needs`: an image, secrets and variables, from the arguments of ``app.function`` and its like.
``app.py`` and ``options.py`` make it, as a part of the options; ``running/environment.py`` meets
it.  Owns `Volumes`, those of ``with_options``, for ``running/mounts.py``.

Begin at `needs_of`, then `Needs.with_`.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, cast

from ..arguments import fs_path, is_dict
from ..variables import Variables

if TYPE_CHECKING:
    from ..cloud_bucket_mount import CloudBucketMount
    from ..image import Image
    from ..secret import Secret
    from ..volume import Volume


class Volumes:
    """The volumes and buckets of a variant, by their paths.

    Two are equal if they surely have the same files at the same paths.
    """

    __slots__ = ("_key", "mounts")

    def __init__(self, mounts: Mapping[str, Volume | CloudBucketMount]) -> None:
        from ..volume import Volume

        self.mounts: dict[str, Volume | CloudBucketMount] = dict(mounts)
        self._key: Hashable = frozenset(
            (path, each._key() if isinstance(each, Volume) else repr(each))
            for path, each in self.mounts.items()
        )

    def __str__(self) -> str:
        from ..volume import Volume

        shown = [
            f"{path!r}: {(each.name if isinstance(each, Volume) else each.bucket_name) or each!r}"
            for path, each in self.mounts.items()
        ]
        return f"volumes={{{', '.join(shown)}}}"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Volumes) and self._key == other._key

    def __hash__(self) -> int:
        return hash(self._key)

    def __repr__(self) -> str:
        return f"Volumes({self.mounts!r})"


class Needs:
    """An image, secrets in their order, and variables.  Two are equal if all their parts are.

    The values of variables are not in the `repr`.
    """

    __slots__ = ("_key", "image", "secrets", "variables")

    def __init__(
        self, image: Image | None, secrets: Iterable[Secret], variables: Variables
    ) -> None:
        self.image: Image | None = image
        self.secrets: tuple[Secret, ...] = tuple(secrets)
        self.variables: Variables = variables
        self._key: Hashable = (image, tuple(each._key() for each in self.secrets), variables)

    def with_(self, new: Needs) -> Needs:
        """Return these needs with the secrets and variables of `new`, as ``with_options`` does.

        As in Modal, new secrets or variables replace all that were there.
        """
        return Needs(self.image, new.secrets, new.variables)

    def changes_from(self, other: Needs | None) -> list[str]:
        """Return what differs from `other`, such as ``env=[A, B]``, without values."""
        secrets = () if other is None else other.secrets
        changes: list[str] = []
        if [each._key() for each in self.secrets] != [each._key() for each in secrets]:
            named = [each.name or repr(each) for each in self.secrets]
            changes.append(f"secrets=[{', '.join(named)}]"[:80])
        if self.variables != (Variables() if other is None else other.variables):
            changes.append(f"env=[{', '.join(self.variables)}]"[:80])
        return changes

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Needs) and self._key == other._key

    def __hash__(self) -> int:
        return hash(self._key)

    def __repr__(self) -> str:
        shown = [repr(each) for each in self.secrets]
        shown += [] if self.image is None else [repr(self.image)]
        return f"Needs({', '.join([*shown, *self.variables])})"


def needs_of(
    image: Image | None, app_secrets: Iterable[Secret], secrets: object, env: object
) -> Needs | None:
    """Return the needs in arguments that were checked; None if nothing is needed.

    Strict mode checks some arguments late, or not at all: what is no secret is left out.
    """
    given: Iterable[object] = secrets if isinstance(secrets, Iterable) else ()
    mine = _secrets_among((*app_secrets, *given))
    variables = Variables(cast("Mapping[str, str | None]", env) if env else None)
    if image is None and not mine and not variables:
        return None
    return Needs(image, mine, variables)


def _secrets_among(values: Sequence[object]) -> list[Secret]:
    if not values:
        return []  # without an import that few programs need
    from ..secret import Secret

    return [each for each in values if isinstance(each, Secret)]


def volumes_of(given: object) -> Volumes | None:
    """Return the volumes of an argument ``volumes`` that was checked; None for none at all."""
    if not is_dict(given) or not given:
        return None
    from ..cloud_bucket_mount import CloudBucketMount
    from ..volume import Volume

    mounts = {
        PurePosixPath(fs_path("a path in volumes", path)).as_posix(): each
        for path, each in given.items()
        if isinstance(each, Volume | CloudBucketMount)
    }
    return Volumes(mounts) if mounts else None
