"""Running and deploying an app by a function, for programs that embed Modal.

Owns ``run_app``, ``deploy_app`` and what it returns, `DeployResult`; users call them.  They are
`App.run` and `App.deploy` under the names of ``modal.runner``.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from .app import App, AppRun
from .with_aio import function_with_aio


def run_app(
    app: App,
    *,
    name: str | None = None,
    client: object = None,
    detach: bool = False,
    environment_name: str | None = None,
    interactive: bool = False,
    deployment_strategy: str = "rolling",
    stream_output: bool = True,
) -> AppRun[App]:
    """Return ``app.run(name=name, environment_name=environment_name)``.

    The other arguments are for the cloud; accepted without effect.
    """
    return app.run(name=name, environment_name=environment_name)


@dataclass(frozen=True)
class DeployResult:
    """What `deploy_app` returns: the id of the app's run.  There are no pages about the app."""

    app_id: str
    app_page_url: str | None = None
    app_logs_url: str | None = None
    warnings: list[str] = field(default_factory=list[str])


async def _deploy_app_async(
    app: App,
    name: str | None = None,
    *,
    environment_name: str | None = None,
    tag: str = "",
    deployment_strategy: str = "rolling",
    client: object = None,
    staged: bool = False,
) -> DeployResult:
    deployed = await app.deploy.aio(
        name=name, environment_name=environment_name, strategy=deployment_strategy
    )
    return _result(deployed)


@function_with_aio(_deploy_app_async)
def deploy_app(
    app: App,
    name: str | None = None,
    *,
    environment_name: str | None = None,
    tag: str = "",
    deployment_strategy: str = "rolling",
    client: object = None,
    staged: bool = False,
) -> DeployResult:
    """Deploy `app`: ``deploy_app(app)`` is ``app.deploy()``.

    `tag`, `client` and `staged` are for the cloud; accepted without effect.

    Raises:
        InvalidError: as `App.deploy`.
    """
    return _result(
        app.deploy(name=name, environment_name=environment_name, strategy=deployment_strategy)
    )


def _result(app: App) -> DeployResult:
    return DeployResult(app.app_id or "")
