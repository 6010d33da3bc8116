"""The table of worker roles: how far each is behind, how fast it is, when it made its last pass. Pure."""

from collections.abc import Sequence
from typing import Final

from cli.answers import WorkerRow

HEADINGS: Final = ("WORKER", "INSTANCE", "BEHIND", "OLDEST", "ITEMS/S", "LAST PASS", "TOOK")
NOTHING: Final = "-"


def table(rows: Sequence[WorkerRow]) -> str:
    """The instances in columns, within 80 characters."""
    lines = [HEADINGS, *(_cells(row) for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(HEADINGS))]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if column < 2 else cell.rjust(width)  # noqa: PLR2004 - names left, figures right
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    )


def _cells(row: WorkerRow) -> tuple[str, ...]:
    has_work = bool(row.behind) and row.oldest_seconds is not None
    return (
        row.role,
        short_name(row.instance),
        NOTHING if row.behind is None else str(row.behind),
        span(row.oldest_seconds) if has_work else NOTHING,
        NOTHING if row.items_per_second is None else f"{row.items_per_second:.1f}",
        f"{span(row.last_pass_age)} ago",
        span(row.last_pass_seconds),
    )


def short_name(instance: str) -> str:
    """An instance without its host's name, which may be long: its pid and what makes it unique."""
    return "-".join(instance.rsplit("-", 2)[-2:])[-18:]


def span(seconds: float | None) -> str:
    """Seconds as people say them: `3 ms`, `2.5 s`, `12 min`, `3 h`, `4 d`."""
    if seconds is None:
        return NOTHING
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    for unit, length, until in (("s", 1, 100), ("min", 60, 6_000), ("h", 3_600, 172_800)):
        if seconds < until:
            return f"{seconds / length:.1f} {unit}" if unit == "s" else f"{seconds / length:.0f} {unit}"
    return f"{seconds / 86_400:.0f} d"
