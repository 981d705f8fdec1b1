"""Images: the software that Modal would install in a container.

Owns `Image`; users make images, and functions, classes and apps accept them.  An image builds
nothing: functions run in this process, with what is installed here.  An image keeps its variables
(`env`) and the errors of its `imports`, which ``running/environment.py`` reads.  The arguments are
checked as in Modal.  A mistake that Modal finds only while building is refused here at once,
except in strict mode.  Files need not exist, because nothing is uploaded.

Begin at `Image.debian_slim`, then `Image.pip_install`.
"""

from __future__ import annotations

import difflib
import functools
import logging
import re
import warnings
from collections.abc import Callable, Collection, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from os import PathLike
from pathlib import Path, PurePath, PurePosixPath
from types import FunctionType, LambdaType
from typing import TYPE_CHECKING, Any, Concatenate, Final, ParamSpec, Self, TypeAlias, TypeVar

from . import config
from .arguments import (
    EnvDict,
    InvalidArgumentsError,
    InvalidAttributeError,
    LocalPath,
    check_env,
    check_name,
    flat_strings,
    fs_path,
    is_dict,
    is_list,
    iterated,
    lenient,
    string_list,
    unchecked,
)
from .client import Client
from .cloud_bucket_mount import CloudBucketMount
from .exception import InvalidError
from .file_pattern_matcher import NON_PYTHON_FILES
from .frames import warn
from .network_file_system import NetworkFileSystem
from .object import Object
from .old.names import OldMethod, accepting_gone
from .resources import MountPath, check_amount, check_gpu, check_mounts
from .runtime.kinds import is_registered
from .scheduler_placement import check_regions
from .secret import Secret, check_secrets
from .variables import Variables
from .volume import Volume
from .with_aio import MethodWithAio, plain_function

P = ParamSpec("P")
R = TypeVar("R")

Ignore: TypeAlias = Sequence[str] | Callable[[Path], bool]
Secrets: TypeAlias = Collection[Secret]
Strings: TypeAlias = str | list[str]

_log: Final = logging.getLogger("moorage")

_PYTHON: Final = 'write "3.12", or a version that Modal has'


# Arguments that steps of an image once had.
_GONE: Final = {
    "secret": "write secrets=[secret]",
    "mounts": "write image.add_local_dir(...) for files, before this step with copy=True",
    "shared_volumes": "write volumes={...}",
}


@dataclass(frozen=True, slots=True)
class AddedFiles:
    """A file or directory of this machine that an image has at a path."""

    local_path: str
    remote_path: str  # absolute


