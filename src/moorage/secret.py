"""Secrets: environment variables that Modal would set in a container.

Owns `Secret`, a placeholder; users make it, and functions, images and apps accept it.  A secret
sets nothing: code in this process sees the program's own environment.  The values of a secret are
never kept and never shown.

Begin at `Secret.from_dict`.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, ClassVar

from .arguments import (
    LocalPath,
    check_env,
    check_name,
    iterated,
    lenient,
    unchecked,
)
from .client import Client
from .exception import InvalidArgumentsError, InvalidError
from .object import Manager, Object
from .old import names as old_names
from .types import SecretInfo
from .with_aio import MethodWithAio

_INSTEAD = 'read the variable with os.environ["NAME"], set before the program starts'


class SecretManager(Manager["Secret"]):
    """Lists and deletes the secrets at Modal: the type of `Secret.objects`."""

    @MethodWithAio
    def create(
        self,
        name: str,
        env_dict: Mapping[str, str],
        *,
        allow_existing: bool = False,
        environment_name: str | None = None,
        client: Client | None = None,
    ) -> None:
        check_name(name, "Secret", 'Secret.objects.create("my-secret", {"NAME": "value"})')
        raise self._unimplemented("create")


class Secret(Object):
    """Environment variables for containers.  Accepted, but not set in this process."""

    _made_by = 'Secret.from_name("my-secret") or Secret.from_dict({"NAME": "value"})'
    _instead = _INSTEAD
    objects: ClassVar[SecretManager] = SecretManager("Secret.objects", _INSTEAD)

    @property
    def name(self) -> str | None:
        """The name given to `from_name`; None for an object made in another way."""
        return self._name

    @staticmethod
    def from_dict(env_dict: Mapping[str, str | None] = {}) -> Secret:
        """Make a secret of these variables; the value None leaves a variable out.

        Raises:
            InvalidError: if `env_dict` is not a dict of str to str or None.
        """
        return _of(check_env("Secret.from_dict(...)", env_dict))

    @staticmethod
    def from_local_environ(env_keys: Iterable[str]) -> Secret:
        """Make a secret of environment variables of this program.

        Raises:
            InvalidError: if one of the variables is not set.
        """
        advice = 'write Secret.from_local_environ(["NAME"])'
        found: list[str] = []
        for key in iterated("the names for Secret.from_local_environ()", env_keys, advice):
            if not isinstance(key, str):
                raise InvalidArgumentsError(
                    f"Secret.from_local_environ() takes names as str, got {key!r}; {advice}"
                )
            if key not in os.environ:
                raise InvalidError(
                    f"Secret.from_local_environ() found no environment variable {key!r}; "
                    "set it before the program starts, or leave the name out"
                )
            found.append(key)
        return _of(found)

    @staticmethod
    def from_dotenv(
        path: LocalPath | None = None, *, filename: str = ".env", client: Client | None = None
    ) -> Secret:
        """Make a secret of a ``.env`` file.  The file is not read in this process."""
        if path is not None and not isinstance(unchecked(path), (str, os.PathLike)):
            lenient(
                f"Secret.from_dotenv() takes a path as str or Path, got {path!r}; "
                "write Secret.from_dotenv(__file__)"
            )
        return Secret._new("Secret.from_dotenv()")

    if not TYPE_CHECKING:  # old spellings
        lookup = old_names.from_name("Secret")

    @staticmethod
    def from_name(
        name: str,
        *,
        environment_name: str | None = None,
        required_keys: list[str] = [],  # noqa: B006 - as in Modal
        client: Client | None = None,
    ) -> Secret:
        """Name a secret that is stored at Modal.  The name is checked by Modal only, later."""
        if not isinstance(unchecked(name), str) or not name:
            lenient(
                f"the name of a Secret must be a str that is not empty, got {name!r}; "
                'write Secret.from_name("my-secret")'
            )
        return Secret._named(name, environment_name)

    @MethodWithAio
    def info(self, *, refresh: bool = False) -> SecretInfo:
        """Return who made the secret, and when.

        Raises:
            UnimplementedError: always.
        """
        raise self._unimplemented("info")

    @MethodWithAio
    def update(self, env_dict: Mapping[str, str]) -> None:
        """Change the variables of the secret at Modal.

        Raises:
            UnimplementedError: always.
        """
        raise self._unimplemented("update")


def _of(keys: Iterable[str]) -> Secret:
    return Secret._new(f"Secret.from_dict([{', '.join(keys)}])")


def check_secrets(where: str, secrets: object) -> None:
    """Check the secrets of a build step of an image: an iterable of `Secret`.

    Raises:
        InvalidError: for anything else; also a TypeError if it cannot be iterated.
    """
    if secrets is None:
        return
    advice = f'write {where}(secrets=[modal.Secret.from_name("my-secret")])'
    for each in iterated("secrets", secrets, advice):
        if not isinstance(each, Secret):
            raise InvalidError(
                f"secrets must hold Secret objects, got {type(each).__name__}; {advice}"
            )


if not TYPE_CHECKING:  # Modal's inner names of the same classes, for isinstance() and annotations
    _Secret = Secret
