"""URLs: the address of a web function in the present run.

Owns `open_url`, which begins to serve a web function at the first asking, and `open_server_url`,
which does so for a class that starts a server.  ``functions.py``, ``server.py`` and ``cls.py`` ask.
`WebFunction` is for a server of all web functions of an app, such as the command line's: it knows
what can be served before there is a run, and is served at a port that the server chooses.
``web/sites.py`` owns the ports.

Begin at `open_url`, then `WebFunction.open`, then `Others`.
"""

from __future__ import annotations

import logging
import socket
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Final

from .. import config
from ..declaring.marks import Web
from ..exception import InvalidError
from ..runtime.background import log
from ..web.extras import check_installed
from ..web.labels import check_label, label_of
from ..web.sites import AUTHENTICATED, NO_UNAUTHENTICATED, Site
from .endpoints import Place, ServerEndpoint
from .runs import Run
from .services import RunningApp, Service

logger: Final = logging.getLogger("moorage")

# The arguments of a web decorator that a class with a server does not have.
SERVER: Final = Web("web_server")


@dataclass(frozen=True)
class Listening:
    """A socket that listens, for one web function."""

    host: str  # the address that it is bound to, as the user gave it
    socket: socket.socket


@dataclass(frozen=True)
class WebFunction:
    """One web function of an app, whether or not the app runs."""

    name: str  # as messages show it: ``f``, ``Model.predict``
    web: Web
    service: Service
    place: Place
    # The port on which the program's own server listens; None if it starts none.
    own_port: int | None = None
    # The parameters of its class that a URL must give, because they have no default.
    required: tuple[str, ...] = ()
    why_token: str = AUTHENTICATED

    @property
    def needs_token(self) -> bool:
        """Whether requests need a token."""
        return self.web.requires_proxy_auth

    @property
    def label(self) -> str:
        """Its label in the run that there is, or in the run of its app that comes next."""
        return _label(self.service.web_app(), self.name, self.web)

    def open(self, listening: Listening | None = None) -> str:
        """Serve the function, unless it has a URL already; return the URL.

        Args:
            listening: the socket to serve it at: see `open_url`.

        Raises:
            ExecutionError: if the run is ending, or in strict mode if there is none.
            InvalidError: if it cannot be served: see `open_url`.
        """
        return open_url(
            self.name,
            self.web,
            self.service,
            self.place,
            listening=listening,
            why_token=self.why_token,
        )

    def adopt(self, connection: socket.socket) -> None:
        """Go on with a connection that another process has handed over.  After `open`."""
        self.service.current_run().sites.adopt(self.place.key, connection)


def server_function(
    name: str, endpoint: ServerEndpoint, own_port: int, required: tuple[str, ...] = ()
) -> WebFunction:
    """Return the web function for a class that starts a server."""
    return WebFunction(
        name,
        *_parts_of(endpoint),
        own_port=own_port,
        required=required,
        why_token=NO_UNAUTHENTICATED,
    )


def _parts_of(endpoint: ServerEndpoint) -> tuple[Web, Service, Place]:
    web = replace(SERVER, requires_proxy_auth=endpoint.needs_token)
    return web, endpoint.service, Place(endpoint.key, lambda: endpoint)


def open_server_url(endpoint: ServerEndpoint) -> str:
    """Return the URL of a class that starts a server: see `open_url`."""
    return open_url(endpoint.name, *_parts_of(endpoint), why_token=NO_UNAUTHENTICATED)


def open_url(
    name: str,
    web: Web,
    service: Service,
    place: Place,
    *,
    listening: Listening | None = None,
    why_token: str = AUTHENTICATED,
) -> str:
    """Return the URL of a web function; begin to serve the function if nobody has asked yet.

    No container is started.

    Args:
        name: the function as messages show it.
        web: its decorator's arguments.
        service: the service of its pool.
        place: how the function is served.
        listening: the socket to serve it at; if None, at `config.web_host` and a port that the
            system chooses.
        why_token: the argument by which requests need a token: see `Site`.

    Raises:
        ConflictError: if the port is taken.
        ExecutionError: if the run is ending, or in strict mode if there is none.
        InvalidError: if the run has a virtual clock, the label is wrong or taken, or an extra is
            missing.
    """
    run = service.current_run()
    if run.clock.participants is not None:
        raise InvalidError(
            f"{name} has no URL in a run with a virtual clock, because sockets are in real time; "
            f"write moorage.testing.web_client({name}) instead"
        )
    sites, app = run.sites, service.web_app()
    label = _label(app, name, web)
    if (
        web.label is not None
        and sites.holder(label) not in (None, place.key)
        and not service.is_variant
    ):
        raise InvalidError(
            f'the label "{label}" of {name} belongs to another web function of this run; '
            "write another label="
        )

    def make() -> Site:
        check_installed(name, web.kind)
        needs, others = web.requires_proxy_auth, Others(app, run)
        host, given = config.web_host, None
        if listening is not None:
            host, given = listening.host, listening.socket
        return Site(
            place.make(), label, needs, host, listening=given, why_token=why_token, others=others
        )

    site = sites.open(place.key, make, takes_label=not service.is_variant)
    return f"{site.url}/?{place.query}" if place.query else site.url


def _label(app: RunningApp, name: str, web: Web) -> str:
    """Return the label of a web function.

    Raises:
        InvalidError: if the program gives a label that no host can have.
    """
    if web.label is not None:
        return check_label(web.label)
    suffix = "" if app.is_deployed else f"-{config.config.get('dev_suffix') or 'dev'}"
    return label_of(app.name, name, suffix=suffix)


class Others:
    """The web functions of a run whose URLs nobody has asked for yet: see `Unopened`.

    The HTTP thread asks.  No user code runs, and no container starts.
    """

    def __init__(self, app: RunningApp, run: Run) -> None:
        self._app = app
        self._run = run

    def open(self, label: str) -> None:
        """See `Unopened.open`."""
        for function in self._functions():
            if self._label_of(function) != label:
                continue
            # An app that runs no more would open an ambient run.
            if function.service.open_run is self._run:
                try:
                    function.open()
                except Exception as error:
                    log(logger, logging.WARNING, "%s is not served: %s", function.name, error)
            return

    def labels(self) -> list[str]:
        """See `Unopened.labels`."""
        return [label for label in map(self._label_of, self._functions()) if label]

    def _functions(self) -> Iterable[WebFunction]:
        functions: Iterable[WebFunction] = self._app.app._web_functions(skip_wrong=True)
        return functions

    def _label_of(self, function: WebFunction) -> str | None:
        try:
            return _label(self._app, function.name, function.web)
        except InvalidError:
            return None