class Image(Object):
    """The description of an image.  Each method returns a new image, so calls can be chained."""

    _made_by = "Image.debian_slim(), or another of its class methods"
    _instead = "install what the program needs in this environment, e.g. with pip"

    # True if files were added without `copy`: then no build step may follow.
    _has_mounts = False
    # The files that were added, for ``running/mounts.py``.
    _files: tuple[AddedFiles, ...] = ()
    # The lines of a requirements.txt with what its steps install; what pip cannot install are
    # comments.  For ``cli/requirements.py``.
    _requirements: tuple[str, ...] = ()
    # What `env` and `workdir` have set.  ``running/environment.py`` reads these three.
    _env: Variables = Variables()
    _workdir: str | None = None
    # What the bodies of `imports` raised: raised again when a container with this image starts.
    _import_errors: list[Exception]

    @classmethod
    def _new(cls, shown: str, name: str | None = None) -> Self:
        made = super()._new(shown, name)
        made._import_errors = []
        return made

    # -- the beginning of an image ------------------------------------------------------

    @staticmethod
    def debian_slim(python_version: str | None = None, force_build: bool = False) -> Image:
        """Start from Debian with Python.

        Raises:
            InvalidError: if `python_version` is not a version of Python 3; also a TypeError
                for a float.
        """
        given = unchecked(python_version)
        if isinstance(given, float):
            raise InvalidArgumentsError(
                f'python_version must be a str, got {given!r}; write python_version="{given}"'
            )
        _check_python("python_version", given)
        return Image._new("Image.debian_slim()")

    @staticmethod
    def micromamba(python_version: str | None = None, force_build: bool = False) -> Image:
        """Start from micromamba with Python."""
        _check_python("python_version", python_version)
        return Image._new("Image.micromamba()")

    @staticmethod
    def from_registry(
        tag: str,
        secret: Secret | None = None,
        *,
        setup_dockerfile_commands: Sequence[str] = (),
        force_build: bool = False,
        add_python: str | None = None,
    ) -> Image:
        """Start from an image in a public or private registry."""
        return _from_registry("from_registry", tag, secret, setup_dockerfile_commands, add_python)

    @staticmethod
    def from_gcp_artifact_registry(
        tag: str,
        secret: Secret | None = None,
        *,
        setup_dockerfile_commands: Sequence[str] = (),
        force_build: bool = False,
        add_python: str | None = None,
    ) -> Image:
        """Start from an image in Google Cloud's registry."""
        where = "from_gcp_artifact_registry"
        return _from_registry(where, tag, secret, setup_dockerfile_commands, add_python)

    @staticmethod
    def from_aws_ecr(
        tag: str,
        secret: Secret | None = None,
        *,
        setup_dockerfile_commands: Sequence[str] = (),
        force_build: bool = False,
        add_python: str | None = None,
    ) -> Image:
        """Start from an image in AWS's registry."""
        return _from_registry("from_aws_ecr", tag, secret, setup_dockerfile_commands, add_python)

    @staticmethod
    def from_dockerfile(
        path: LocalPath,
        *,
        force_build: bool = False,
        context_dir: LocalPath | None = None,
        ignore: Ignore = (),
        build_args: Mapping[str, str] = {},
        registry_secret: Secret | None = None,
        secrets: Secrets | None = None,
        env: EnvDict | None = None,
        gpu: str | None = None,
        add_python: str | None = None,
    ) -> Image:
        """Start from the image of a Dockerfile.  The file is not read in this process."""
        fs_path("path", path)
        _check_lenient_secrets("from_dockerfile", secrets)
        _check_step("from_dockerfile", None, env, gpu)
        _check_ignore(ignore, at_once=False)
        _check_python("add_python", add_python)
        return Image._new(f"Image.from_dockerfile({str(path)!r})")

    @staticmethod
    def from_scratch(force_build: bool = False) -> Image:
        """Start from an empty image."""
        return Image._new("Image.from_scratch()")

    @staticmethod
    def from_name(
        name: str, *, environment_name: str | None = None, client: Client | None = None
    ) -> Image:
        """Start from an image that was published under a name, with or without ``:tag``.

        Raises:
            InvalidError: if `name` is not a possible name, or its tag not a possible tag.
        """
        example = 'Image.from_name("my-image")'
        if not isinstance(unchecked(name), str):
            raise InvalidAttributeError(
                f"the name of an Image must be a str, got {name!r}; write {example}"
            )
        path, colon, tag = name.partition(":")
        for part in path.split("/"):
            check_name(part, "Image", example)
        if colon:
            check_name(tag, "tag of an Image", 'Image.from_name("my-image:my-tag")')
        return Image._named(name, environment_name)

    @staticmethod
    @plain_function
    def from_id(image_id: str, client: Client | None = None) -> Image:
        """Name an image by Modal's id."""
        made = Image._new(f"Image.from_id({image_id!r})")
        made._object_id = image_id
        return made

    # -- files ----------------------------------------------------------------------

    def add_local_file(
        self, local_path: LocalPath, remote_path: str, *, copy: bool = False
    ) -> Image:
        """Add a file when containers start, or with `copy` when the image is built.

        Raises:
            InvalidError: if `remote_path` is not absolute.
        """
        _check_remote("add_local_file", remote_path)
        if isinstance(unchecked(remote_path), PurePosixPath):
            # Modal fails here, although it accepts such paths in other methods.
            message = f'remote_path must be a str, got {remote_path!r}; write "{remote_path}"'
            raise InvalidAttributeError(message)
        local = fs_path("local_path", local_path)
        to = remote_path + PurePath(local).name if remote_path.endswith("/") else remote_path
        return self._added("add_local_file", copy)._with_files(local, to)

    def add_local_dir(
        self,
        local_path: LocalPath,
        remote_path: str,
        *,
        copy: bool = False,
        ignore: Ignore = (),
    ) -> Image:
        """Add a directory, without the files that `ignore` names: patterns or a function of paths.

        Raises:
            InvalidError: if `remote_path` is not absolute.
        """
        _check_remote("add_local_dir", remote_path)
        local = fs_path("local_path", local_path)
        _check_ignore(ignore, at_once=True)
        return self._added("add_local_dir", copy)._with_files(local, remote_path)

    def add_local_python_source(
        self, *modules: str, copy: bool = False, ignore: Ignore = NON_PYTHON_FILES
    ) -> Image:
        """Add modules by their names, as this program would import them.

        Raises:
            InvalidError: if a name is not a str.
        """
        for module in modules:
            if not isinstance(unchecked(module), str):
                raise InvalidError(
                    f"add_local_python_source() takes names of modules as str, got {module!r}; "
                    'write add_local_python_source("my_module", "my_package")'
                )
        _check_ignore(ignore, at_once=False)
        return self._added("add_local_python_source", copy, nothing=not modules)

    # -- steps of a build -----------------------------------------------------------

    @accepting_gone("Image", _GONE)
    def pip_install(
        self,
        *packages: Strings,
        find_links: str | None = None,
        index_url: str | None = None,
        extra_index_url: str | None = None,
        pre: bool = False,
        extra_options: str = "",
        force_build: bool = False,
        env: EnvDict | None = None,
        secrets: Secrets | None = None,
        gpu: str | None = None,
    ) -> Image:
        """Install packages with pip.

        Raises:
            InvalidError: if a package is not a str, or an argument has a wrong type.
        """
        found = flat_strings("pip_install", "packages", packages)
        _check_packages("pip_install", found)
        if not found:
            return self
        lines = _pip_lines(found, find_links, index_url, extra_index_url, pre)
        return self._step("pip_install", secrets, env, gpu)._with_requirements(lines)

    def pip_install_private_repos(
        self,
        *repositories: str,
        git_user: str,
        find_links: str | None = None,
        index_url: str | None = None,
        extra_index_url: str | None = None,
        pre: bool = False,
        extra_options: str = "",
        gpu: str | None = None,
        env: EnvDict | None = None,
        secrets: Secrets | None = None,
        force_build: bool = False,
    ) -> Image:
        """Install from private repositories of GitHub or GitLab, with a token in a secret.

        Raises:
            InvalidError: if there are no secrets, or a repository is not of this form.
        """
        if not secrets:
            raise InvalidError(
                "pip_install_private_repos() needs a token; "
                'write secrets=[modal.Secret.from_name("my-github-token")]'
            )
        for repository in repositories:
            advice = 'write "github.com/me/my-repository"'
            if not isinstance(unchecked(repository), str):
                raise InvalidAttributeError(f"a repository is a str, got {repository!r}; {advice}")
            if not re.fullmatch(r"git(hub|lab)\.com/[^/]+/.+", repository):
                raise InvalidError(
                    f"a repository is one of github.com or gitlab.com, got {repository!r}; {advice}"
                )
        found = [f"git+https://{repository}" for repository in repositories]
        lines = _pip_lines(found, find_links, index_url, extra_index_url, pre)
        made = self._step("pip_install_private_repos", secrets, env, gpu)
        return made._with_requirements(lines)

    def pip_install_from_requirements(
        self,
        requirements_txt: str,
        find_links: str | None = None,
        *,
        index_url: str | None = None,
        extra_index_url: str | None = None,
        pre: bool = False,
        extra_options: str = "",
        force_build: bool = False,
        env: EnvDict | None = None,
        secrets: Secrets | None = None,
        gpu: str | None = None,
    ) -> Image:
        """Install the packages of a requirements.txt.  The file is not read in this process."""
        _check_file("requirements_txt", requirements_txt)
        found = [f"-r {requirements_txt}"]
        lines = _pip_lines(found, find_links, index_url, extra_index_url, pre)
        made = self._step("pip_install_from_requirements", secrets, env, gpu)
        return made._with_requirements(lines)

    def pip_install_from_pyproject(
        self,
        pyproject_toml: str,
        optional_dependencies: Sequence[str] = (),
        *,
        find_links: str | None = None,
        index_url: str | None = None,
        extra_index_url: str | None = None,
        pre: bool = False,
        extra_options: str = "",
        force_build: bool = False,
        env: EnvDict | None = None,
        secrets: Secrets | None = None,
        gpu: str | None = None,
    ) -> Image:
        """Install the packages of a pyproject.toml.  The file is not read in this process."""
        _check_file("pyproject_toml", pyproject_toml)
        groups = f", with {optional_dependencies}" if optional_dependencies else ""
        found = [f"# the dependencies in {pyproject_toml}{groups}"]
        lines = _pip_lines(found, find_links, index_url, extra_index_url, pre)
        made = self._step("pip_install_from_pyproject", secrets, env, gpu)
        return made._with_requirements(lines)

    def uv_pip_install(
        self,
        *packages: Strings,
        requirements: list[str] | None = None,
        find_links: str | None = None,
        index_url: str | None = None,
        extra_index_url: str | None = None,
        pre: bool = False,
        extra_options: str = "",
        force_build: bool = False,
        uv_version: str | None = None,
        env: EnvDict | None = None,
        secrets: Secrets | None = None,
        gpu: str | None = None,
    ) -> Image:
        """Install packages, and the packages in requirements files, with uv.

        Raises:
            InvalidError: if a package is not a str, or `requirements` is not a list.
        """
        found = flat_strings("uv_pip_install", "packages", packages)
        _check_packages("uv_pip_install", found)
        if requirements is not None and not is_list(requirements):
            string_list("requirements", requirements)
        for each in requirements or ():
            _check_file("requirements", each)
        if not found and not requirements:
            return self
        found += [f"-r {each}" for each in requirements or ()]
        lines = _pip_lines(found, find_links, index_url, extra_index_url, pre)
        return self._step("uv_pip_install", secrets, env, gpu)._with_requirements(lines)

    def poetry_install_from_file(
        self,
        poetry_pyproject_toml: str,
        poetry_lockfile: str | None = None,
        *,
        ignore_lockfile: bool = False,
        force_build: bool = False,
        with_: Sequence[str] = (),
        without: Sequence[str] = (),
        only: Sequence[str] = (),
        poetry_version: str | None = "latest",
        old_installer: bool = False,
        env: EnvDict | None = None,
        secrets: Secrets | None = None,
        gpu: str | None = None,
    ) -> Image:
        """Install the packages of a poetry project.  Its files are not read in this process."""
        _check_file("poetry_pyproject_toml", poetry_pyproject_toml)
        made = self._step("poetry_install_from_file", secrets, env, gpu)
        return made._with_requirements([f"# poetry: {poetry_pyproject_toml}"])

    def uv_sync(
        self,
        uv_project_dir: str = "./",
        *,
        force_build: bool = False,
        groups: list[str] | None = None,
        extras: list[str] | None = None,
        frozen: bool = True,
        extra_options: str = "",
        uv_version: str | None = None,
        env: EnvDict | None = None,
        secrets: Secrets | None = None,
        gpu: str | None = None,
    ) -> Image:
        """Install the packages of a uv project.  Its files are not read in this process.

        Raises:
            InvalidError: if `groups` is not a list.
        """
        for name, value in (("groups", groups), ("extras", extras)):
            if value is None or (is_list(value) and all(isinstance(each, str) for each in value)):
                continue
            message = f'{name} must be a list of str, got {value!r}; write {name}=["dev"]'
            if name == "groups" and not is_list(value):
                raise InvalidError(message)
            lenient(message)
        _check_file("uv_project_dir", uv_project_dir)
        made = self._step("uv_sync", secrets, env, gpu)
        return made._with_requirements([f"# uv sync: {uv_project_dir}"])

    def apt_install(
        self,
        *packages: Strings,
        force_build: bool = False,
        env: EnvDict | None = None,
        secrets: Secrets | None = None,
        gpu: str | None = None,
    ) -> Image:
        """Install Debian packages.

        Raises:
            InvalidError: if a package is not a str, or an argument has a wrong type.
        """
        found = flat_strings("apt_install", "packages", packages)
        if not found:
            return self
        made = self._step("apt_install", secrets, env, gpu)
        return made._with_requirements([f"# apt: {' '.join(found)}"])

    def micromamba_install(
        self,
        *packages: Strings,
        spec_file: str | None = None,
        channels: Sequence[str] = (),
        force_build: bool = False,
        env: EnvDict | None = None,
        secrets: Secrets | None = None,
        gpu: str | None = None,
    ) -> Image:
        """Install packages with micromamba.

        Raises:
            InvalidError: if a package is not a str, or an argument has a wrong type.
        """
        found = flat_strings("micromamba_install", "packages", packages)
        if isinstance(channels, str) or not isinstance(unchecked(channels), Sequence):
            lenient(f'channels must be a list of str, got {channels!r}; write ["conda-forge"]')
        if not found and spec_file is None:
            return self
        found += [] if spec_file is None else [f"--file {spec_file}"]
        made = self._step("micromamba_install", secrets, env, gpu)
        return made._with_requirements([f"# micromamba: {' '.join(found)}"])

    @accepting_gone("Image", _GONE)
    def run_commands(
        self,
        *commands: Strings,
        env: EnvDict | None = None,
        secrets: Secrets | None = None,
        volumes: Mapping[MountPath, Volume] | None = None,
        gpu: str | None = None,
        force_build: bool = False,
    ) -> Image:
        """Run shell commands while the image is built.

        Raises:
            InvalidError: if a command is not a str, or an argument has a wrong type.
        """
        found = flat_strings("run_commands", "commands", commands)
        if not found:
            return self
        if volumes is not None:
            check_mounts("volumes", volumes)
            for each in volumes.values():
                if not isinstance(unchecked(each), Volume):
                    raise InvalidError(
                        f"run_commands() mounts Volume objects only, got {each!r}; "
                        'write volumes={"/data": modal.Volume.from_name("my-data")}'
                    )
        made = self._step("run_commands", secrets, env, gpu)
        return made._with_requirements([f"# run: {each}" for each in found])

    @accepting_gone("Image", _GONE)
    def dockerfile_commands(
        self,
        *dockerfile_commands: Strings,
        context_files: Mapping[str, str] = {},
        env: EnvDict | None = None,
        secrets: Secrets | None = None,
        gpu: str | None = None,
        context_dir: LocalPath | None = None,
        force_build: bool = False,
        ignore: Ignore = (),
        build_args: Mapping[str, str] = {},
    ) -> Image:
        """Add lines of a Dockerfile to the build.

        Raises:
            InvalidError: if a line is not a str, or an argument has a wrong type.
        """
        found = flat_strings("dockerfile_commands", "commands", dockerfile_commands)
        if not found:
            return self
        _check_ignore(ignore, at_once=False)
        made = self._step("dockerfile_commands", secrets, env, gpu)
        return made._with_requirements([f"# Dockerfile: {each}" for each in found])

    @accepting_gone("Image", _GONE)
    def run_function(
        self,
        raw_f: Callable[..., object],
        *,
        env: EnvDict | None = None,
        secrets: Secrets | None = None,
        volumes: Mapping[MountPath, Volume | CloudBucketMount] = {},
        network_file_systems: Mapping[MountPath, NetworkFileSystem] = {},
        gpu: str | list[str] | None = None,
        cpu: float | None = None,
        memory: int | None = None,
        timeout: int = 3600,
        cloud: str | None = None,
        region: str | Sequence[str] | None = None,
        force_build: bool = False,
        args: Sequence[object] = (),
        kwargs: Mapping[str, object] = {},
        include_source: bool = True,
    ) -> Image:
        """Run a function while the image is built.  It does not run in this process.

        Raises:
            InvalidError: for a lambda or anything but a function, or if an argument has a wrong
                type.
        """
        example = "write run_function(download) for a function named download"
        if not callable(unchecked(raw_f)) or is_registered(raw_f):
            raise InvalidError(f"run_function() takes a plain function, got {raw_f!r}; {example}")
        if isinstance(raw_f, LambdaType) and raw_f.__name__ == "<lambda>":
            raise InvalidError(f"run_function() takes a function with a name; {example}")
        for name, value in (("args", args), ("kwargs", kwargs)):
            if not hasattr(value, "__len__"):
                raise InvalidArgumentsError(f"{name} of run_function() has no length: {value!r}")
        advice = 'write secrets=[modal.Secret.from_name("my-secret")]'
        if secrets is not None:
            iterated("secrets", secrets, advice)
            _check_lenient_secrets("run_function", secrets)
        check_gpu(gpu, several=True)
        check_amount("cpu", cpu, at_once=False)
        check_amount("memory", memory, at_once=False)
        check_mounts("volumes", volumes)
        check_mounts("network_file_systems", network_file_systems)
        check_regions("region", region)
        return self._step("run_function", None, env, None)

    def env(self, vars: dict[str, str]) -> Image:
        """Set environment variables for the functions with this image.

        They are set in this process while a run needs them: see ``running/environment.py``.
        Secrets and ``env=`` of a function come before them.

        Raises:
            InvalidError: if a value is not a str; also an AttributeError if it is not a dict.
        """
        advice = 'write .env({"NAME": "value"})'
        given = unchecked(vars)
        if not is_dict(given):
            raise InvalidAttributeError(f"env() takes a dict, got {type(given).__name__}; {advice}")
        for key, value in given.items():
            if not isinstance(key, str):
                lenient(f"the names for env() must be str, got {key!r}; {advice}")
            if not isinstance(value, str):
                raise InvalidError(
                    f"the values for env() must be str, got {type(value).__name__} for {key}; "
                    f"{advice}"
                )
        made = self._step("env")
        new = {name: value for name, value in vars.items() if isinstance(unchecked(name), str)}
        made._env = self._env | new
        return made

    def workdir(self, path: str | PurePosixPath) -> Image:
        """Set the directory in which containers start.

        Functions with this image run in the directory of this process all the same, and a warning
        says so.
        """
        if not isinstance(unchecked(path), (str, PathLike)):
            lenient(f'workdir() takes a path as str, got {path!r}; write .workdir("/app")')
        made = self._step("workdir")
        made._workdir = str(path)
        return made

    def entrypoint(self, entrypoint_commands: list[str]) -> Image:
        """Set the command with which containers start.

        Raises:
            InvalidError: if the argument is not a list of str.
        """
        string_list("entrypoint_commands", entrypoint_commands)
        return self._step("entrypoint")

    def shell(self, shell_commands: list[str]) -> Image:
        """Set the shell for the commands of the build.

        Raises:
            InvalidError: if the argument is not a list of str.
        """
        string_list("shell_commands", shell_commands)
        return self._step("shell")

    def cmd(self, cmd: list[str]) -> Image:
        """Set the default command.

        Raises:
            InvalidError: if the argument is not a list of str.
        """
        string_list("cmd", cmd)
        return self._step("cmd")

    def pipe(
        self, func: Callable[Concatenate[Image, P], R], *args: P.args, **kwargs: P.kwargs
    ) -> R:
        """Return ``f(image, x)`` for ``image.pipe(f, x)``, so that own steps can be chained too."""
        return func(self, *args, **kwargs)

    # -- use ------------------------------------------------------------------------

    @contextmanager
    def imports(self) -> Generator[None]:
        """Import modules that only the image has: ``with image.imports():``.

        The body runs in this process, and the functions can use what it imports.  An error ends
        the body, and the program goes on, as in Modal when the program starts.  Containers of
        functions with exactly this image fail with the error when they start; functions with
        another image go on.
        """
        try:
            yield
        except ImportError as error:
            self._import_errors.append(error)
            missing = error.name or str(error)
            error.add_note(
                f"{missing!r} was not imported when the program began, in image.imports(), and "
                "containers of this image run here; install it here, e.g. with pip"
            )
            if config.strict:  # silent, as Modal is
                return
            _log.warning(
                "%r was not imported, and functions with this image will fail; install it here "
                "(%s)",
                missing,
                error,
            )
        except Exception as error:
            self._import_errors.append(error)
            warnings.warn(
                f"the body of image.imports() failed: {error!r}; what it had not imported "
                "by then is missing",
                stacklevel=3,
            )

    @MethodWithAio
    def build(self, app: object = None) -> Image:
        """Return the image.  Nothing is built."""
        return self

    @MethodWithAio
    def publish(
        self,
        name: str,
        *,
        environment_name: str | None = None,
        experimental_options: dict[str, object] | None = None,
        client: Client | None = None,
    ) -> None:
        raise self._unimplemented("publish")

    # -- old spellings --------------------------------------------------------------

    if not TYPE_CHECKING:
        copy_local_file = OldMethod(
            "write .add_local_file(local_path, remote_path, copy=True)",
            lambda image, local_path, remote_path="./": image._copied(
                "add_local_file", local_path, remote_path
            ),
            on="instance",
        )
        copy_local_dir = OldMethod(
            "write .add_local_dir(local_path, remote_path, copy=True)",
            lambda image, local_path, remote_path=".", ignore=(): image._copied(
                "add_local_dir", local_path, remote_path
            ),
            on="instance",
        )
        copy_mount = OldMethod(
            "write .add_local_dir(..., copy=True)",
            lambda image, mount, remote_path=".": image._step("copy_mount"),
            on="instance",
        )
        from_dockerhub = OldMethod(
            "write Image.from_registry(tag)",
            lambda owner, tag, *args, **kwargs: owner.from_registry(tag, *args, **kwargs),
            on="class",
        )
        conda = OldMethod(
            "write Image.micromamba()",
            lambda owner, python_version=None, force_build=False: owner.micromamba(python_version),
            on="class",
        )
        conda_install = OldMethod(
            "write .micromamba_install(...)",
            lambda image, *packages, **kwargs: image.micromamba_install(*packages, **kwargs),
            on="instance",
        )

    # -- methods of later versions --------------------------------------------------

    if not TYPE_CHECKING:

        def __getattr__(self, name):
            """Take an unknown method for a step of the build, which has no effect here anyway."""
            if config.strict or name.startswith("_") or hasattr(Image, name):
                # The last: a property of the class raised an AttributeError, which is raised again.
                return object.__getattribute__(self, name)

            def step(*args, **kwargs):
                near = difflib.get_close_matches(name, dir(Image), 1, 0.75)
                warn(
                    f"Image has no method {name}(), which is taken for a step of the build without "
                    f"effect; write {near[0] if near else 'a method that Modal 1.6.4 has'}"
                    f"{'(...)' if near else ''}",
                    UserWarning,
                )
                return self._derived(name)

            return step

    def __getstate__(self) -> dict[str, object]:
        # Errors often do not pickle, and say what is missing on this machine.
        return {**self.__dict__, "_import_errors": []}

    # -- what the methods share -----------------------------------------------------

    def _copied(self, name: str, local_path: object, remote_path: object) -> Image:
        # Old programs may give a path relative to the image's working directory.
        fs_path("local_path", local_path)
        fs_path("remote_path", remote_path)
        return self._step(name)

    def _step(
        self,
        name: str,
        secrets: object = None,
        env: object = None,
        gpu: object = None,
    ) -> Image:
        _check_step(name, secrets, env, gpu)
        if self._has_mounts:
            lenient(
                f"{name}() would build on files that are added only when containers start; "
                f"write {name}() before add_local_...(), or add_local_...(copy=True)"
            )
        return self._derived(name)

    def _added(self, name: str, copy: bool, *, nothing: bool = False) -> Image:
        if not isinstance(unchecked(copy), bool):
            lenient(f"copy must be True or False, got {copy!r}; write copy=True")
        if copy:
            return self._step(name)
        made = self._derived(name)
        made._has_mounts = self._has_mounts or not nothing
        return made

    def _derived(self, name: str) -> Image:
        made = Image._new(f"{self._shown}.{name}(...)")
        made._has_mounts = self._has_mounts
        made._env, made._workdir = self._env, self._workdir
        made._files, made._requirements = self._files, self._requirements
        return made

    def _with_requirements(self, lines: Sequence[str]) -> Image:
        # A comment must stay one.
        flat = [" ".join(line.split()) if line.startswith("#") else line for line in lines]
        self._requirements = (*self._requirements, *flat)
        return self

    def _with_files(self, local_path: str, remote_path: object) -> Image:
        path = PurePosixPath(fs_path("remote_path", remote_path)).as_posix()
        self._files = (*self._files, AddedFiles(local_path, path))
        return self


