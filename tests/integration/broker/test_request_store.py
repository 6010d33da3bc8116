"""The records of the requests: who asked for what, and under which identity."""

from datetime import UTC, datetime
from typing import Any

import pytest

from broker import keys
from broker.connection import Broker
from broker.errors import IdempotencyConflict
from broker.request_record import RequestRecord
from broker.request_store import RequestStore, Ticket
from protocol.requests import ProfileRequest
from tests.support.builders import NOW


@pytest.fixture
def store(broker: Broker) -> RequestStore:
    return RequestStore(broker)


async def ticket(store: RequestStore, **given: Any) -> Ticket:
    asked = {"tenant": "t", "token_id": "i", "idempotency_key": "k", "body_digest": "body", "now": NOW}
    return await store.ticket(**{**asked, **given})


def a_record(identity: Ticket, **asked: Any) -> RequestRecord:
    body = ProfileRequest.model_validate({"service_name": "web", "target_hostnames": ["a", "b"], **asked})
    return RequestRecord(
        identity.request_id, identity.command_id, "t", "token-7", identity.accepted_at, body, body.targets()
    )


# --- identities -------------------------------------------------------------------------------------------------------


async def test_without_a_key_every_request_has_its_own_identity(store: RequestStore) -> None:
    tickets = [await ticket(store, idempotency_key=None) for _ in range(5)]
    assert len({each.request_id for each in tickets} | {each.command_id for each in tickets}) == 10


async def test_the_same_key_and_body_get_the_first_identity(store: RequestStore) -> None:
    first = await ticket(store)
    assert await ticket(store, now=NOW + 500) == first


async def test_the_same_key_with_another_body_is_a_conflict(store: RequestStore) -> None:
    first = await ticket(store)
    with pytest.raises(IdempotencyConflict) as caught:
        await ticket(store, body_digest="another")
    assert caught.value.key == "k"
    assert await ticket(store) == first, "the conflict has not changed what was first"


@pytest.mark.parametrize("other", [{"tenant": "t2"}, {"token_id": "i2"}, {"idempotency_key": "k2"}])
async def test_a_key_belongs_to_one_token_of_one_tenant(store: RequestStore, other: dict[str, str]) -> None:
    assert (await ticket(store)).request_id != (await ticket(store, body_digest="another", **other)).request_id


async def test_an_identity_is_remembered_for_a_day(store: RequestStore, broker: Broker) -> None:
    await ticket(store)
    async with broker.guarded() as redis:
        assert 86_390 < await redis.ttl(keys.idempotency("t", "i", "k")) <= 86_400


# --- records ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "asked",
    [
        {},
        {"duration": 5, "frequency": 99, "continuous": True, "pids": [3, 1], "priority": "urgent", "expires_in": 30},
        {"command_type": "stop"},
        {"command_type": "stop", "pids": [5], "stop_level": "process"},
        {"request_type": "stop"},
        {"target_hosts": {"a": [1], "b": None}},
        {"additional_args": {"max_processes": 10, "x": None, "ü": [1.5]}},
        {"sample": "10%", "max_concurrency": 2, "max_errors": 0},
        {"start_at": "2027-01-15T12:00:00.5+02:00"},
    ],
)
async def test_a_record_reads_back_as_what_is_to_be_appended(store: RequestStore, asked: dict[str, Any]) -> None:
    record = a_record(await ticket(store), **asked)
    await store.put(record)
    read = await store.get(record.request_id)
    assert read is not None
    assert read.wishes() == record.wishes()
    assert (read.command_id, read.tenant, read.submitted_by, read.accepted_at) == (
        record.command_id, "t", "token-7", NOW,
    )  # fmt: skip
    assert (read.service, read.targets, read.hosts_appended) == ("web", record.targets, 0)


async def test_a_request_for_the_whole_service_keeps_the_hosts_it_was_resolved_to(store: RequestStore) -> None:
    body = ProfileRequest.model_validate({"service_name": "web", "target_scope": "service", "pids": [7]})
    identity = await ticket(store)
    record = RequestRecord(identity.request_id, identity.command_id, "t", "i", NOW, body, {"a": [7], "c": [7]})
    await store.put(record)
    read = await store.get(record.request_id)
    assert read is not None
    assert read.wishes() == record.wishes()
    assert {host.host for host in read.wishes()} == {"a", "c"}


async def test_of_two_that_store_one_request_at_once_the_first_ones_targets_stand(store: RequestStore) -> None:
    """One Idempotency-Key, two calls: each has sampled hosts of its own."""
    identity = await ticket(store)
    first, second = (a_record(identity, target_hostnames=[name]) for name in ("a", "b"))
    assert (await store.put(first)).targets == {"a": None}
    assert set((await store.put(second)).targets) == {"a"}
    read = await store.get(identity.request_id)
    assert read is not None
    assert set(read.targets) == {"a"}


async def test_a_later_start_is_waited_for_and_shared(store: RequestStore) -> None:
    record = a_record(await ticket(store), start_at="2027-01-15T12:00:00Z", expires_in=60, additional_args={"a": 1})
    start = datetime(2027, 1, 15, 12, tzinfo=UTC).timestamp()
    wish = record.wish(None)
    assert (wish.not_before, wish.expires_at) == (start, start + 60)
    assert wish.additional_args == {"a": 1, "capture_id": record.request_id}
    joiner = record.wish(None, begun_at=start + 5)
    assert (joiner.not_before, joiner.expires_at) == (None, start + 65)


async def test_an_unknown_request_is_none(store: RequestStore) -> None:
    assert await store.get("nobody-got-this") is None
    assert await store.statuses("nobody-got-this") == {}


async def test_storing_again_does_not_forget_the_progress(store: RequestStore) -> None:
    record = a_record(await ticket(store))
    await store.put(record)
    await store.note_appended(record.request_id, 2)
    await store.put(record)
    read = await store.get(record.request_id)
    assert read is not None
    assert read.hosts_appended == 2


async def test_a_command_id_leads_to_its_service(store: RequestStore) -> None:
    record = a_record(await ticket(store), service_name="a/b {c}")
    await store.put(record)
    assert await store.owner_of(record.command_id) == ("t", "a/b {c}")
    assert await store.owner_of("unknown") is None


async def test_a_record_is_kept_for_a_week(store: RequestStore, broker: Broker) -> None:
    record = a_record(await ticket(store))
    await store.put(record)
    async with broker.guarded() as redis:
        for key in (keys.request(record.request_id), keys.command_owner(record.command_id)):
            assert 604_790 < await redis.ttl(key) <= 604_800
