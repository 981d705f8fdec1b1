"""``moorage run``: runs an entrypoint, a function or a method of a program.

Owns the command and its options.  ``loading.py`` imports the program, ``choosing.py`` chooses what
is run, ``parameters.py`` makes its options, ``progress.py`` says how the run gets on.

Begin at `run`, then `program_command`, then `_Program.perform`.
"""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from .. import config
from ..app import LocalEntrypoint
from ..placing import terminal
from ..runtime.clocks.clock import system_clock
from ..runtime.kinds import Kind, kind_of
from .apps import describe
from .choosing import (
    Candidate,
    Method,
    candidates_of,
    choose,
    documentation_of,
    matching,
    show_listing,
)
from .ending import EndingSignals
from .errors import CommandError, shown_error
from .loading import load, prepare
from .mounts import mount, mounts_option
from .options import (
    complete_files,
    environment_option,
    module_option,
    profile_option,
)
from .parameters import Parameters, hints_of, parameters_of
from .placing import place_containers, placement_note, placement_option
from .progress import Output, duration
from .reference import STDIN, Reference


@dataclass(frozen=True)
class RunOptions:
    """The options of ``moorage run``."""

    name: str | None
    write_result: str | None
    quiet: bool
    detach: bool
    interactive: bool
    timestamps: bool


class _ReferenceArgument(click.Argument):
    """An argument that the usage line of the program's own command does not repeat."""

    def get_usage_pieces(self, ctx: click.Context) -> list[str]:
        return []


class _RunCommand(click.Command):
    """The command `run`, whose arguments end with those of the program."""

    def collect_usage_pieces(self, ctx: click.Context) -> list[str]:
        return [*super().collect_usage_pieces(ctx), "FUNC_REF", "[ARGS]..."]

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        if not args and not ctx.resilient_parsing and _is_piped():
            raise _missing(ctx)
        return super().parse_args(ctx, args)


def _missing(ctx: click.Context) -> click.UsageError:
    hint = " To run the program on the standard input, write -." if _is_piped() else ""
    return click.UsageError(f"Missing argument 'FUNC_REF'.{hint}", ctx)


@click.command(
    cls=_RunCommand,
    no_args_is_help=True,
    context_settings={"allow_interspersed_args": False},
    short_help="Run a function or local entrypoint of a program.",
)
@module_option
@click.option("-n", "--name", help="Name of this run.")
@click.option(
    "-w",
    "--write-result",
    metavar="PATH",
    help="Write the return value (str or bytes) to this file.",
)
@click.option("-q", "--quiet", is_flag=True, help="Show no progress; errors are shown.")
@click.option(
    "-d",
    "--detach",
    is_flag=True,
    help="When the program has ended, wait for what it has spawned.",
)
@click.option(
    "-i",
    "--interactive",
    is_flag=True,
    help="Let containers read at the terminal, as for breakpoint().",
)
@environment_option
@click.option("--timestamps", is_flag=True, help="Show the time before each line of progress.")
@mounts_option
@placement_option
@profile_option
@click.argument(
    "reference",
    cls=_ReferenceArgument,
    required=False,
    default=None,
    shell_complete=complete_files,
)
@click.argument("arguments", cls=_ReferenceArgument, nargs=-1, type=click.UNPROCESSED)
@click.pass_context
def run(
    ctx: click.Context,
    /,
    is_module: bool,
    environment: str | None,
    mounts: str,
    placement: str | None,
    profile: str | None,
    reference: str | None,
    arguments: tuple[str, ...],
    **options: Any,
) -> None:
    """Run a function, a method or a local entrypoint of a program.

    FUNC_REF is a file, with what to run behind "::" if there are several:

    \b
        moorage run app.py
        moorage run app.py::main --size 3
        moorage run app.py::Model.predict --text hello
        moorage run -m package.module::main
        cat app.py | moorage run -

    The options behind FUNC_REF are the program's; `moorage run app.py --help` shows them.
    """
    if reference is None:
        raise _missing(ctx)
    given = RunOptions(**options)
    if given.interactive and given.quiet:
        raise CommandError("To use interactive mode, remove the --quiet flag.")
    if given.interactive and reference.partition("::")[0] == STDIN:
        raise CommandError(
            "To use interactive mode, give a file: the program on the standard input has no "
            "standard input of its own."
        )
    wanted = Reference.read(reference, is_module=is_module, command=ctx.command_path)
    output = Output(quiet=given.quiet, timestamps=given.timestamps)
    ending = EndingSignals("SIGTERM", "SIGHUP")
    with ending.taken(), output.beside_the_program():
        try:
            prepare(environment=environment, mounts=mounts)
            note = placement_note(placement)
            place_containers(placement)
            if given.interactive:
                terminal.shared.sharing = terminal.shared.sharing._replace(is_interactive=True)
            if note:
                output.say(note)
            _run(ctx, wanted, arguments, given, output)
        except KeyboardInterrupt:
            click.echo(f"Aborted! {ending.name} stopped the program.", err=True)
            raise click.exceptions.Exit(ending.code) from None


