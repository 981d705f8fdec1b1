"""``moorage requirements``: what the images of a program would install.

Owns the command.  Nothing is installed by a run, so this is what to install beforehand.  Images
keep the lines (``Image._requirements``).

Begin at `requirements`.
"""

from __future__ import annotations

from collections.abc import Iterator
from types import ModuleType

import click

from ..cls import Cls
from ..functions import Function
from ..image import Image
from .choosing import apps_of
from .errors import CommandError
from .loading import load, prepare
from .options import environment_option, module_option, profile_option
from .reference import Reference


@click.command(short_help="Print what the images of a program install.", no_args_is_help=True)
@module_option
@environment_option
@profile_option
@click.argument("program", metavar="FILE")
@click.pass_context
def requirements(
    ctx: click.Context,
    /,
    is_module: bool,
    environment: str | None,
    profile: str | None,
    program: str,
) -> None:
    """Print what the images of a program install, as a requirements.txt.

    What pip cannot install is in comments: packages of Debian, commands, images of a registry.

    \b
        moorage requirements app.py > requirements.txt
        pip install -r requirements.txt
    """
    wanted = Reference.read(program, is_module=is_module, command=ctx.command_path)
    prepare(environment=environment)
    module = load(wanted)
    if not apps_of(module):
        raise CommandError(f"The '{wanted.program}' {wanted.kind} has no App.")
    seen: set[str] = set()
    for image, users in _images(module):
        lines = [line for line in image._requirements if line not in seen]
        seen.update(lines)
        if lines:
            click.echo(f"# of {', '.join(users)}")
            for line in lines:
                click.echo(line)


def _images(module: ModuleType) -> Iterator[tuple[Image, list[str]]]:
    """Yield the images of all functions and classes of a module's apps, with their names."""
    users: dict[Image, list[str]] = {}
    for _, app in apps_of(module):
        named: dict[str, Function[..., object, object] | Cls] = {
            **app._functions_by_name(),
            **app._classes_by_name(),
        }
        for name, user in named.items():
            options = user._options if isinstance(user, Cls) else user._service.options
            image = None if options.needs is None else options.needs.image
            if image is not None and name not in users.setdefault(image, []):
                users[image].append(name)
        # The server classes of an app, and the image of the app itself, if nothing else has it.
        if app._image is not None:
            users.setdefault(app._image, [app.name or "the app"])
    yield from users.items()
