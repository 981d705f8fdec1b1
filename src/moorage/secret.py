"""Secrets: environment variables for the containers of functions.

Owns `Secret`: users make secrets, and functions, classes and apps accept them.  A secret has its
values, or says where they are: a file of the home (``stores/secret_files.py``), or a ``.env``
file.  They are looked up when a run starts the first container of a function, by
``running/environment.py``, which also puts them into this process's environment.

No `repr`, error or log record has a value.  No pickle of a handle has one: the pickle of a secret
without a name has an id, by which only this process finds the secret.

Begin at `Secret.from_dict`, then `Secret.from_name`, then `Secret._resolved`.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Final

from . import config
from .arguments import (
    LocalPath,
    check_env,
    check_name,
    fs_path,
    iterated,
    lenient,
    string_list,
    unchecked,
)
from .client import Client
from .exception import InvalidArgumentsError, InvalidError, NotFoundError
from .named_objects import NamedObjects
from .object import Stored
from .old import names as old_names
from .runtime.context import is_local
from .stores.home import environment_of
from .stores.records import Record
from .stores.secret_files import SecretFiles, others_can_read
from .types import SecretInfo
from .variables import Variables
from .with_aio import MethodWithAio

_FILES: Final = SecretFiles()


@dataclass(frozen=True, slots=True)
class _Dotenv:
    """Where `Secret.from_dotenv` looks for its file."""

    path: LocalPath | None  # None: the directory in which the process is then
    filename: str


class SecretManager(NamedObjects["Secret"]):
    """Creates, lists and deletes the named secrets: the type of `Secret.objects`."""

    @property
    def _kind(self) -> type[Secret]:
        return Secret

    @MethodWithAio
    def create(  # type: ignore[override]  # pyright: ignore[reportIncompatibleVariableOverride]
        self,
        name: str,
        env_dict: Mapping[str, str],
        *,
        allow_existing: bool = False,
        environment_name: str | None = None,
        client: Client | None = None,
    ) -> None:
        """Write the secret of this name to the home, into a file that only this user can read.

        A secret that is there keeps its values.

        Raises:
            AlreadyExistsError: if it is there already, and `allow_existing` is false.
        """
        check_name(name, "Secret", 'Secret.objects.create("my-secret", {"NAME": "value"})')
        values = Variables(check_env("Secret.objects.create(...)", env_dict))
        environment = environment_of(environment_name)
        _FILES.put(environment, name, values, allow_existing=allow_existing)


class Secret(Stored):
    """Environment variables for containers: set in this process while a run needs them."""

    _made_by = 'Secret.from_name("my-secret") or Secret.from_dict({"NAME": "value"})'
    _instead = 'read the variable with os.environ["NAME"]'
    objects: ClassVar[SecretManager] = SecretManager()

    # Where the values are.  None: in the secret that this handle names.
    _source: Variables | _Dotenv | None = None
    _updates: Variables = Variables()  # what `update` set, of a secret in a ``.env`` file
    _was_updated: bool = False
    _required: tuple[str, ...] = ()

    @classmethod
    def _catalogue(cls) -> SecretFiles:
        return _FILES

    @property
    def name(self) -> str | None:
        """The name given to `from_name`; None for an object made in another way."""
        return self._name if self._record is None else self._record.name

    @staticmethod
    def from_dict(env_dict: Mapping[str, str | None] = {}) -> Secret:
        """Make a secret of these variables; the value None leaves a variable out.

        Raises:
            InvalidError: if `env_dict` is not a dict of str to str or None.
        """
        return _of(check_env("Secret.from_dict(...)", env_dict))

    @staticmethod
    def from_local_environ(env_keys: Iterable[str]) -> Secret:
        """Make a secret of environment variables of this program, with their values of now.

        In a container the secret is empty, as in Modal: the program has made it before.

        Raises:
            InvalidError: if one of the variables is not set.
        """
        advice = 'write Secret.from_local_environ(["NAME"])'
        found: dict[str, str | None] = {}
        for key in iterated("the names for Secret.from_local_environ()", env_keys, advice):
            if not isinstance(key, str):
                raise InvalidArgumentsError(
                    f"Secret.from_local_environ() takes names as str, got {key!r}; {advice}"
                )
            if not is_local():
                continue
            if key not in os.environ:
                raise InvalidError(
                    f"Secret.from_local_environ() found no environment variable {key!r}; "
                    "set it before the program starts, or leave the name out"
                )
            found[key] = os.environ[key]
        return _of(found)

    @staticmethod
    def from_dotenv(
        path: LocalPath | None = None, *, filename: str = ".env", client: Client | None = None
    ) -> Secret:
        """Make a secret of a ``.env`` file, which is read when a run needs the secret.

        Needs python-dotenv.  Without a file the secret is empty.

        Args:
            path: a file or directory; the search goes from there to the root of the file system.
                None: from the directory in which the process then is.
            filename: the name of the file.
            client: for the cloud; without effect.
        """
        if path is not None and not isinstance(unchecked(path), (str, os.PathLike)):
            lenient(
                f"Secret.from_dotenv() takes a path as str or Path, got {path!r}; "
                "write Secret.from_dotenv(__file__)"
            )
        made = Secret._new("Secret.from_dotenv()")
        made._source = _Dotenv(path, filename)
        return made

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
        """Name a secret that is stored in the home.

        A run that finds no such secret goes on with this process's own environment: in silence if
        it has all `required_keys`, and else with a warning.  In strict mode the containers fail.
        """
        if not config.strict:
            if not isinstance(unchecked(name), str) or not name:
                lenient(
                    f"the name of a Secret must be a str that is not empty, got {name!r}; "
                    'write Secret.from_name("my-secret")'
                )
            check_name(name, "Secret", 'Secret.from_name("my-secret")')
            given = unchecked(required_keys)
            advice = 'write required_keys=["NAME"]'
            if isinstance(given, str | Mapping):
                # The value may be one by mistake, so the message shows only its type.
                kind = type(required_keys).__name__
                raise InvalidError(f"required_keys must be a list of str, got {kind}; {advice}")
            string_list("required_keys", iterated("required_keys", given, advice))
        made = Secret._named(name, environment_name)
        made._environment_name = environment_name
        wanted = unchecked(required_keys)  # in strict mode anything, which counts for nothing
        made._required = tuple(str(key) for key in wanted) if isinstance(wanted, Iterable) else ()
        return made

    @classmethod
    def _from_name(cls, name: str, environment_name: str | None, creates: bool = False) -> Secret:
        return cls.from_name(name, environment_name=environment_name)

    @MethodWithAio
    def info(self, *, refresh: bool = False) -> SecretInfo:
        """Return the name of the secret, and when it was made.

        Raises:
            NotFoundError: if there is no such secret.
        """
        record = self._found()
        return SecretInfo(record.name, record.environment, record.created_at, None, None)

    @MethodWithAio
    def update(self, env_dict: Mapping[str, str]) -> None:
        """Change and add variables; the others stay.  Runs that have begun are not changed.

        Raises:
            NotFoundError: if there is no such secret.
        """
        given = check_env("Secret.update(...)", env_dict)
        for name, value in given.items():
            if value is None:
                raise InvalidError(
                    f"the values in Secret.update(...) must be str, got None for {name}; "
                    'write {"NAME": "value"}'
                )
        record = self._found()
        if record.name is None:
            self._was_updated = True
            if isinstance(self._source, Variables):
                self._source = self._source | Variables(given)
            else:
                self._updates = self._updates | Variables(given)
            return
        try:
            _FILES.update(record.environment, record.name, Variables(given))
        except FileNotFoundError:
            raise self._not_found("is gone: it was deleted") from None

    def _found(self) -> Record:
        if self._source is None:
            if self._name is not None:
                check_name(self._name, "Secret", 'Secret.from_name("my-secret")')
            return super()._found()
        if self._record is None:
            self._record = _FILES.create_ephemeral(environment_of(self._environment_name))
        return self._record

    def _not_found(self, why: str, advice: str = "") -> NotFoundError:
        if self._asked_id is not None:
            advice = (
                "a pickle has no values, so make the secret in this process, or store it: "
                'write Secret.objects.create("my-secret", {...}) and Secret.from_name("my-secret")'
            )
        if self._name is not None:
            advice = f"write Secret.objects.create({self._name!r}, {{...}}) once"
        return super()._not_found(why, advice)

    def _resolved(
        self, outer: Callable[[str], str | None], warn: Callable[[Hashable, str], object]
    ) -> Variables:
        """Return the values as of now.

        Args:
            outer: returns a variable as it is outside of all runs; None if it is not set.
            warn: is called with a key and a warning about the secret of that key.

        Raises:
            NotFoundError: in strict mode, if the secret or a required key is not there.
            ImportError: if the values are in a ``.env`` file, and python-dotenv is missing.
            InvalidError: if the file of a secret is broken.
        """
        if isinstance(self._source, Variables):
            return self._source
        if isinstance(self._source, _Dotenv):
            return _read_dotenv(self._source) | self._updates
        record = self._found() if self._name is None else None
        name = self._name if record is None else record.name
        assert name is not None
        check_name(name, "Secret", 'Secret.from_name("my-secret")')
        environment = (
            environment_of(self._environment_name) if record is None else record.environment
        )
        found = _FILES.values(environment, name)
        if found is None:
            values = Variables()
            what = f"is not in the environment {environment!r}"
            keys = " ".join(f"{key}=..." for key in self._required) or "KEY=..."
            where = "" if environment == "main" else f"-e {environment} "
            advice = (
                f"write Secret.objects.create({name!r}, {{...}}) once, "
                f"or `moorage secret create {where}{name} {keys}`"
            )
        else:
            values, path = found
            if others_can_read(path):
                text = f"other users may read the secret {name!r}; write chmod 600 {path}"
                warn((name, environment, "mode"), text)
            what = f"has no {', '.join(key for key in self._required if key not in values)}"
            advice = f"write Secret.from_name({name!r}).update({{...}})"
        # The program may have exported what is missing.
        exported = Variables({key: outer(key) for key in self._required if key not in values})
        kept = values | exported
        # Without a file, only the required keys can tell that the variables are exported.
        if any(key not in kept for key in self._required) or not (found or self._required):
            if config.strict:
                raise NotFoundError(f"the secret {name!r} {what}; {advice}")
            warn(
                (name, environment),
                f"the secret {name!r} {what}, and the functions that use it go on with the "
                f"environment of this process; {advice}",
            )
        return kept

    def _key(self) -> Hashable:
        """Return a value that is equal for secrets that are surely the same.  It has values."""
        if self._source is None and self._name is not None:
            return self._name, self._environment_name, self._required
        if self._source is not None and not self._was_updated:
            return self._source
        return self

    # Not for dicts and queues, which may be files: see ``stores/values.py``.
    _moorage_crosses_only_to_processes: ClassVar[bool] = True

    def _moorage_crosses(self) -> tuple[Any, ...]:
        """Return what makes this secret in another process: see ``placing/shipping.py``."""
        if isinstance(self._source, Variables):
            return _shipped, (self._shown, dict(self._source))
        return self.__reduce__()

    def __reduce__(self) -> tuple[Any, ...]:
        if isinstance(self._source, _Dotenv) and not self._updates:
            return _unpickled_dotenv, (self._source,)
        if self._source is not None:
            object_id = self._found().object_id
            _pickled[object_id] = self
            return _unpickled, (object_id,)
        if self._name is not None:
            return _unpickled_name, (self._name, self._environment_name, self._required)
        return super().__reduce__()


def _of(variables: Mapping[str, str | None]) -> Secret:
    made = Secret._new(f"Secret.from_dict([{', '.join(variables)}])")
    made._source = Variables(variables)
    return made


# The secrets without a name that were pickled, by id.  Single operations, no lock.
_pickled: Final[dict[str, Secret]] = {}


def _unpickled(object_id: str) -> Secret:
    """Return the secret that was pickled; in another process one that is not found."""
    return _pickled.get(object_id) or Secret._from_id(object_id)


def _shipped(shown: str, variables: dict[str, str]) -> Secret:
    """Return the secret that has come from another process of this program."""
    made = Secret._new(shown)
    made._source = Variables(variables)
    return made


def _unpickled_dotenv(source: _Dotenv) -> Secret:
    made = Secret._new("Secret.from_dotenv()")
    made._source = source
    return made


def _unpickled_name(
    name: str, environment_name: str | None, required_keys: tuple[str, ...]
) -> Secret:
    return Secret.from_name(
        name, environment_name=environment_name, required_keys=list(required_keys)
    )


def _read_dotenv(where: _Dotenv) -> Variables:
    """Return the values of a ``.env`` file; none if there is no such file."""
    try:
        dotenv: Any = importlib.import_module("dotenv")
    except ImportError:
        raise ImportError(
            "Secret.from_dotenv() needs python-dotenv, which is not installed; "
            'write pip install "moorage[resources]"'
        ) from None
    given = "." if where.path is None else fs_path("path", where.path)
    path = os.path.abspath(given)
    if not given or not os.path.exists(path):
        raise FileNotFoundError(
            f"Secret.from_dotenv() begins at {given!r}, which does not exist; "
            "write Secret.from_dotenv(__file__)"
        )
    directory = os.path.dirname(path) if os.path.isfile(path) else path
    while True:
        file = os.path.join(directory, where.filename)
        if os.path.isfile(file):
            values: dict[str, str | None] = dotenv.dotenv_values(file)
            return Variables({name: value or "" for name, value in values.items()})
        above = os.path.dirname(directory)
        if above == directory:
            return Variables()
        directory = above


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
