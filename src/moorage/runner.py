"""Running and deploying an app by a function, for programs that embed Modal.

Owns ``run_app`` and ``deploy_app``; users call them.  They are `App.run` and `App.deploy` under
the names of ``modal.runner``.
"""

from __future__ import annotations

from .app import App, AppRun
from .with_aio import function_with_aio


def run_app(
    app: App,
    *,
    client: object = None,
    detach: bool = False,
    environment_name: str | None = None,
    interactive: bool = False,
) -> AppRun[App]:
    """Return ``app.run()``: ``with run_app(app):`` is ``with app.run():``.

    The other arguments are for the cloud; accepted without effect.
    """
    return app.run()


async def _deploy_app_async(
    app: App,
    name: str | None = None,
    environment_name: str | None = None,
    client: object = None,
    tag: str = "",
    strategy: str = "rolling",
) -> App:
    return await app.deploy.aio(name=name, strategy=strategy)


@function_with_aio(_deploy_app_async)
def deploy_app(
    app: App,
    name: str | None = None,
    environment_name: str | None = None,
    client: object = None,
    tag: str = "",
    strategy: str = "rolling",
) -> App:
    """Deploy `app`: ``deploy_app(app)`` is ``app.deploy()``.

    `environment_name`, `client` and `tag` are for the cloud; accepted without effect.

    Raises:
        InvalidError: as `App.deploy`.
    """
    return app.deploy(name=name, strategy=strategy)
