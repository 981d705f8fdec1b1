"""The FastAPI application around a function under ``fastapi_endpoint``.

Owns the shape of that application: one route at ``/``, open to all origins, without documentation
unless it is asked for.  The shape is Modal's.  The only file that imports FastAPI.

Begin at `make_fastapi`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

from ..declaring.marks import Web
from .exchange import Application
from .extras import not_installed


def make_fastapi(name: str, function: Callable[..., Any], web: Web) -> Application:
    """Return the application that answers with `function`, the user's own or a bound method.

    Raises:
        InvalidError: if FastAPI is not installed.
    """
    try:
        from fastapi import FastAPI
        from fastapi.middleware.cors import CORSMiddleware
    except ImportError as error:
        raise not_installed(name, "fastapi_endpoint") from error
    application = FastAPI(openapi_url="/openapi.json" if web.docs else None)
    application.add_middleware(
        CORSMiddleware,
        allow_origins=["*"],
        allow_credentials=True,
        allow_methods=["*"],
        allow_headers=["*"],
    )
    application.add_api_route("/", function, methods=[web.method or "GET"])
    return cast("Application", application)
