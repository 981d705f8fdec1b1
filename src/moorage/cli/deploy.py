"""``moorage deploy``: a server in the foreground, for one app or several.

Owns the command: it imports each program, deploys its app in this process, and serves the web
functions until SIGTERM or Ctrl-C.  All programs share the process, so ``from_name`` in one of them
finds the apps of the others.

Begin at `deploy`, then `_Deployment.add`, then `_Deployment.wait`.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

import click

from ..app import App
from ..exception import Error
from ..running import deployments
from ..running.runs import Run, close_runs
from ..runtime.clocks.clock import system_clock
from ..runtime.garbage import keep_what_is_there
from .addresses import Addresses, Served, check_served
from .apps import app_of, check_reference
from .ending import EndingSignals
from .errors import CommandError, shown_error
from .loading import check_imports, load
from .mounts import mount, mounts_option
from .options import (
    complete_files,
    environment_option,
    module_option,
    profile_option,
)
from .placing import placement_note, placement_option
from .progress import Output, duration
from .reference import Reference
from .serve import address_options
from .serving import TERMINATED, Settings, Signals, lines_of, open_sites, reserve, web_functions

# Seconds that SIGTERM gives to what was accepted.
DRAIN = 8.0


@click.command(no_args_is_help=True, short_help="Keep apps running and serve them, here.")
@module_option
@click.option("--name", help="Name to deploy the app under; by default the app's own.")
@address_options
@click.option(
    "--drain",
    type=click.FloatRange(0),
    default=DRAIN,
    show_default=True,
    metavar="SECONDS",
    help="How long SIGTERM waits for what was accepted.",
)
@mounts_option
@environment_option
@click.option("--tag", default="", help="Accepted for Modal's sake: there are no versions.")
@click.option(
    "--strategy",
    type=click.Choice(["rolling", "recreate"]),
    default="rolling",
    help="Accepted for Modal's sake: nothing is replaced.",
)
@click.option(
    "--stream-logs/--no-stream-logs",
    default=True,
    help="Accepted for Modal's sake: logs are always shown.",
)
@click.option("--timestamps", is_flag=True, help="Show the time before each line of ours.")
@placement_option
@profile_option
@click.argument(
    "references", metavar="APP_REF...", nargs=-1, required=True, shell_complete=complete_files
)
@click.pass_context
def deploy(
    ctx: click.Context,
    /,
    is_module: bool,
    name: str | None,
    host: str,
    port: int,
    allowed_hosts: tuple[str, ...],
    open_cors: bool,
    drain: float,
    mounts: str,
    environment: str | None,
    tag: str,
    strategy: str,
    stream_logs: bool,
    timestamps: bool,
    placement: str | None,
    profile: str | None,
    references: tuple[str, ...],
) -> None:
    """Deploy apps in this process, and serve them until it ends.

    \b
        moorage deploy app.py
        moorage deploy model.py web.py::frontend
        moorage deploy -m package.module --name shop

    Apps of several files find each other by from_name. Schedules run. SIGTERM finishes what was
    accepted, within --drain, and exits with 0; with 143 if that was too short.
    """
    wanted = [
        Reference.read(each, is_module=is_module, command=ctx.command_path) for each in references
    ]
    for each in wanted:
        check_reference(each)
    if name is not None and len(wanted) > 1:
        raise click.UsageError("--name is for one app; leave it out, or deploy one file", ctx)
    output = Output(timestamps=timestamps)
    if note := placement_note(placement):
        output.say(note)
    Settings(host, environment, allowed_hosts, open_cors, mounts, placement).apply()
    signals = Signals()
    deployment = _Deployment(Addresses(host, port), output, signals)
    ending = EndingSignals("SIGHUP")
    try:
        with ending.taken():
            for each in wanted:
                deployment.add(each, name)
            is_clean = deployment.wait(drain)
    except KeyboardInterrupt:
        output.say("Stopped.")
        raise click.exceptions.Exit(ending.code) from None
    finally:
        try:
            deployment.close()
        finally:
            signals.restore()
    if not is_clean:
        output.say("Stopped before all of it was finished.")
        raise click.exceptions.Exit(TERMINATED)
    output.say("Stopped.")


class _Deployment:
    """The apps of this process that the command has deployed."""

    def __init__(self, addresses: Addresses, output: Output, signals: Signals) -> None:
        self._signals = signals
        self._addresses = addresses
        self._output = output
        self._apps: dict[str, App] = {}
        self._functions: list[Served] = []

    def add(self, wanted: Reference, name: str | None) -> None:
        """Import a program, deploy its app, and serve its web functions.

        Raises:
            CommandError: if the app has no name, or a name that is deployed already, or if it
                cannot be served.
        """
        began = system_clock.now()
        if self._apps:
            check_imports(wanted)
        with self._signals.importing():
            module = load(wanted)
        app = app_of(module, wanted)
        shown = name or app.name
        if not shown:
            raise CommandError(
                "You need to either supply an explicit deployment name to the command, or have a "
                "name set on the app.",
                f"Examples:\n    {wanted.command} {wanted.shown} --name my-app\n"
                '    app = modal.App("my-app")',
            )
        if shown in self._apps:
            raise CommandError(
                f"{wanted.shown} has an app of the name {shown!r}, and that name is deployed "
                "already; give one of the apps another name."
            )
        functions = web_functions(app)
        served = [Served.of(one) for one in functions]
        self._functions += served
        check_served(self._functions, self._addresses.host)
        sockets = self._addresses.take(served)  # nothing starts if a port is taken
        try:
            mounted = mount(app)
            reserve(app, functions, self._addresses.host, sockets)
            if not self._apps:  # else containers may have run hooks
                keep_what_is_there()
            app.deploy(name=shown)
            self._apps[shown] = app
            urls = open_sites(functions, self._addresses.host, sockets)
        except Error as error:
            raise CommandError(str(error)) from None
        except Exception as error:
            raise shown_error(error) from None
        if len(self._apps) == 1:
            self._output.say(f"Deployed here, until this process ends (pid {os.getpid()}):")
        took = duration(system_clock.now() - began)
        self._output.say(f"{shown}, of {wanted.shown}, after {took}")
        for line in [*([f"  {mounted}"] if mounted else []), *lines_of(served, urls)]:
            self._output.say(line)

    def wait(self, drain: float) -> bool:
        """Wait for SIGTERM, and then for what was accepted; return whether all of it ended.

        Raises:
            KeyboardInterrupt: at Ctrl-C.
        """
        self._output.say("Ctrl-C stops; SIGTERM finishes first what was accepted.")
        self._signals.wait()
        self._output.say(f"SIGTERM: finishing what was accepted, for {drain:g} s at most.")
        return self._signals.drain(self._runs(), drain)

    def _runs(self) -> Sequence[Run]:
        runs = dict.fromkeys(app._runs.open_run() for app in self._apps.values())
        return [run for run in runs if run is not None]

    def close(self) -> None:
        """End all runs, together; then the apps are deployed no more."""
        try:
            close_runs(self._runs())
        finally:
            for name, app in self._apps.items():
                if name in deployments.names():
                    app._runs.stop()
