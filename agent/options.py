"""Options with a heading each, and the checks that are ours."""

from typing import Any

import click

from agent.settings import BadServer, read_server


class HeadedOption(click.Option):
    """An option that says under which heading of the help it belongs."""

    def __init__(self, *args: Any, heading: str, **attributes: Any) -> None:
        super().__init__(*args, **attributes)
        self.heading = heading


class Grouped(click.Command):
    """A command whose help lists its options heading by heading, in the order they are declared."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the options."""
        by_heading: dict[str, list[tuple[str, str]]] = {}
        for param in self.get_params(ctx):
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