def _from_registry(
    where: str, tag: object, secret: object, commands: object, add_python: object
) -> Image:
    if not isinstance(tag, str) or not tag:
        lenient(f'{where}() takes a tag as str, got {tag!r}; write {where}("ubuntu:24.04")')
    if secret is not None and not isinstance(secret, Secret):
        lenient(
            f"secret must be a Secret, got {type(secret).__name__}; "
            'write secret=modal.Secret.from_name("my-registry")'
        )
    if isinstance(commands, str) or not isinstance(commands, Sequence):
        lenient(
            f"setup_dockerfile_commands must be a list of str, got {commands!r}; "
            'write ["RUN apt-get update"]'
        )
    _check_python("add_python", add_python)
    return Image._new(f"Image.{where}({tag!r})")


def _pip_lines(
    packages: Sequence[str],
    find_links: str | None,
    index_url: str | None,
    extra_index_url: str | None,
    pre: bool,
) -> list[str]:
    """Return the lines of a requirements.txt that have packages installed as a step does."""
    options = {
        "--find-links": find_links,
        "--index-url": index_url,
        "--extra-index-url": extra_index_url,
    }
    lines = [f"{option} {value}" for option, value in options.items() if value]
    return [*lines, *(["--pre"] if pre else []), *packages]


def _check_python(name: str, version: object) -> None:
    if version is None:
        return
    if not isinstance(version, str) or not re.fullmatch(r"3\.\d+(\.\d+)?t?", version):
        lenient(f"{name} must be a version of Python 3 as str, got {version!r}; {_PYTHON}")


