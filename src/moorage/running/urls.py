"""URLs: the address of a web function in the present run.

Owns `open_url`, which begins to serve a web function at the first asking, and `open_server_url`,
which does so for a class that starts a server.  ``functions.py``, ``server.py`` and ``cls.py`` ask.
``web/sites.py`` owns the ports.

Begin at `open_url`.
"""

from __future__ import annotations

from .. import config
from ..declaring.marks import Web
from ..exception import InvalidError
from ..web.labels import check_label, label_of
from ..web.sites import AUTHENTICATED, NO_UNAUTHENTICATED, Site
from .endpoints import Place, ServerEndpoint
from .services import Service


def open_server_url(endpoint: ServerEndpoint) -> str:
    """Return the URL of a class that starts a server: see `open_url`."""
    service = endpoint.service
    web = Web("web_server", requires_proxy_auth=endpoint.needs_token)
    place = Place((service.key, ServerEndpoint), lambda: endpoint)
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
    sites = run.sites
    if web.label is None:
        app, is_deployed = service.web_app()
        suffix = "" if is_deployed else f"-{config.config.get('dev_suffix') or 'dev'}"
        label = label_of(app, name, suffix=suffix)
    else:
        label = check_label(web.label)
        if sites.holder(label) not in (None, place.key) and not service.is_variant:
            raise InvalidError(
                f'the label "{label}" of {name} belongs to another web function of this run; '
                "write another label="
            )

    def make() -> Site:
        needs = web.requires_proxy_auth
        return Site(place.make(), label, needs, config.web_host, why_token=why_token)

    site = sites.open(place.key, make, takes_label=not service.is_variant)
    return f"{site.url}/?{place.query}" if place.query else site.url
