"""Turning down heartbeats by the thousand: of a flood each call costs less than a good heartbeat.

The answers are those of the ordinary route, made once by the same functions. Each call is counted for the audit trail,
in the metrics and for the log, as there.
"""

import math
import time
from typing import Any, Final

from fastapi import Request
from starlette.types import Scope

from api import audit, problems
from api.accompany import HEARTBEAT
from api.auth import unknown
from api.fast_answers import Made, made_of
from api.limit_settings import Lane
from api.limits import Limits, count_refused
from api.problems import TABLE, Refusal
from broker.token_store import Token

_ROUTE: Final = f"POST {HEARTBEAT}"
FIELDS: Final = ("Authorization",)
"""At fault in each of these refusals."""
UNAUTHENTICATED: Final = "unauthenticated"
RATE_LIMITED: Final = "rate_limited"
MOST_ANSWERS: Final = 1_024
"""Made answers that are kept: one for each second that somebody may be told to wait."""


class FastRefusals:
    """Refuses whom nobody knows, and who asks too much."""

    def __init__(self) -> None:
        self.to_unknown: Final[Made] = _made(unknown())
        self._limited: dict[tuple[Lane, int], Made] = {}

    def unknown(self, scope: Scope, parts: Any) -> Made:
        """Refuse a token that is known to be none."""
        _note(scope, parts, None, UNAUTHENTICATED)
        return self.to_unknown

    def limited(self, scope: Scope, parts: Any, lane: Lane, over: float, caller: Token | None = None) -> Made:
        """Refuse one call too many.

        Args:
            scope: of the call.
            parts: of this process.
            lane: in which it was too many.
            over: for how many seconds it is.
            caller: whose it was, where that is known.
        """
        count_refused(lane)
        _note(scope, parts, caller, RATE_LIMITED)
        return self.told_to_wait(lane, over, parts.limits)

    def told_to_wait(self, lane: Lane, over: float, limits: Limits) -> Made:
        """The answer to one call too many, as it is for so many seconds."""
        seconds = math.ceil(over)  # all that the answer says of it
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
    note_for_audit(scope, parts, caller, code)
    log_if_it_may_be(code)


def note_for_audit(scope: Scope, parts: Any, caller: Token | None, code: str, count: int = 1) -> None:
    """Note refusals of calls that came from one address with one fault; should the first be told in full, this one."""
    client = scope.get("client")
    kind = audit.kind_of(
        caller, address=client[0] if client else "", route=_ROUTE, action=audit.CALL, code=code
    )  # fmt: skip
    if parts.refusals.again(kind, at=time.time(), count=count):
        return
    audit.note_refusal(Request(scope), code, TABLE[code].status)
    if count > 1:
        parts.refusals.again(kind, at=time.time(), count=count - 1)


def log_if_it_may_be(code: str, count: int = 1) -> bool:
    """Log a refusal; False: it may not be, nor may those that come at the same time: all `count` are left out."""
    if not problems.may_be_logged(code, count):
        return False
    problems.log_refusal(code, path=HEARTBEAT, method="POST", fields=list(FIELDS))
    return True
