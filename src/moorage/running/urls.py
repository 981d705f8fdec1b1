"""URLs: the address of a web function in the present run.

Owns `open_url`, which begins to serve a web function at the first asking, and `open_server_url`,
which does so for a class that starts a server.  ``functions.py``, ``server.py`` and ``cls.py`` ask.
``web/sites.py`` owns the ports.

Begin at `open_url`, then `Others`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Final, NamedTuple

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


def open_server_url(endpoint: ServerEndpoint) -> str:
    """Return the URL of a class that starts a server: see `open_url`."""
    service = endpoint.service
    web = replace(SERVER, requires_proxy_auth=endpoint.needs_token)
    place = Place(endpoint.key, lambda: endpoint)
    return open_url(endpoint.name, web, service, place, why_token=NO_UNAUTHENTICATED)


def open_url(
    name: str, web: Web, service: Service, place: Place, *, why_token: str = AUTHENTICATED
) -> str:
    """Return the URL of a web function; begin to serve the function if nobody has asked yet.

    No container is started.

    Args:
        name: the function as messages show it.
        web: its decorator's arguments.
        service: the service of its pool.
        place: how the function is served.
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
        return Site(place.make(), label, needs, config.web_host, why_token=why_token, others=others)

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
                    function.open_url()
                except Exception as error:
                    log(logger, logging.WARNING, "%s is not served: %s", function.name, error)
            return

    def labels(self) -> list[str]:
        """See `Unopened.labels`."""
        return [label for label in map(self._label_of, self._functions()) if label]

    def _functions(self) -> Iterable[WebFunction]:
        functions: Iterable[WebFunction] = self._app.app._web_functions()
        return functions

    def _label_of(self, function: WebFunction) -> str | None:
        try:
            return _label(self._app, function.name, function.web)
        except InvalidError:
            return None


class WebFunction(NamedTuple):
    """A web function of an app, as the app lists it."""

    name: str
    web: Web
    service: Service
    open_url: Callable[[], object]