def _run(
    ctx: click.Context,
    wanted: Reference,
    arguments: Sequence[str],
    options: RunOptions,
    output: Output,
) -> None:
    module = load(wanted)
    candidates = candidates_of(module)
    if _asks_for_help(arguments) and len(matching(candidates, wanted.name)) != 1:
        named = [candidate for candidate in candidates if candidate.is_named(wanted.name)]
        if named:
            show_listing(wanted, named)
            return
    chosen = choose(wanted, candidates, has_arguments=bool(arguments))
    describe(chosen.app, wanted, arguments)
    program = _Program(chosen, module.__name__, options, output)
    command = program_command(program)
    with command.make_context(wanted.shown, list(arguments), parent=ctx) as inner:
        command.invoke(inner)


def _asks_for_help(arguments: Sequence[str]) -> bool:
    before = arguments[: arguments.index("--")] if "--" in arguments else arguments
    return "--help" in before or "-h" in before


def program_command(program: _Program) -> click.Command:
    """Return the command with the options of the program.

    Raises:
        CommandError: if a parameter cannot be an option, or a function cannot be run.
    """
    takes_rest = program.takes_rest
    more = {"ignore_unknown_options": True, "allow_extra_args": True} if takes_rest else {}

    @click.pass_context
    def perform(ctx: click.Context, /, **values: Any) -> None:
        program.perform(ctx.args, values)

    return _ProgramCommand(
        None,
        callback=perform,
        params=list(program.options),
        help=documentation_of(program.chosen.runnable) or None,
        context_settings={"allow_interspersed_args": True, **more},
    )


