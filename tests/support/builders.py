"""Values for tests, with everything that does not matter filled in."""

import itertools
from typing import Any

from broker.connection import Broker
from broker.effective import OpenRequest
from broker.request_log import RequestLog
from broker.request_record import RequestRecord
from broker.request_store import RequestStore
from protocol.names import DEFAULT_TENANT, HostKey
from protocol.requests import ProfileRequest

NOW = 1_800_000_000.0
_numbers = itertools.count(1)


def a_start(**given: Any) -> OpenRequest:
    """An open start, new unless told otherwise."""
    number = next(_numbers)
    fields: dict[str, Any] = {
        "request_id": f"r{number}", "command_id": f"c{number}", "command_type": "start",
        "accepted_at": NOW, "expires_at": NOW + 900,
    }  # fmt: skip
    return OpenRequest(**{**fields, **given})


def a_stop(**given: Any) -> OpenRequest:
    """An open stop of the whole host, or of `pids`."""
    return a_start(command_type="stop", **given)


def a_host(name: str = "web-01", service: str = "web") -> HostKey:
    """A host of the default tenant."""
    return HostKey(DEFAULT_TENANT, service, name)


async def submitted(broker: Broker, *, now: float, **asked: Any) -> RequestRecord:
    """A request, stored and appended as the API does it."""
    body = ProfileRequest.model_validate({"service_name": "web", "target_hostnames": ["web-01"], **asked})
    store = RequestStore(broker)
    ticket = await store.ticket(tenant=DEFAULT_TENANT, token_id="t", idempotency_key=None, body_digest="", now=now)
    record = RequestRecord(
        ticket.request_id, ticket.command_id, DEFAULT_TENANT, "t", ticket.accepted_at, body, body.targets()
    )
    await store.put(record)
    await RequestLog(broker).append(record.wishes())
    return record
