"""Schedules for tests, stored, and what their firings appended."""

from dataclasses import replace
from typing import Any, Final
from uuid import uuid4

from broker import keys
from broker.connection import Broker
from broker.schedule_store import Schedule, ScheduleStore, new_schedule
from broker.token_store import Token, TokenKind, TokenStore, new_secret
from protocol.names import DEFAULT_TENANT
from protocol.schedules import ScheduleWish

DUE: Final = 1_800_000_000 // 3_600 * 3_600
"""A full hour; schedules are hourly unless told otherwise."""


async def an_owner(
    broker: Broker,
    *,
    kind: TokenKind = TokenKind.OPERATOR,
    services: tuple[str, ...] = ("web",),
    tenant: str = DEFAULT_TENANT,
) -> Token:
    """A token that may own a schedule, unless told otherwise."""
    return await TokenStore(broker).add(new_secret(), kind=kind, tenant=tenant, services=services)


async def a_schedule(
    broker: Broker, *, due: int = DUE, owner: str | None = None, request: Any = None, **wished: Any
) -> Schedule:
    """A stored schedule of host web-01 that is due at a moment, its owner an operator of `web`."""
    body = request or {"service_name": "web", "target_hostnames": ["web-01"]}
    wish = ScheduleWish.model_validate({"name": "nightly", "cron": "0 * * * *", "request": body, **wished})
    by = owner or (await an_owner(broker)).token_id
    made = new_schedule(wish, schedule_id=str(uuid4()), tenant=DEFAULT_TENANT, by=by, digest="", now=due - 1)
    made = replace(made, next_fire_at=due if wish.enabled else None)
    assert await ScheduleStore(broker).save(made)
    return made


async def entries_of(broker: Broker) -> list[tuple[str, str]]:
    """Every submitted state of every request in the results: request id, host."""
    async with broker.guarded() as redis:
        told = [
            (fields["request_ids"], fields["hostname"])
            for partition in range(broker.partitions)
            for _, fields in await redis.xrange(keys.results(partition))
            if fields["state"] == "submitted"
        ]
    return sorted(told)
