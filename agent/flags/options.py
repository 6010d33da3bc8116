"""Options with a heading each, and the checks that are ours."""

from collections.abc import Callable, Mapping
from typing import Any

import click

from agent.addresses import BadServer, read_server

Given = Mapping[str, Any]
"""Every option by its name, as click read it from the command line, the environment or the config file."""


class Flag(click.Option):
    """An option that says under which heading of the help it belongs."""

    def __init__(self, *args: Any, heading: str, **attributes: Any) -> None:
        super().__init__(args, **attributes)
        self.heading = heading


def under(heading: str) -> Callable[..., Flag]:
    """What declares the options of one group."""

    def flag(*names: str, **attributes: Any) -> Flag:
        return Flag(*names, heading=heading, **attributes)

    return flag


class Grouped(click.Group):
    """A command whose help lists its options heading by heading, in the order they are declared."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options, then the commands."""
        write_by_heading(self, ctx, formatter)
        self.format_commands(ctx, formatter)


def write_by_heading(command: click.Command, ctx: click.Context, formatter: click.HelpFormatter) -> None:
    """Write a command's options under their headings."""
    by_heading: dict[str, list[tuple[str, str]]] = {}
    for param in command.get_params(ctx):
        record = param.get_help_record(ctx)
        if record is not None:
            by_heading.setdefault(getattr(param, "heading", "Other"), []).append(record)
    for heading, records in by_heading.items():
        with formatter.section(heading):
            formatter.write_dl(records)


def read_pids(_context: click.Context, _param: click.Parameter, value: str | None) -> frozenset[int] | None:
    """Process ids with commas between.

    Raises:
        click.BadParameter: they are not.
    """
    if value is None:
        return None
    try:
        pids = frozenset(int(part) for part in value.split(","))
    except ValueError:
        raise click.BadParameter(f"{value!r} is not a list of process ids like 12,345") from None
    if min(pids) < 1:
        raise click.BadParameter("process ids are greater than 0")
    return pids


def read_address(_context: click.Context, _param: click.Parameter, value: str | None) -> str | None:
    """The address of a server.

    Raises:
        click.BadParameter: it cannot be used.
    """
    if value is None:
        return None
    try:
        return read_server(value)
    except BadServer as error:
        raise click.BadParameter(str(error)) from None
