"""``moorage serve``: serves the web functions of an app, and reloads the program when it changes.

Owns the command and its options, and serving without reloading, in this process.
``supervisor.py`` owns the reloading.

Begin at `serve`, then `_serve_here`.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, TypeVar

import click

from .. import config
from .addresses import FIRST, Addresses, Served, check_served
from .apps import app_of, check_reference, describe
from .ending import EndingSignals
from .errors import shown_error
from .loading import load
from .mounts import mount, mounts_option
from .options import (
    complete_files,
    environment_option,
    module_option,
    profile_option,
)
from .placing import placement_note, placement_option
from .progress import Output
from .reference import STDIN, Reference
from .serving import (
    TERMINATED,
    Settings,
    Signals,
    lines_of,
    open_sites,
    reserve,
    web_functions,
)
from .supervisor import Supervisor
from .watching import check_installed

F = TypeVar("F", bound=Callable[..., Any])


def address_options(function: F) -> F:
    """``--host``, ``--port``, ``--allow-host`` and ``--open-cors``."""
    for option in (
        click.option("--open-cors", is_flag=True, help="Let web pages of all origins call."),
        click.option(
            "--allow-host",
            "allowed_hosts",
            multiple=True,
            metavar="NAME",
            help="Answer under this name, too, and let its web pages call; may be repeated.",
        ),
        click.option(
            "--port",
            type=click.IntRange(0, 65535),
            default=FIRST,
            show_default=True,
            help="The port of the first web function; the others follow. 0: the system chooses.",
        ),
        click.option(
            "--host",
            default="127.0.0.1",
            show_default=True,
            metavar="ADDRESS",
            help="The address to listen at; 0.0.0.0 lets other machines in.",
        ),
    ):
        function = option(function)
    return function


@click.command(no_args_is_help=True, short_help="Serve the web functions of an app; reload it.")
@module_option
@click.option("-n", "--name", help="Name of the app for this run.")
@click.option("--timeout", type=float, metavar="SECONDS", help="Stop after so long, with exit 0.")
@address_options
@click.option("--no-reload", is_flag=True, help="Serve in this process, for debuggers.")
@mounts_option
@environment_option
@click.option("--timestamps", is_flag=True, help="Show the time before each line of ours.")
@placement_option
@profile_option
@click.argument("reference", metavar="APP_REF", shell_complete=complete_files)
@click.pass_context
def serve(
    ctx: click.Context,
    /,
    is_module: bool,
    name: str | None,
    timeout: float | None,
    host: str,
    port: int,
    allowed_hosts: tuple[str, ...],
    open_cors: bool,
    no_reload: bool,
    mounts: str,
    environment: str | None,
    timestamps: bool,
    placement: str | None,
    profile: str | None,
    reference: str,
) -> None:
    """Serve all web functions of an app, and start it anew when its files change.

    APP_REF is a file or, with -m, a module; and the variable of the app behind "::", unless that
    is "app":

    \b
        moorage serve app.py
        moorage serve app.py::web
        moorage serve -m package.module --port 9000

    Each web function has a port of its own, in the order of definition, which it keeps. While one
    version of the program follows the other, no connection is refused. Schedules run, too.
    """
    wanted = Reference.read(reference, is_module=is_module, command=ctx.command_path)
    check_reference(wanted)
    output = Output(timestamps=timestamps)
    settings = Settings(host, environment, allowed_hosts, open_cors, mounts, placement)
    if note := placement_note(placement):
        output.say(note)
    if timeout is None:
        timeout = config.config.get("serve_timeout")
    addresses = Addresses(host, port)
    if no_reload or wanted.program == STDIN:  # what does not change
        _serve_here(wanted, settings, addresses, name, timeout, output)
        return
    check_installed()
    supervisor = Supervisor(wanted, settings, addresses, name=name, timeout=timeout, say=output.say)
    sys.exit(supervisor.run())


def _serve_here(
    wanted: Reference,
    settings: Settings,
    addresses: Addresses,
    name: str | None,
    timeout: float | None,
    output: Output,
) -> None:
    """Serve in this process until Ctrl-C, SIGTERM or the end of `timeout`."""
    settings.apply()
    app = app_of(load(wanted), wanted)
    if name is not None:
        app._runs.description = name
    describe(app, wanted)
    functions = web_functions(app)
    served = [Served.of(one) for one in functions]
    check_served(served, addresses.host)
    sockets = addresses.take(served)  # nothing starts if a port is taken
    ending = EndingSignals("SIGHUP")
    try:
        mounted = mount(app)
        if mounted:
            output.say(mounted)
        reserve(app, functions, addresses.host, sockets)
        with ending.taken(), app.run(name=name):
            signals = Signals()
            try:
                urls = open_sites(functions, addresses.host, sockets)
                for line in lines_of(served, urls):
                    output.say(line)
                output.say("Serving, without reloading. Ctrl-C stops the app.")
                event = signals.wait(timeout)
            finally:
                signals.restore()
    except KeyboardInterrupt:
        output.say("Stopped.")
        raise click.exceptions.Exit(ending.code) from None
    except Exception as error:
        raise shown_error(error) from None
    if event is not None:
        raise click.exceptions.Exit(TERMINATED)
