"""What a command answers: a table for people, JSON for programs. No colour, no bar, where it is not a terminal."""

import json
import re
import sys
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from typing import Any, Final, Literal

import click

Output = Literal["table", "json", "ndjson"]
FORMATS: Final = ("table", "json", "ndjson")
BETWEEN: Final = "  "
MOMENT: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2} [0-9]{2}:[0-9]{2}:[0-9]{2}Z")


def _as_json(ctx: click.Context, _: click.Parameter, value: bool) -> None:
    if value:
        ctx.params["output"] = "json"


def _chosen(ctx: click.Context, _: click.Parameter, value: str) -> str:
    """What `--json` has said, where it was said."""
    return str(ctx.params.get("output") or value) if value == "table" else value


def answering(function: Callable[..., Any]) -> Callable[..., Any]:
    """`-o table|json|ndjson`, which a command gets as `output`; and `--json`, which is short for `-o json`."""
    asked = click.option(
        "-o", "--output", type=click.Choice(FORMATS), default="table", show_default=True, callback=_chosen,
        help="How to answer; ndjson is a JSON value a line.",
    )  # fmt: skip
    short = click.option("--json", is_flag=True, expose_value=False, is_eager=True, callback=_as_json, help="-o json.")
    return asked(short(function))


def rows(
    found: Iterable[dict[str, Any]], columns: Sequence[tuple[str, str]], output: Output, *, empty: str = ""
) -> None:
    """Answer with a list.

    Args:
        found: the rows, as JSON has them. For ndjson they may come one by one.
        columns: head and field of each column of the table.
        output: how to answer.
        empty: what to say to people where there is none.
    """
    if output == "ndjson":
        for row in found:
            click.echo(json.dumps(row))
        return
    listed = list(found)
    if output == "json":
        click.echo(json.dumps(listed))
    elif not listed and empty:
        click.echo(empty, err=True)
    else:
        table([head for head, _ in columns], [[told(row.get(name)) for _, name in columns] for row in listed])


def value(found: dict[str, Any], output: Output) -> bool:
    """Answer with one value, where JSON is wanted; True when that is so."""
    if output == "table":
        return False
    click.echo(json.dumps(found))
    return True


def table(head: Sequence[str], cells: Sequence[Sequence[str]]) -> None:
    """Columns that fit the terminal: moments are told shorter there, and what is still too long goes on below.

    Elsewhere each row is one line, and whole.
    """
    if not sys.stdout.isatty():
        widths = [max(map(len, column)) for column in zip(head, *cells, strict=True)]
        for line in (head, *cells):
            padded = (cell.ljust(width) for cell, width in zip(line, widths, strict=True))
            click.echo(BETWEEN.join(padded).rstrip())
        return
    from rich.console import Console  # noqa: PLC0415 - a tenth of the start time, for the terminal only
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    console = Console(highlight=False)
    drawn = Table(box=None, pad_edge=False, show_header=True, header_style="bold")
    for name in head:
        drawn.add_column(name, overflow="fold", no_wrap=name == "ID", min_width=len(name))
    natural = sum(max(map(len, column)) + len(BETWEEN) for column in zip(head, *cells, strict=True)) - len(BETWEEN)
    year = f"{datetime.now(UTC).year}-"
    for line in cells:
        shown = line if natural <= console.width else [_shorter(cell, year) for cell in line]
        drawn.add_row(*(Text(cell) for cell in shown))  # not markup: a name may hold brackets
    console.print(drawn)


def _shorter(cell: str, year: str) -> str:
    """A moment without its seconds, and without the year where it is this one."""
    return f"{cell[:-4]}Z".removeprefix(year) if MOMENT.fullmatch(cell) else cell


def told(value: Any) -> str:
    """A value in a cell: a moment to the second in UTC, a list by its members, nothing as a dash."""
    if value is None or value in ("", []):
        return "-"
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat(sep=" ", timespec="seconds").replace("+00:00", "Z")
    if isinstance(value, str) and len(value) >= len("2026-01-08T12:00Z") and value[4:5] == "-" and value[10:11] == "T":
        try:
            return told(datetime.fromisoformat(value))
        except ValueError:
            return value
    return ", ".join(map(told, value)) if isinstance(value, list) else printable(str(value))


def age(moment: datetime | None, now: datetime) -> str:
    """How long ago: `5s`, `3m`, `2h`, `6d`."""
    if moment is None:
        return "-"
    seconds = max(0, int((now - moment).total_seconds()))
    for size, letter in ((86_400, "d"), (3_600, "h"), (60, "m")):
        if seconds >= size:
            return f"{seconds // size}{letter}"
    return f"{seconds}s"


def printable(text: str) -> str:
    """Without what would move a terminal's cursor: names and reasons come from other machines."""
    return "".join(each if each.isprintable() else "?" for each in text)
