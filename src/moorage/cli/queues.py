"""``moorage queue``: the named queues on the disk, and what is in them.

Owns the commands.  Begin at `queue`.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any, TypeVar

import click

from ..queue import Queue
from .objects import ObjectCommands, add_management, confirm, environment_option, named, yes_option

F = TypeVar("F", bound=Callable[..., Any])


@click.group(cls=ObjectCommands, no_args_is_help=True)
def queue() -> None:
    """Look into named queues, and empty them."""


add_management(
    queue, "Queue", Queue.objects, more={"Total size": lambda found: found.len(total=True)}
)


def _partition_option(function: F) -> F:
    return click.option(
        "-p", "--partition", metavar="KEY", help="The partition; the default one if not given."
    )(function)


@queue.command(no_args_is_help=True)
@click.argument("name")
@_partition_option
@click.option("-a", "--all", "all_", is_flag=True, help="All partitions.")
@yes_option
@environment_option
def clear(name: str, partition: str | None, all_: bool, yes: bool, environment: str | None) -> None:
    """Delete the items of a queue: of one partition, or of all."""
    confirm(f"Delete the items of the Queue '{name}'?", yes)
    named(Queue, name, environment).clear(partition=partition, all=all_)


@queue.command(no_args_is_help=True)
@click.argument("name")
@click.argument("n", type=int, default=1, metavar="[N]")
@_partition_option
@environment_option
def peek(name: str, n: int, partition: str | None, environment: str | None) -> None:
    """Print the next N items, 1 if not given, which stay in the queue."""
    found = named(Queue, name, environment)
    for item in itertools.islice(found.iterate(partition=partition), n):
        click.echo(str(item))


@queue.command("len", no_args_is_help=True)
@click.argument("name")
@_partition_option
@click.option("-t", "--total", is_flag=True, help="Over all partitions.")
@environment_option
def len_(name: str, partition: str | None, total: bool, environment: str | None) -> None:
    """Print how many items a queue has: one partition, or all."""
    found = named(Queue, name, environment)
    click.echo(found.len(partition=partition, total=total))
