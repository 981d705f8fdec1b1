"""The gate: what each request passes before it is an input.

Owns `Gate`, the application of one port.  It finds the site by the Host, and refuses the requests
of web pages that the developer did not open (wrong Host: 421, wrong Origin: 403) and requests
without credentials (401).  A refused request costs no slot and starts no container.  The threat
model is in ``docs/guides/serving.md``.

Used on the HTTP loop only.

Begin at `Gate.__call__`, then `Gate._site`, then `is_allowed_page`.
"""

from __future__ import annotations

import hmac
import os
import re
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Final, Protocol
from urllib.parse import urlsplit

from .. import config
from ..exception import InvalidError
from ..runtime.real import Real
from .answers import answer
from .exchange import Receive, Scope, Send

Headers = dict[bytes, bytes]


class Guarded(Protocol):
    """What the gate needs of a site: see `Site` in ``sites.py``."""

    @property
    def label(self) -> str: ...
    @property
    def host(self) -> str:
        """The address that the site's port is bound to."""
        ...

    @property
    def needs_token(self) -> bool:
        """Whether the function has ``requires_proxy_auth=True``."""
        ...

    @property
    def application(self) -> Callable[[Scope, Receive, Send], Awaitable[None]]: ...


class Gate:
    """The application of one port.

    Args:
        own: the site of the port.
        find: returns the site with a label, or None.
        labels: returns all labels.
    """

    def __init__(
        self,
        own: Guarded,
        find: Callable[[str], Guarded | None],
        labels: Callable[[], Iterable[str]],
    ) -> None:
        self._own = own
        self._find = find
        self._labels = labels
        self._is_loopback = is_loopback_address(own.host)

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        """Pass the request on to its site, or refuse it."""
        headers: Headers = {}
        for name, value in scope["headers"]:
            if name in _READ and headers.setdefault(name, value) != value:
                return answer(scope, send, 400, f"Send one header {name.decode()}.\n")
        try:
            site = self._site(headers.get(b"host"), scope)
            if not config.open_cors:
                self._check_page(headers, scope)
            if site.needs_token:
                _check_token(site, headers)
        except _Refused as refused:
            return answer(scope, send, refused.status, refused.text)
        return site.application(scope, receive, send)

    def _site(self, value: bytes | None, scope: Scope) -> Guarded:
        """Return the site that the Host names.

        Raises:
            _Refused: if the Host is none of this machine's names, or has an unknown label.
        """
        if value is None:
            if scope["http_version"] == "1.0" or not self._is_loopback:
                return self._own  # no browser
            raise _Refused(421, "The Host header is missing.\n")
        host = _without_port(value.decode("latin-1"))
        if host in _LOOPBACK:
            return self._own
        if host.endswith(".localhost"):
            label = host.removesuffix(".localhost")
            site = self._find(label)
            # Another address may be open to more people than this site should be.
            if site is not None and site.host == self._own.host:
                return site
            if is_in(host, value.decode("latin-1"), config.allowed_hosts):
                return self._own
            known = ", ".join(sorted(self._labels())) or "none"
            raise _Refused(404, f"No web function has the label {label!a}; labels: {known}\n")
        if not self._is_loopback and not config.allowed_hosts:
            return self._own  # other machines know this one by any name
        if is_in(host, value.decode("latin-1"), config.allowed_hosts):
            return self._own
        raise _Refused(
            421,
            f"The Host {host!a} is not this machine's; allow it with "
            "moorage.config.allowed_hosts.\n",
        )

    def _check_page(self, headers: Headers, scope: Scope) -> None:
        """Refuse the request of a web page from elsewhere.

        Raises:
            _Refused: if the page is neither of this machine nor allowed.
        """
        origin = headers.get(b"origin")
        if origin is None:
            # Images, forms with GET, frames and links send no Origin.
            if headers.get(b"sec-fetch-site") != b"cross-site":
                return
            if (
                headers.get(b"sec-fetch-mode") == b"navigate"
                and headers.get(b"sec-fetch-dest") == b"document"
                and scope.get("method") in ("GET", "HEAD")
            ):
                return  # a person follows a link, or comes back from a login
            origin = headers.get(b"referer", b"null")
        host = headers.get(b"host", b"").decode("latin-1")
        if not is_allowed_page(origin.decode("latin-1"), host):
            raise _Refused(
                403,
                "Web pages of other origins may not call this function; allow the page's host "
                "with moorage.config.allowed_hosts, or all with moorage.config.open_cors.\n",
            )


