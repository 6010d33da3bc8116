"""`GET /api/v1/audit`: what was done, by whom; and the chain that shows that nothing of it was changed."""

import functools
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Any, Final

import structlog
from fastapi import APIRouter, Depends, Query
from pydantic import AwareDatetime, TypeAdapter

from api.dependencies import CallerDep, StudioDep
from api.documented import problems
from api.paging import Paging, in_order, paged
from api.rights import require, require_every_service
from broker.entry_ids import START, entry_id_of, position_of
from broker.scripts import ChainPart
from broker.token_store import Token, TokenKind
from protocol.audit import AuditItem, AuditOutcome, AuditPage, ChainLink, ChainPage, ChainPoint
from protocol.audit_chain import LINK, Link, Point
from protocol.names import DEFAULT_TENANT, MAX_NAME

log = structlog.get_logger(__name__)
router = APIRouter(prefix="/api/v1/audit", tags=["operations"])

JSON_FACTS: Final[TypeAdapter[dict[str, Any]]] = TypeAdapter(dict[str, Any])

Text = Annotated[str | None, Query(min_length=1, max_length=MAX_NAME)]


@router.get("", responses=problems(401, 403, 422, 503), summary="Who did what, newest first")
async def index(
    caller: CallerDep,
    parts: StudioDep,
    paging: Annotated[Paging, Depends(paged({"-at": (int, int), "at": (int, int)}, limit=100, most=1_000))],
    actor: Text = None,
    action: Text = None,
    outcome: AuditOutcome | None = None,
    service_name: Text = None,
    object: Text = None,  # noqa: A002 - the name of the filter
    since: AwareDatetime | None = None,
    until: AwareDatetime | None = None,
) -> AuditPage:
    """The records of the caller's tenant: of the services that the token covers; all, for one that covers all.

    An auditor is given a viewer's token of every service: it sees everything and changes nothing.
    `action` may end in `*`. What is older than the broker keeps is in the archive.
    """
    require(caller, [TokenKind.VIEWER])
    wanted = {"actor": actor, "outcome": outcome, "service": service_name}

    def is_wanted(seen: _Seen) -> bool:
        record = seen.record
        return (
            may_see(caller, record)
            and not any(value is not None and record.get(name) != value for name, value in wanted.items())
            and (action is None or _matches(record.get("action", ""), action))
            and (object is None or object in record.get("objects", "").split())
            and seen.item is not None
            and (since is None or seen.item.at >= since)
            and (until is None or seen.item.at < until)
        )

    earliest, latest = (moment.timestamp() if moment else None for moment in (since, until))
    records = parts.audit.records(
        caller.tenant, after=None if paging.after is None else "{}-{}".format(*paging.after), since=earliest,
        until=latest, newest_first=paging.descending,
    )  # fmt: skip
    page = await in_order((_Seen(*each) async for each in records), paging, lambda seen: seen.position, is_wanted)
    return AuditPage(items=[seen.item for seen in page.items if seen.item], next_cursor=page.next_cursor)


class _Seen:
    """A record as it stands in the stream, and as the list shows it: None for what is no record of ours any more."""

    def __init__(self, entry_id: str, record: Mapping[str, str]) -> None:
        self.position = position_of(entry_id)
        self.record = record

    @functools.cached_property
    def item(self) -> AuditItem | None:
        try:
            return item(self.record)
        except (KeyError, ValueError):  # verifying the chain tells of it; a traceback would show the record
            log.error("audit record cannot be read", position=self.position)  # noqa: TRY400 - as said
            return None


@router.get("/chain", responses=problems(401, 403, 422, 503), summary="The chain of records, to be verified")
async def chain(
    caller: CallerDep,
    parts: StudioDep,
    paging: Annotated[Paging, Depends(paged({"number": (int, int)}, limit=500, most=1_000))],
) -> ChainPage:
    """Oldest first, from `checkpoint` to `head`. Records that are another tenant's have no body here, only its digest.

    For tokens of every service. A record's hash covers its number, `prev` and digest; `studio audit verify` looks.
    """
    require(caller, [TokenKind.VIEWER])
    require_every_service(caller)
    ms, number = map(int, paging.after or START)
    part = await parts.audit.look(caller.tenant, after=entry_id_of((ms, number)), most=paging.limit)
    return ChainPage(
        partition=parts.audit.partition_of(caller.tenant),
        checkpoint=_point(part.checkpoint),
        head=_point(part.head),
        links=[_link(record, caller) for _, record in part.entries],
        next_cursor=_next(part, paging),
    )


def may_see(caller: Token, record: Mapping[str, str]) -> bool:
    """Whether a record is the caller's business.

    What belongs to no service is for tokens of every service; what belongs to no tenant, for those of the default one.
    """
    if record.get("tenant", "") not in ({caller.tenant, ""} if caller.tenant == DEFAULT_TENANT else {caller.tenant}):
        return False
    service = record.get("service", "")
    return "*" in caller.services or (service != "" and caller.covers(service))


def _matches(action: str, wanted: str) -> bool:
    return action.startswith(wanted[:-1]) if wanted.endswith("*") else action == wanted


def item(record: Mapping[str, str]) -> AuditItem:
    """One record as the list shows it."""
    facts = {name: JSON_FACTS.validate_json(record[name]) for name in ("before", "after", "details") if name in record}
    texts = {
        name: record.get(name)
        for name in (
            "code", "actor", "actor_kind", "targets", "address", "route", "http_request_id", "act", "hosts",
        )
    }  # fmt: skip
    return AuditItem.model_validate({
        **{name: text for name, text in texts.items() if text is not None}, **facts,
        "number": record["number"], "id": record["id"], "at": _moment(record["at"]), "action": record["action"],
        "outcome": record["outcome"], "service_name": record["service"] or None,
        "objects": record.get("objects", "").split(), "count": record.get("count", 1),
        "last_at": _moment(record["last_at"]) if "last_at" in record else None, "hash": record["hash"],
    })  # fmt: skip


def _link(record: Mapping[str, str], caller: Token) -> ChainLink:
    link = Link.of(record)
    body = {name: text for name, text in record.items() if name not in LINK} if may_see(caller, record) else None
    return ChainLink(number=link.number, prev=link.prev, hash=link.hash, digest=link.digest, body=body)


def _point(point: Point) -> ChainPoint:
    return ChainPoint(number=point.number, hash=point.hash)


def _next(part: ChainPart, paging: Paging) -> str | None:
    return paging.cursor(position_of(part.entries[-1][0])) if len(part.entries) == paging.limit else None


def _moment(ms: str) -> datetime:
    return datetime.fromtimestamp(int(ms) / 1000, UTC)
