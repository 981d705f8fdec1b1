"""Endpoints: how the requests of a web function come to its pool.

Owns `FunctionEndpoint`, `ClassEndpoint` and `ServerEndpoint`, which the bridge (``web/bridge.py``)
asks, and `Place`, which says how one web function is served.  ``functions.py``, ``cls.py`` and
``server.py`` make them.

Begin at `FunctionEndpoint.submit`, then `ClassEndpoint.submit`, then `values_of`.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote_plus, unquote_to_bytes

from ..declaring.declarations import Declarations
from ..declaring.marks import REQUIRED, Serves
from ..exception import InvalidError, InvalidUseError
from ..runtime.clocks.clock import Clock
from ..runtime.clocks.participants import Participants
from ..runtime.containers.residents import make_visit_target
from ..runtime.input import Input, Target
from ..runtime.pools.pool import Pool
from ..runtime.real import Real
from ..web.bridge import Endpoint, TooManyRequests, WrongQuery
from ..web.crossing import Crossing, packed_request
from .services import Service


@dataclass(frozen=True)
class Place:
    """How one web function is served: behind which port of its run, and by which endpoint."""

    key: Hashable  # web functions with equal keys have one port
    make: Callable[[], Endpoint]
    # A service of the app, to ask for its run.  None: that of the function.
    service: Service | None = None
    query: str = ""  # the parameters of an instance, for its URL
    # Makes the endpoint of a client in a test, which has no URL: `query` holds for each parameter
    # that the query of a request does not give.  None if the class has no parameters.
    make_for_client: Callable[[], ClassEndpoint] | None = None


class FunctionEndpoint:
    """The endpoint of one web function.  See `Endpoint`."""

    def __init__(self, target: Target, service: Service) -> None:
        self.name: str = target.name
        self.resident: str = target.name
        self.target: Target = make_visit_target(target.name, is_method=target.is_method)
        self._service = service

    @property
    def clock(self) -> Clock:
        """The clock of the run that takes the next request."""
        return self._service.current_run().clock

    def submit(self, inputs: Sequence[Input], scope: Any) -> Pool:
        """See `Endpoint.submit`."""
        return _submit(self._service, inputs)


class ServerEndpoint:
    """The endpoint of a class whose enter hooks start a server.  See `Endpoint`.

    Args:
        services: one service, or the services of the parameters in the query.
        key: the endpoint's place in its run; None for the key of the service.
    """

    def __init__(
        self,
        target: Target,
        services: Service | ByQuery,
        serves: Serves,
        key: Hashable | None = None,
    ) -> None:
        self.name: str = target.name
        self.resident: str = target.name
        self.target: Target = target
        self.needs_token: bool = serves.needs_token
        self.target_concurrency: float | None = serves.target_concurrency
        self.scaleup_window: int | None = serves.scaleup_window
        self._services = services if isinstance(services, ByQuery) else None
        self.service: Service = services.app_service if isinstance(services, ByQuery) else services
        self.key: Hashable = (self.service.key if key is None else key, ServerEndpoint)
        self._most = serves.max_concurrency
        # Held while a request is counted and submitted, so that `_most` is never exceeded.
        self._lock = Real.Lock()

    @property
    def clock(self) -> Clock:
        """The clock of the run that takes the next request."""
        return self.service.current_run().clock

    def submit(self, inputs: Sequence[Input], scope: Any) -> Pool:
        """See `Endpoint.submit`.

        Raises:
            TooManyRequests: if `max_concurrency` requests wait or run.
            WrongQuery: if the query does not give the parameters of the class.
        """
        service = self.service if self._services is None else self._services.find(scope)
        if not self._most:
            return _submit(service, inputs)
        with self._lock:
            run = service.current_run()
            pool = run.pools.get(service.key)
            if pool is not None:
                seen = pool.statistics()
                if seen.queued + seen.running + len(inputs) > self._most:
                    raise TooManyRequests(
                        f"{self.name} has {self._most} requests already, its max_concurrency"
                    )
            return _submit(service, inputs)


def _submit(service: Service, inputs: Sequence[Input]) -> Pool:
    while True:
        run = service.current_run()
        participants = run.clock.participants
        if participants is not None:
            _refuse_real_loop(participants)
        pool = run.pools.get(service.key)
        if pool is None:
            pool = run.pool(service.key, service.maker(run))
        for input in inputs:
            exchange = input.args[0]
            exchange.counts = pool.tally.web
            if pool.options.is_placed:
                exchange.will_cross(packed_request(exchange), Crossing)
        if pool.submit(inputs):
            return pool
        run.drop(service.key, pool)


def _refuse_real_loop(participants: Participants) -> None:
    """Refuse a front on a loop in real time, whose program makes the mistake.

    Raises:
        InvalidUseError: which the bridge raises in that program.
    """
    try:
        participants.refuse_real_loop("asgi(f), or web_client(f),")
    except InvalidError as error:
        raise InvalidUseError(str(error)) from None


class ByQuery:
    """The services of a class whose parameters come in the query, one for each set of values.

    Args:
        declared: what the class declares.
        app_service: any service of the class's app, to ask for its run.
        make_service: makes the service of a set of values.
        given: values that hold if the query does not give others.
    """

    def __init__(
        self,
        declared: Declarations,
        app_service: Service,
        make_service: Callable[[dict[str, Any]], Service],
        given: Mapping[str, Any] | None = None,
    ) -> None:
        self.app_service: Service = app_service
        self._declared = declared
        self._make_service = make_service
        self._given = dict(given or {})
        # The services of values that came lately, which cost more to make than a request.
        # Used on the loop of the front only.
        self._services: dict[tuple[tuple[str, str], ...], Service] = {}

    def find(self, scope: Any) -> Service:
        """Return the service of a request.

        Raises:
            WrongQuery: if the query does not give the parameters of the class.
        """
        values = values_of(scope["query_string"], self._declared, self._given)
        key = tuple((name, repr(value)) for name, value in values.items())
        service = self._services.get(key)
        if service is None:
            service = self._make_service(values)
            if len(self._services) >= KEPT:
                self._services.clear()
            self._services[key] = service
        return service


class ClassEndpoint:
    """The endpoint of one web method of a class whose parameters come in the query.

    Each set of values has its own pool.
    """

    def __init__(self, target: Target, services: ByQuery) -> None:
        self.name: str = target.name
        self.resident: str = target.name
        self.target: Target = make_visit_target(target.name, is_method=True)
        self._services = services

    @property
    def clock(self) -> Clock:
        """The clock of the run that takes the next request."""
        return self._services.app_service.current_run().clock

    def submit(self, inputs: Sequence[Input], scope: Any) -> Pool:
        """See `Endpoint.submit`."""
        return _submit(self._services.find(scope), inputs)


# The most services that an endpoint keeps.
KEPT: Final = 256


def values_of(
    query: bytes, declared: Declarations, otherwise: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """Return the values that a query gives to the parameters of a class.

    Other names are the application's.  If a name comes twice, the last value counts.  `otherwise`
    has values for parameters that the query does not give.

    Raises:
        WrongQuery: if a value cannot be read as its type, or is missing.
    """
    given: dict[str, Any] = dict(otherwise or {})
    if query:
        names = {name.encode(): name for name in declared.types}
        for field in query.split(b"&"):
            raw_name, _, value = field.partition(b"=")
            name = names.get(raw_name)
            if name is None and (b"%" in raw_name or b"+" in raw_name):
                name = names.get(_unquote(raw_name))
            if name is not None:
                given[name] = _read(name, declared.types[name], _unquote(value))
    for name in declared.types:
        if name not in given and declared.parameters[name].default is REQUIRED:
            raise WrongQuery(f"The parameter {name} is missing; write ?{name}=... in the URL.\n")
    return given


def _unquote(text: bytes) -> bytes:
    return unquote_to_bytes(text.replace(b"+", b" "))


_TRUE: Final = frozenset({"true", "1", "yes", "on", "t", "y"})
_FALSE: Final = frozenset({"false", "0", "no", "off", "f", "n"})


def _read(name: str, wanted: type, value: bytes) -> str | int | bool | bytes:
    try:
        if wanted is bytes:
            # Both alphabets; a "+" that was not quoted came as a space; "=" may be left out.
            text = value.replace(b" ", b"+").replace(b"-", b"+").replace(b"_", b"/").rstrip(b"=")
            return base64.b64decode(text + b"=" * (-len(text) % 4), validate=True)
        shown = value.decode()
        if wanted is int:
            return int(shown)
        if wanted is bool:
            if shown.strip().lower() in _TRUE:
                return True
            if shown.strip().lower() in _FALSE:
                return False
            raise ValueError(shown)
    except (ValueError, binascii.Error):
        kind = {int: "a whole number", bool: "true or false", bytes: "bytes in base64"}
        raise WrongQuery(
            f"The parameter {name} must be {kind.get(wanted, 'text in UTF-8')}.\n"
        ) from None
    return shown


def query_of(values: Mapping[str, Any]) -> str:
    """Return the query that gives `values` to the parameters of a class."""
    fields: list[str] = []
    for name, value in values.items():
        if value is None:
            continue  # the default: see `Declarations.bind`
        if isinstance(value, bytes):
            text = base64.urlsafe_b64encode(value).decode()
        elif isinstance(value, bool):
            text = "true" if value else "false"
        else:
            text = str(value)
        fields.append(f"{quote_plus(name)}={quote_plus(text)}")
    return "&".join(fields)
