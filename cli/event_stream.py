"""Live events of an API: read as they come, gone on with after any break from the last one that was read."""

import json
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final

from cli.calls import Calls
from cli.errors import Refused, Unreachable

PATH: Final = "/api/v1/events"
PATIENCE_S: Final = 60.0
"""How long an API may be away before one gives up on it."""
AGAIN_AFTER_S: Final = 1.0


@dataclass(frozen=True)
class Event:
    """Something that happened. `id` is from where to go on after it; a beat has no data."""

    kind: str
    id: str
    data: dict[str, Any]


def read(lines: Iterable[str]) -> Iterator[Event]:
    """The events in a stream's lines. A comment is a beat, whose id counts like any other."""
    kind, cursor, data = "", "", ""
    for line in lines:
        if line == "":
            if kind or cursor:
                yield Event(kind or "beat", cursor, json.loads(data) if data else {})
            kind, data = "", ""
            continue
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if name == "event":
            kind = value
        elif name == "id":
            cursor = value
        elif name == "data":
            data += value


def follow(client: Calls, query: dict[str, str], *, after: str | None, tell: Callable[[str], None]) -> Iterator[Event]:
    """Events, beats too, without an end.

    Args:
        client: of the API.
        query: which ones.
        after: the id of the last event that was read; None: from now on.
        tell: takes a word on a connection that is lost.

    Raises:
        Unreachable: the API stays away.
        Refused: it does not let this token listen.
    """
    away_since: float | None = None
    while True:
        headers = {"Last-Event-ID": after} if after else {}
        try:
            with client.lines(PATH, query, headers) as lines:
                for event in read(lines):
                    away_since, after = None, event.id or after
                    yield event
        except (Unreachable, Refused) as error:
            if isinstance(error, Refused) and not error.may_pass:
                raise
            now = time.monotonic()
            if away_since is None:
                away_since = now
                tell(f"{error}; trying again")
            if now - away_since > PATIENCE_S:
                raise
        time.sleep(AGAIN_AFTER_S)
