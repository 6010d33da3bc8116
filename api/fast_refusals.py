"""Turning down heartbeats by the thousand: of a flood each call costs less than a good heartbeat.

The answers are those of the ordinary route, made once by the same functions. Each call is counted for the audit trail,
in the metrics and for the log, as there.
"""

import math
import time
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from fastapi import Request, Response
from starlette.types import Scope

from api import audit, problems
from api.accompany import HEARTBEAT
from api.auth import unknown
from api.limit_settings import Lane
from api.limits import Limits, count_refused
from api.problems import TABLE, Refusal
from broker.limits import Taken
from broker.token_store import Token

_ROUTE: Final = f"POST {HEARTBEAT}"
FIELDS: Final = ("Authorization",)
"""At fault in each of these refusals."""
UNAUTHENTICATED: Final = "unauthenticated"
RATE_LIMITED: Final = "rate_limited"
MOST_ANSWERS: Final = 1_024
"""Made answers that are kept: one for each second that somebody may be told to wait."""


class Made(NamedTuple):
    """An answer as it goes out. `lines`: its headers as they stand on the wire."""

    status: int
    headers: Sequence[tuple[bytes, bytes]]
    lines: bytes
    body: bytes


def made_of(response: Response) -> Made:
    """An answer, ready to go out again and again."""
    headers = response.raw_headers
    lines = b"".join(b"%b: %b\r\n" % header for header in headers)
    return Made(response.status_code, headers, lines, bytes(response.body))


class FastRefusals:
    """Refuses whom nobody knows, and who asks too much."""

    def __init__(self) -> None:
        self._unknown: Made = _made(unknown())
        self._limited: dict[tuple[Lane, int], Made] = {}

    def unknown(self, scope: Scope, parts: Any) -> Made:
        """Refuse a token that is known to be none."""
        _note(scope, parts, None, UNAUTHENTICATED)
        return self._unknown

    def limited(self, scope: Scope, parts: Any, lane: Lane, over: Taken, caller: Token | None = None) -> Made:
        """Refuse one call too many.

        Args:
            scope: of the call.
            parts: of this process.
            lane: in which it was too many.
            over: what was found there.
            caller: whose it was, where that is known.
        """
        count_refused(lane)
        _note(scope, parts, caller, RATE_LIMITED)
        return self._told_to_wait(lane, over, parts.limits)

    def _told_to_wait(self, lane: Lane, over: Taken, limits: Limits) -> Made:
        seconds = math.ceil(over.seconds)  # all that the answer says of it
        made = self._limited.get((lane, seconds))
        if made is None:
            made = _made(limits.refusal(lane, over))
            if len(self._limited) < MOST_ANSWERS:
                self._limited[lane, seconds] = made
        return made


def _made(refused: Refusal) -> Made:
    return made_of(problems.problem(refused.code, refused.detail, refused.errors, refused.headers))


def _note(scope: Scope, parts: Any, caller: Token | None, code: str) -> None:
    """What `problems.answer` notes of a refusal."""
    client = scope.get("client")
    kind = audit.kind_of(
        caller, address=client[0] if client else "", route=_ROUTE, action=audit.CALL, code=code
    )  # fmt: skip
    if not parts.refusals.again(kind, at=time.time()):
        audit.note_refusal(Request(scope), code, TABLE[code].status)
    if problems.may_be_logged(code):
        problems.log_refusal(code, path=scope["path"], method=scope["method"], fields=list(FIELDS))
