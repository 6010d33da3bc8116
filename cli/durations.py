"""Durations as people write them: `90d`, `12h`, `30m`, `45s`, or plain seconds."""

import re
from typing import Any, Final

import click

_UNITS: Final = {"": 1, "s": 1, "m": 60, "h": 3_600, "d": 86_400}


class Duration(click.ParamType[int]):
    """A duration; gives whole seconds."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """The seconds, or a usage error that shows how to write it."""
        if isinstance(value, int):
            return value
        found = re.fullmatch(r"([0-9]{1,9})([smhd]?)", str(value).strip())
        if found is None:
            self.fail(f"{value!r} is no duration: write 90d, 12h, 30m, 45s or seconds", param, ctx)
        return int(found[1]) * _UNITS[found[2]]


DURATION: Final = Duration()