class _Refused(Exception):
    """The answer to a request that does not pass."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status: int = status
        self.text: str = text


_READ: Final = frozenset(
    {b"host", b"origin", b"referer", b"sec-fetch-site", b"sec-fetch-mode", b"sec-fetch-dest"}
    | {b"modal-key", b"modal-secret"}
)
_LOOPBACK: Final = frozenset({"127.0.0.1", "localhost", "[::1]"})
_PORT: Final = re.compile(r":[0-9]*\Z")


def _without_port(host: str) -> str:
    """Return the name in a Host header, in lower case."""
    return _PORT.sub("", host.strip().lower()).removesuffix(".")


def is_in(host: str, with_port: str, allowed: Iterable[str]) -> bool:
    """Whether `allowed` has the host: by its name, with its port, or as ``*.name``."""
    for name in (allowed,) if isinstance(allowed, str) else allowed:
        wanted = name.lower()
        if wanted in (host, with_port.strip().lower()):
            return True
        if wanted.startswith("*.") and host.endswith(wanted[1:]):
            return True
    return False


def is_allowed_page(origin: str, host: str) -> bool:
    """Whether a page may call: it is of this machine, of the same host, or allowed.

    Args:
        origin: the Origin of the request, or the URL of the page.
        host: the Host of the request.
    """
    try:
        parts = urlsplit(origin)
        page = parts.netloc.rpartition("@")[2].lower()
    except ValueError:
        return False
    if parts.scheme not in ("http", "https") or not page:
        return False
    name = _without_port(page)
    return (
        name in _LOOPBACK
        or name.endswith(".localhost")
        or page == host.strip().lower()
        or is_in(name, page, config.allowed_hosts)
    )


def is_loopback_address(host: str) -> bool:
    """Whether only this machine reaches a port that is bound to `host`."""
    return host in ("localhost", "::1") or host.startswith("127.")


def proxy_tokens() -> Mapping[str, str]:
    """Return the tokens for ``requires_proxy_auth``: secrets by key.

    Raises:
        InvalidError: if the environment variable has another form than ``key:secret,...``.
    """
    if config.proxy_tokens is not None:
        return config.proxy_tokens
    found: dict[str, str] = {}
    for pair in os.environ.get("MOORAGE_PROXY_TOKENS", "").split(","):
        if not pair.strip():
            continue
        key, colon, secret = pair.strip().partition(":")
        if not (key and colon and secret):
            raise InvalidError(  # without the text, which may be a secret
                "MOORAGE_PROXY_TOKENS must be pairs of a key and a secret, got a pair without "
                'both; write MOORAGE_PROXY_TOKENS="wk-1:ws-1,wk-2:ws-2"'
            )
        found[key] = secret
    return found


def _check_token(site: Guarded, headers: Headers) -> None:
    """Refuse a request without one of the tokens.

    Raises:
        _Refused: if the token is missing or wrong.
    """
    try:
        tokens = proxy_tokens()
    except InvalidError:
        tokens = {"": Real.urandom(16).hex()}  # changed while the program runs: nobody comes in
    if not tokens and is_loopback_address(site.host):
        return
    key, secret = headers.get(b"modal-key"), headers.get(b"modal-secret")
    if key is None or secret is None:
        raise _Refused(401, "The headers Modal-Key and Modal-Secret are missing.\n")
    given = key + b"\0" + secret  # no header has a NUL
    is_right = False
    for known, its_secret in tokens.items():  # all of them, so that the time tells nothing
        is_right |= hmac.compare_digest(f"{known}\0{its_secret}".encode(), given)
    if not is_right:
        raise _Refused(401, "The token in Modal-Key and Modal-Secret is wrong.\n")
