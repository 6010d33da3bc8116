"""A number of hosts, said as a count (`3`) or as a share of the request's targets (`"10%"`). Pure."""

import re
from typing import Annotated, Any, Final, TypeAlias

from pydantic import PlainValidator, WithJsonSchema
from pydantic_core import PydanticCustomError

MOST: Final = 100_000
_PERCENT: Final = re.compile(r"(0|[1-9][0-9]{0,2})%")


def share_of(share: int | str, total: int, *, least: int) -> int:
    """How many of `total` hosts a share is: rounded down, never below `least` nor above `total`."""
    count = share if isinstance(share, int) else total * int(share.removesuffix("%")) // 100
    return max(min(least, total), min(count, total))


def _read_from(least: int, value: Any) -> int | str:
    """Check a share as it stands in a body: a count from `least` on, or from `least` percent on.

    Raises:
        PydanticCustomError: it is neither.
    """
    if isinstance(value, str):
        found = _PERCENT.fullmatch(value)
        if found is not None and least <= int(found[1]) <= 100:  # noqa: PLR2004 - a hundred percent is all of them
            return value
    elif isinstance(value, int) and not isinstance(value, bool) and least <= value <= MOST:
        return value
    raise PydanticCustomError(
        "share",
        "must be a count from {least} to {most}, or a text from {least}% to 100%",
        {"least": least, "most": MOST},
    )


def _some(value: Any) -> int | str | None:
    return None if value is None else _read_from(1, value)


def _some_or_none(value: Any) -> int | str | None:
    return None if value is None else _read_from(0, value)


def _schema(least: int) -> dict[str, Any]:
    count = {"type": "integer", "minimum": least, "maximum": MOST}
    return {"anyOf": [count, {"type": "string", "pattern": "^[0-9]{1,3}%$"}, {"type": "null"}]}


Share: TypeAlias = Annotated[int | str | None, PlainValidator(_some), WithJsonSchema(_schema(1))]
"""From 1 or "1%" on."""
ShareOrZero: TypeAlias = Annotated[int | str | None, PlainValidator(_some_or_none), WithJsonSchema(_schema(0))]
"""From 0 or "0%" on."""
