"""The settings of Modal's client, for programs that read them: ``modal.config.config``.

Owns `Config`: a setting comes from the environment (``MODAL_ENVIRONMENT``), else from the active
profile of ``~/.modal.toml``, else it has Modal's default.  Only ``environment`` has an effect in
this process (``stores/home.py``), and nothing is written to the file.  Users find the names in
``config.py``, beside the settings of this library.

Begin at `Config.get`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import Any, Final, NamedTuple

from .exception import InvalidError

USER_CONFIG_PATH: Final = os.environ.get("MODAL_CONFIG_PATH") or os.path.expanduser("~/.modal.toml")


class _Setting(NamedTuple):
    """One setting: its default, how its text is read, and what its value is for."""

    default: Any = None
    read: Callable[[Any], Any] | None = None  # None: the value is taken as it is
    internal: bool = False  # left out of `Config.to_dict`
    secret: bool = False  # never shown


def _flag(value: object) -> bool:
    return str(value).lower() not in ("", "0", "false")


def _upper(value: object) -> str:
    return str(value).upper()


def _whole(value: Any) -> int | None:
    return int(value) if value else None


def _text(value: Any) -> str | None:
    return str(value) if value else None


def _one_of(*values: str) -> Callable[[object], str]:
    def read(value: object) -> str:
        found = str(value).lower()
        if found not in values:
            raise ValueError(f"it must be one of {', '.join(values)}")
        return found

    return read


def _suffix(value: object) -> str:
    found = str(value)
    if found and not (found.isascii() and found.isalnum() and len(found) <= 8):
        raise ValueError("it must have at most 8 letters and digits")
    return found


def _headers(value: object) -> dict[str, str]:
    found: dict[str, str] = {}
    for pair in filter(None, str(value).split(",")):
        name, colon, content = pair.partition(":")
        if not colon or not name.strip() or not content.strip():
            raise ValueError("it must be pairs name:value, separated by commas")
        found[name.strip()] = content.strip()
    return found


_SETTINGS: Final[dict[str, _Setting]] = {
    "server_url": _Setting("https://api.modal.com,https://api.modal2.com"),
    "token_id": _Setting(secret=True),
    "token_secret": _Setting(secret=True),
    "oauth_refresh_token": _Setting(secret=True),
    "oauth_client_id": _Setting(secret=True),
    "oauth_client_secret": _Setting(secret=True),
    "oauth_jwt_key": _Setting(secret=True),
    "loglevel": _Setting("WARNING", _upper),
    "log_format": _Setting("STRING", _upper),
    "log_pattern": _Setting(),
    "sandbox_v2": _Setting(True, _flag),
    "payload_format": _Setting("pickle", _one_of("pickle", "cbor")),
    "async_warnings": _Setting(True, _flag),
    "environment": _Setting(),
    "dev_suffix": _Setting("", _suffix),
    "traceback": _Setting(False, _flag),
    "build_validation": _Setting("error", _one_of("error", "warn", "ignore")),
    "image_builder_version": _Setting(),
    "force_build": _Setting(False, _flag),
    "ignore_cache": _Setting(False, _flag),
    "disable_api_proxy": _Setting(False, _flag),
    "default_cloud": _Setting(None, _text),
    "max_throttle_wait": _Setting(None, _whole),
    "logs_timeout": _Setting(10, float),
    "serve_timeout": _Setting(None, float),
    "sandbox_channel_idle_timeout": _Setting(30, float),
    "volume_block_read_timeout": _Setting(60, float),
    "streams_url": _Setting(
        "https://modal-labs-streams--streams-service-proxy.modal.run", internal=True
    ),
    "sync_entrypoint": _Setting(internal=True),
    "heartbeat_interval": _Setting(15, float, internal=True),
    "function_runtime": _Setting(internal=True),
    "function_runtime_debug": _Setting(False, _flag, internal=True),
    "runtime_perf_record": _Setting(False, _flag, internal=True),
    "use_control_plane_sidecar_create": _Setting(True, _flag, internal=True),
    "worker_id": _Setting(internal=True),
    "task_id": _Setting(internal=True),
    "image_id": _Setting(internal=True),
    "cuda_checkpoint_path": _Setting("/__modal/.bin/cuda-checkpoint", internal=True),
    "restore_state_path": _Setting("/__modal/restore-state.json", internal=True),
    "snapshot_debug": _Setting(False, _flag, internal=True),
    "override_headers": _Setting(None, _headers, internal=True, secret=True),
}


def read_profiles() -> dict[str, dict[str, Any]]:
    """Read the profiles of ``~/.modal.toml``: their names to their settings.

    Raises:
        InvalidError: if the file is there and is not such a file.
    """
    if not os.path.exists(USER_CONFIG_PATH):
        return {}
    import tomllib  # here, because few programs read the file

    try:
        with open(USER_CONFIG_PATH, "rb") as file:
            profiles = tomllib.load(file)
    except (OSError, ValueError) as error:
        raise InvalidError(
            f"{USER_CONFIG_PATH} cannot be read: {error}; "
            "mend the file, or set MODAL_CONFIG_PATH to another one"
        ) from None
    for name, settings in profiles.items():
        if not isinstance(settings, dict):
            # The message has no value of the file: the value may be a token.
            raise InvalidError(
                f"{USER_CONFIG_PATH} must have one table for each profile, and {name!r} is none; "
                "write [default] above the settings"
            )
    return profiles


def active_profile() -> str:
    """Return the name of the profile in use: ``MODAL_PROFILE``, or the one marked as active."""
    named = os.environ.get("MODAL_PROFILE")
    if named:
        return named
    for name, settings in read_profiles().items():
        if settings.get("active") is True:
            return name
    return "default"


class Config:
    """The settings of Modal's client: ``config["environment"]``, ``config.get("loglevel")``.

    The environment and the file are read at each look-up.
    """

    def __init__(self, profile: Callable[[], str] = active_profile) -> None:
        self._profile = profile

    def get(self, key: str, *, profile: str | None = None, use_env: bool = True) -> Any:
        """Return the value of a setting; None if nobody has set one without a default.

        Args:
            key: the name of the setting, such as ``"environment"``.
            profile: the profile of the file; by default the active one.
            use_env: whether the environment is looked at.

        Raises:
            KeyError: if there is no such setting.
            InvalidError: if the value cannot be read.
        """
        setting = _SETTINGS[key]
        found: object
        variable = _variable(key)
        if use_env and variable in os.environ:
            found, place = os.environ[variable], f"the environment variable {variable}"
        else:
            settings = read_profiles().get(profile or self._profile(), {})
            if key not in settings:
                return setting.default
            found, place = settings[key], f"{key} in {USER_CONFIG_PATH}"
        if setting.read is None:
            return found
        try:
            return setting.read(found)
        except (TypeError, ValueError) as error:
            got = "a wrong value" if setting.secret else repr(found)
            raise InvalidError(f"{place} is {got}; {error}") from None

    def override_locally(self, key: str, value: str) -> None:
        """Set a setting for this process, by its environment variable."""
        os.environ[_variable(key)] = value

    def to_dict(self, *, include_internal: bool = False) -> dict[str, Any]:
        """Return the settings with their values, those of secrets included."""
        return {
            key: self.get(key)
            for key, setting in sorted(_SETTINGS.items())
            if include_internal or not setting.internal
        }

    def __getitem__(self, key: str) -> Any:
        return self.get(key)

    def __contains__(self, key: object) -> bool:
        return key in _SETTINGS

    def __iter__(self) -> Iterator[str]:
        return iter(_SETTINGS)

    def __len__(self) -> int:
        return len(_SETTINGS)

    def keys(self) -> list[str]:
        """Return the names of all settings."""
        return list(_SETTINGS)

    def __repr__(self) -> str:
        shown = self.to_dict()
        for key, value in shown.items():
            if _SETTINGS[key].secret and value is not None:
                shown[key] = "***"
        return repr(shown)


def _variable(key: str) -> str:
    return f"MODAL_{key.upper()}" if key in _SETTINGS else key.upper()
