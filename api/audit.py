"""Auditing at the edge: a route says what it is about to do, and each refusal is noted where it is answered.

An accepted act is recorded before its effect, so no effect is without a record, wherever a process dies. Refusals have
no effect: they are counted here and written within seconds, or a flood of them would flood the trail and the broker.
"""

import asyncio
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from http import HTTPStatus
from typing import Any, Final, NamedTuple

import structlog
from starlette.requests import HTTPConnection

from api.slashed_names import as_named
from broker.audit import Act, AuditTrail, targets_digest
from broker.errors import BrokerUnavailable
from broker.logs import call_id
from broker.token_store import Token
from protocol.audit import AuditOutcome

log = structlog.get_logger(__name__)

WRITES_EVERY: Final = timedelta(seconds=2)
MOST_KINDS: Final = 100
MOST_KINDS_OF_STRANGERS: Final = 20
"""Kinds of refusals that are told apart between two writes. What goes beyond is counted together, without address."""
CLOSES_WITHIN: Final = timedelta(seconds=2)
CALL: Final = "call"
"""The action of a refused call that would have been no act, as a read."""
ACTIONS: Final[Mapping[tuple[str, str], str]] = {
    ("POST", "/api/metrics/profile_request"): "request.submit",
    ("POST", "/api/metrics/profile_request/bulk"): "request.submit",
    ("DELETE", "/api/v1/requests/{request_id}"): "request.cancel",
    ("POST", "/api/metrics/command_completion"): "command.complete",
    ("POST", "/api/v1/schedules"): "schedule.create",
    ("PATCH", "/api/v1/schedules/{schedule_id}"): "schedule.change",
    ("DELETE", "/api/v1/schedules/{schedule_id}"): "schedule.delete",
    ("POST", "/api/v1/tokens"): "token.create",
    ("POST", "/api/v1/tokens/{token_id}/rotate"): "token.rotate",
    ("DELETE", "/api/v1/tokens/{token_id}"): "token.revoke",
    ("POST", "/api/v1/session"): "session.begin",
    ("DELETE", "/api/v1/session"): "session.end",
    ("POST", "/api/v1/enrol"): "host.enrol",
    ("DELETE", "/api/v1/hosts/{service_name}/{hostname}/owner"): "host.release",
    ("POST", "/api/v1/dead_letters/{letter_id}/replay"): "dead_letter.replay",
    ("DELETE", "/api/v1/profiles/{profile_id}"): "profile.delete",
}
"""Every route that acts -> its action. Heartbeats are no acts; what they carry is in the results."""
NOT_ALLOWED: Final = frozenset({HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN, HTTPStatus.TOO_MANY_REQUESTS})
"""Answers that are audited on every route, reads and heartbeats too."""


class Kind(NamedTuple):
    """What refusals have in common that are counted together."""

    tenant: str
    actor: str
    actor_kind: str
    address: str
    route: str
    action: str
    code: str


@dataclass(slots=True)
class Counted:
    """The first refusal of a kind, and how many there were."""

    first: Act
    count: int = 1
    last_at: float | None = None

    @property
    def act(self) -> Act:
        """All of them, as one record."""
        return replace(self.first, count=self.count, last_at=self.last_at)


class Refusals:
    """The refusals of one process between two writes."""

    def __init__(self, trail: AuditTrail) -> None:
        self._trail = trail
        self._counted: dict[Kind, Counted] = {}
        self._strangers = 0
        self._unwritten: list[Act] = []
        self._noted = asyncio.Event()

    def again(self, kind: Kind, *, at: float, count: int = 1) -> bool:
        """Count refusals of a kind that was noted since the last write; False: there was none, so tell one in full."""
        known = self._counted.get(kind)
        if known is None:
            if not self._is_full(kind):
                return False
            known = self._counted.get(kind._replace(address="", route="", action=CALL))
            if known is None:
                return False
        known.count += count
        known.last_at = at
        return True

    def note(self, kind: Kind, act: Act) -> None:
        """Count a refusal. No round trip; of refusals of one kind the first is told in full."""
        if self.again(kind, at=act.at):
            return
        if self._is_full(kind):
            kind = kind._replace(address="", route="", action=CALL)
            act = replace(act, address="", route="", action=CALL, objects=(), service="", http_request_id="", act="")
        self._counted[kind] = Counted(act)
        self._strangers += not kind.actor
        self._noted.set()

    async def write_or_note(self, kind: Kind, act: Act) -> None:
        """Write a refusal by itself; count it with those of its kind where the broker is away.

        Whether a write that was not answered has happened nobody knows: it may be told twice, under one id.
        """
        try:
            await self._trail.write(act)
        except BrokerUnavailable as error:
            log.debug("refusal not audited yet", reason=error.reason)
            self.note(kind, act)

    def _is_full(self, kind: Kind) -> bool:
        if not kind.actor:
            return self._strangers >= MOST_KINDS_OF_STRANGERS
        return len(self._counted) - self._strangers >= MOST_KINDS

    async def keep_writing(self) -> None:
        """Write what was noted, at once after a pause and then every two seconds; until cancelled."""
        while True:
            await self._noted.wait()
            try:
                await self.write()
            except BrokerUnavailable as error:
                log.debug("refusals not audited yet", reason=error.reason)
            await asyncio.sleep(WRITES_EVERY.total_seconds())

    async def write(self) -> None:
        """Write what was noted so far. What could not be written before comes first, under the same ids.

        Raises:
            BrokerUnavailable: the server cannot be reached; it is written the next time.
        """
        if not self._unwritten:
            self._noted.clear()
            self._unwritten, self._counted = [each.act for each in self._counted.values()], {}
            self._strangers = 0
        try:
            await self._trail.write(*self._unwritten)
        except BrokerUnavailable:
            self._noted.set()
            raise
        self._unwritten = []
        if self._counted:
            self._noted.set()

    async def close(self) -> None:
        """Write the last of them, if the broker takes them soon."""
        try:
            async with asyncio.timeout(CLOSES_WITHIN.total_seconds()):
                while self._unwritten or self._counted:
                    await self.write()
        except (BrokerUnavailable, TimeoutError) as error:
            left = sum(act.count for act in (*self._unwritten, *(each.act for each in self._counted.values())))
            reason = str(error) or type(error).__name__
            log.error("refusals not audited", refusals=left, reason=reason)  # noqa: TRY400 - said whole; no traceback