def _check_packages(method: str, packages: list[str]) -> None:
    for each in packages:
        if each.startswith("-"):
            raise InvalidError(
                f"{method}() takes names of packages, got the option {each!r}; "
                f'write {method}("numpy", extra_options={each!r})'
            )


def _check_step(name: str, secrets: object, env: object, gpu: object) -> None:
    if env:
        check_env("env", env)
    check_secrets(name, secrets)
    check_gpu(gpu)


def _check_lenient_secrets(name: str, secrets: object) -> None:
    if secrets is None:
        return
    advice = f'write {name}(secrets=[modal.Secret.from_name("my-secret")])'
    for each in secrets if isinstance(secrets, Collection) else [secrets]:
        if not isinstance(each, Secret):
            lenient(f"secrets must hold Secret objects, got {type(each).__name__}; {advice}")


def _check_file(name: str, path: object) -> None:
    if not isinstance(path, (str, PathLike)):
        lenient(f'{name} must be a path as str, got {path!r}; write {name}="file"')


def _check_remote(where: str, path: object) -> None:
    text = fs_path("remote_path", path)
    if not text.startswith("/"):
        raise InvalidError(
            f'{where}() takes an absolute remote_path, got {text!r}; write "/{text}"'
        )


def _check_ignore(ignore: object, *, at_once: bool) -> None:
    if callable(ignore):
        return
    advice = 'write ignore=["**/*.md"]'
    if isinstance(ignore, str):
        lenient(f"ignore must be a list of patterns, got {ignore!r}; write ignore=[{ignore!r}]")
    elif not isinstance(ignore, Collection):
        message = f"ignore must be a list of patterns or a function, got {ignore!r}; {advice}"
        if at_once:
            raise InvalidArgumentsError(message)
        lenient(message)
    elif not all(isinstance(each, str) for each in iterated("ignore", ignore, advice)):
        lenient(f"ignore must hold patterns as str, got {ignore!r}; {advice}")


def _of_an_image(method: Callable[..., Any]) -> Callable[..., Any]:
    """Return `method`, which says what to write if it is called on the class."""

    @functools.wraps(method)
    def call(self: object, *args: object, **kwargs: object) -> object:
        if not isinstance(self, Image):
            raise InvalidAttributeError(
                f"Image.{method.__name__}() is a method of an image, and was called on the class; "
                f"write Image.debian_slim().{method.__name__}(...)"
            )
        return method(self, *args, **kwargs)

    return call


for _name, _method in list(vars(Image).items()):
    if type(_method) is FunctionType and _name[0] != "_":  # others pose as functions
        setattr(Image, _name, _of_an_image(_method))

if not TYPE_CHECKING:  # Modal's inner names of the same classes, for isinstance() and annotations
    _Image = Image