class _ProgramCommand(click.Command):
    """The command with the options of the program."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        try:
            return super().parse_args(ctx, args)
        except click.UsageError as error:
            # Some of click's errors have no context, and would get that of `moorage run`.
            error.ctx = error.ctx or ctx
            raise


class _Program:
    """What of a program is run, with its parameters."""

    def __init__(self, chosen: Candidate, module: str, options: RunOptions, output: Output) -> None:
        self.chosen: Candidate = chosen
        self._shown = f"run {module}: {chosen.name}"
        self._options = options
        self._output = output
        self._of_class: Parameters | None = None
        runnable = chosen.runnable
        if isinstance(runnable, Method):
            declared = runnable.cls._found()._declared
            owner: object = declared.user_class
            if declared.init is not None and not config.strict:
                owner = declared.init
            target = declared.methods[runnable.name]
            _refuse_generator(target.kind)
            self._of_class = Parameters(declared.signature, hints_of(owner))
            if self._of_class.takes_rest:
                raise CommandError(
                    "Modal classes cannot have variable-length positional arguments (*args)."
                )
            self._of_call = parameters_of(
                declared.raw_methods[runnable.name],
                is_method=True,
                of_batch=runnable.name in declared._batched,
            )
            _refuse_same_names(chosen.name, self._of_class, self._of_call)
        elif isinstance(runnable, LocalEntrypoint):
            function = runnable.info.raw_f
            _refuse_generator(kind_of(function))
            self._of_call = parameters_of(function)
        else:
            _refuse_generator(runnable._target.kind)
            self._of_call = parameters_of(
                runnable._target.function,
                of_batch=runnable._service.options.batching is not None,
            )

    @property
    def takes_rest(self) -> bool:
        """Whether all arguments that are left go to ``*args``."""
        return self._of_call.takes_rest

    @property
    def options(self) -> list[click.Option]:
        """The options, in the order in which the parameters are written."""
        before = [] if self._of_class is None else self._of_class.options
        return [*before, *self._of_call.options]

    def perform(self, rest: Sequence[str], values: dict[str, Any]) -> None:
        """Run it, within a run of its app, and keep what it returns."""
        options, output = self._options, self._output
        call = self._call(rest, values)
        if options.detach:
            output.say(
                "Note: nothing outlives this process. With --detach the command waits for what the "
                "program has spawned; Ctrl-C cancels the rest."
            )
        named = f" ({options.name})" if options.name else ""
        output.say(f"{self._shown}{named}")
        began = system_clock.now()
        ended = "stopped"
        try:
            app = self.chosen.app
            if mounted := mount(app):
                output.say(mounted)
            with app.run(name=options.name), output.of_run(app, self._shown):
                result = call()
                run = app._runs.open_run()
                if run is not None and options.detach:
                    run.drain()
                elif run is not None and (left := run.unsettled()):
                    output.say(
                        f"Note: the program has ended, and these inputs, which it did not wait "
                        f"for, are cancelled: {left}. Write --detach to wait for all that is "
                        "spawned, or .get() in the program."
                    )
            ended = "done"
        except KeyboardInterrupt:
            raise
        except SystemExit:
            ended = "exited"
            raise
        except BaseException as error:
            ended = "failed"
            raise shown_error(error) from None
        finally:
            output.say(f"{self._shown} {ended} after {duration(system_clock.now() - began)}")
        if options.write_result:
            _write_result(options.write_result, result)

    def _call(self, rest: Sequence[str], values: dict[str, Any]) -> Callable[[], object]:
        args, kwargs = self._of_call.arguments(values)
        args += rest
        runnable = self.chosen.runnable
        if isinstance(runnable, Method):
            assert self._of_class is not None
            class_args, class_kwargs = self._of_class.arguments(values)
            name = runnable.name
            cls = runnable.cls

            def of_instance() -> object:
                method: Any = getattr(cls(*class_args, **class_kwargs), name)
                return method.remote(*args, **kwargs)

            return of_instance
        if isinstance(runnable, LocalEntrypoint):
            return lambda: runnable(*args, **kwargs)
        return lambda: runnable.remote(*args, **kwargs)


def _refuse_generator(kind: Kind) -> None:
    if kind.is_generator:
        raise CommandError(
            "`moorage run` is not supported for generator functions; write a local entrypoint that "
            "reads the generator."
        )


def _refuse_same_names(name: str, of_class: Parameters, of_call: Parameters) -> None:
    both = [each for each in of_class.names if each in of_call.names]
    if both:
        raise CommandError(
            f"{name} got multiple values for keyword argument {both[0]!r}: the class and the "
            "method each have a parameter of this name; give one of them another name."
        )


def _write_result(path: str, result: object) -> None:
    if not isinstance(result, str | bytes):
        raise CommandError(
            "Function must return str or bytes when using `--write-result`; "
            f"got {type(result).__name__}."
        )
    try:
        if isinstance(result, str):
            # Whatever the locale: the run is over, and its result must not be lost.
            Path(path).write_text(result, "utf-8", "surrogateescape")
        else:
            Path(path).write_bytes(result)
    except OSError as error:
        raise CommandError(f"The result cannot be written: {error}") from None


def _is_piped() -> bool:
    """Whether the standard input is a pipe or a file."""
    try:
        mode = os.fstat(sys.stdin.fileno()).st_mode
    except (AttributeError, OSError, ValueError):
        return False
    return stat.S_ISFIFO(mode) or stat.S_ISREG(mode)