async def accept(
    call: HTTPConnection,
    *,
    service: str = "",
    objects: Sequence[str] = (),
    hosts: Collection[str] | None = None,
    before: Mapping[str, Any] | None = None,
    after: Mapping[str, Any] | None = None,
    details: Mapping[str, Any] | None = None,
    action: str | None = None,
) -> None:
    """Record that the caller's act is accepted. To be called when nothing stands against it any more, and before it.

    Args:
        call: the HTTP call; its caller is known by now.
        service: that is acted upon.
        objects: ids of what is acted upon.
        hosts: names of those it is for.
        before: what is, where there is such a thing.
        after: what is to be.
        details: what else there is to say.
        action: by default that of the route.

    Raises:
        BrokerUnavailable: it cannot be recorded, and so must not be done.
    """
    caller: Token = call.state.caller
    act = Act(
        at=time.time(), action=action or _action(call) or CALL, outcome=AuditOutcome.ACCEPTED, tenant=caller.tenant,
        actor=caller.token_id, actor_kind=caller.kind, service=service, objects=objects,
        hosts=None if hosts is None else len(hosts), targets="" if hosts is None else targets_digest(hosts),
        before=before, after=after, details=details, address=_address(call), route=_route(call),
        http_request_id=_call_id(call),
    )  # fmt: skip
    await call.app.state.studio.audit.write(act)
    call.state.act = act


def begin_anew(call: HTTPConnection) -> None:
    """What follows in this call is another act: its failure is none of the act before it."""
    call.state.act = None


def note_refusal(
    call: HTTPConnection, code: str, status: HTTPStatus, *, objects: Sequence[str] = (), service: str = ""
) -> None:
    """Note that a call is refused, or has failed, if that is anybody's business. Nothing is asked of the broker."""
    parts = getattr(getattr(call.scope.get("app"), "state", None), "studio", None)
    if parts is None or (_action(call) is None and status not in NOT_ALLOWED):
        return
    kind, act = _refused(call, code, status, objects=objects, service=service)
    parts.refusals.note(kind, act)


async def record_refused_item(
    call: HTTPConnection, code: str, status: HTTPStatus, *, index: int, objects: Sequence[str] = (), service: str = ""
) -> None:
    """Record that one of a call's acts is refused: each by itself, as each that is accepted is.

    No flood comes of it: the limits count the items of a call, and a refused one writes no more than an accepted one.
    Those beyond the limits nothing bounds: they are counted together, as refused calls are, and so are all of them
    where the broker is away.
    """
    kind, act = _refused(call, code, status, objects=objects, service=service)
    refusals: Refusals = call.app.state.studio.refusals
    if status is HTTPStatus.TOO_MANY_REQUESTS:
        refusals.note(kind, act)
    else:
        await refusals.write_or_note(kind, replace(act, details={"index": index}))


def _refused(
    call: HTTPConnection, code: str, status: HTTPStatus, *, objects: Sequence[str], service: str
) -> tuple[Kind, Act]:
    caller: Token | None = getattr(call.state, "caller", None)
    accepted: Act | None = getattr(call.state, "act", None)
    kind = kind_of(
        caller, address=_address(call), route=_route(call), action=_action(call) or CALL, code=code
    )  # fmt: skip
    act = Act(
        at=time.time(), outcome=AuditOutcome.FAILED if status >= HTTPStatus.INTERNAL_SERVER_ERROR
        else AuditOutcome.REFUSED, objects=objects or [as_named(str(each)) for each in call.path_params.values()],
        service=accepted.service if accepted else service, http_request_id=_call_id(call),
        act=accepted.record_id if accepted else "", **kind._asdict(),
    )  # fmt: skip
    return kind, act


def kind_of(caller: Token | None, *, address: str, route: str, action: str, code: str) -> Kind:
    """What a refusal of this caller, known or not, is counted as."""
    if caller is None:
        return Kind("", "", "", address, route, action, code)
    return Kind(caller.tenant, caller.token_id, caller.kind, address, route, action, code)


def _action(call: HTTPConnection) -> str | None:
    return ACTIONS.get((call.scope.get("method", "GET"), _path(call)))


def _route(call: HTTPConnection) -> str:
    """Method and path of the route as declared; another path is the caller's own word, and left out."""
    path = _path(call)
    return f"{call.scope.get('method', 'GET')} {path}" if path else ""


def _path(call: HTTPConnection) -> str:
    return getattr(call.scope.get("route"), "path", "")


def _address(call: HTTPConnection) -> str:
    return call.client.host if call.client else ""


def _call_id(call: HTTPConnection) -> str:
    return call_id.get() or call.headers.get("x-request-id", "")[:128]
