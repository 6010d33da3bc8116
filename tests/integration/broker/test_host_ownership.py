"""Whose a host is: decided in the script of the beat, in the one step that does everything else."""

import json

import pytest
from msgspec import structs

from broker import keys
from broker.command_store import CommandStore
from broker.connection import Broker
from broker.host_registry import HostRegistry
from broker.public_streams import CredentialConflict, FleetEventReader
from broker.scripts import Contested, Credential, Delivered, Idle, Recorded
from protocol.completions import Completion
from tests.support.played_host import PlayedHost

SHARED, OTHER = Credential("t-shared", "s"), Credential("t-other", "s")
OWN = Credential("t-own", "e")
ADMIN = Credential("t-admin", "")
ANYBODY = Credential()


@pytest.fixture
def host(broker: Broker) -> PlayedHost:
    return PlayedHost(broker)


async def owner_of(host: PlayedHost) -> str | None:
    known = await HostRegistry(host.broker).get(host.key)
    return known.owner if known is not None else None


async def conflicts(host: PlayedHost) -> list[CredentialConflict]:
    async with host.broker.guarded() as redis:
        entries = await redis.xrange(keys.events(host.at.partition))
    events = [FleetEventReader.validate_python(fields) for _, fields in entries]
    return [event for event in events if isinstance(event, CredentialConflict)]


def asked(by: Credential, *, ended: str = "") -> Credential:
    """The same token, after the owner was looked up."""
    return structs.replace(by, was_asked=True, ended_owner=ended)


@pytest.mark.parametrize("first", [SHARED, OWN])
async def test_the_first_token_that_beats_owns_the_host(host: PlayedHost, first: Credential) -> None:
    assert await host.beat_as(first) == Idle(0)
    assert await owner_of(host) == first.token_id
    assert await host.beat_as(first) == Idle(0)
    assert await host.beat_as(OTHER) == Contested(first.token_id, "the host belongs to another token")
    assert await owner_of(host) == first.token_id


@pytest.mark.parametrize("nobody", [ADMIN, ANYBODY])
async def test_who_owns_nothing_takes_no_host(host: PlayedHost, nobody: Credential) -> None:
    assert await host.beat_as(nobody) == Idle(0)
    assert await owner_of(host) == ""
    await host.beat_as(SHARED)
    assert await host.beat_as(nobody) == Idle(0)
    assert await owner_of(host) == SHARED.token_id


async def test_a_hosts_own_credential_takes_it_over_and_nothing_takes_it_back(host: PlayedHost) -> None:
    await host.beat_as(SHARED)
    assert await host.beat_as(OWN) == Idle(0)
    assert await owner_of(host) == OWN.token_id
    for other in (SHARED, OTHER, ADMIN, Credential("t-own-2", "e")):
        assert isinstance(await host.beat_as(other), Contested), other


async def test_an_owner_whose_token_has_ended_owns_nothing(host: PlayedHost) -> None:
    for owner, heir in ((SHARED, OTHER), (OTHER, OWN), (OWN, Credential("t-own-2", "e"))):
        await host.beat_as(asked(owner, ended=await owner_of(host) or ""))
        assert await owner_of(host) == owner.token_id
        assert await host.beat_as(asked(heir, ended=owner.token_id)) == Idle(0)
        assert await owner_of(host) == heir.token_id


async def test_a_host_that_was_released_belongs_to_the_next_that_beats(host: PlayedHost) -> None:
    await host.beat_as(SHARED)
    registry = HostRegistry(host.broker)
    assert await registry.release(host.key) == SHARED.token_id
    assert await registry.release(host.key) is None
    await host.beat_as(OTHER)
    assert await owner_of(host) == OTHER.token_id


async def test_a_contested_beat_changes_nothing_and_gets_no_command(host: PlayedHost) -> None:
    await host.beat_as(SHARED)
    await host.submit()
    await host.settle()
    host.now += 10
    async with host.broker.guarded() as redis:
        before = (
            await redis.hgetall(keys.host(host.at)),
            await redis.zscore(keys.beats(host.at.partition), host.at.path),
        )
        assert isinstance(await host.beat_as(asked(OTHER)), Contested)
        after = await redis.hgetall(keys.host(host.at)), await redis.zscore(keys.beats(host.at.partition), host.at.path)
    assert before == after
    assert await host.state() == "pending"
    assert isinstance(await host.beat_as(SHARED), Delivered)


async def test_a_conflict_is_told_once_its_owner_was_looked_up_and_not_at_every_beat(host: PlayedHost) -> None:
    await host.beat_as(OWN)
    await host.beat_as(OTHER)
    assert await conflicts(host) == []
    for _ in range(3):
        await host.beat_as(asked(OTHER))
    (told,) = await conflicts(host)
    assert (told.credential, told.owner, told.hostname) == (OTHER.token_id, OWN.token_id, host.key.host)
    assert told.model_extra == {}
    async with host.broker.guarded() as redis:
        assert 0 < await redis.ttl(keys.conflict(host.at)) <= 600
        await redis.delete(keys.conflict(host.at))
    await host.beat_as(asked(OTHER))
    assert len(await conflicts(host)) == 2


async def test_a_credential_at_fault_is_refused_and_told_even_where_nobody_owns_the_host(host: PlayedHost) -> None:
    copied = structs.replace(OWN, fault="the credential is that of web/web-02")
    assert await host.beat_as(copied) == Contested("", copied.fault)
    (told,) = await conflicts(host)
    assert (told.credential, told.owner, told.reason) == (OWN.token_id, "", copied.fault)
    assert await owner_of(host) is None, "the host has not even joined"


async def test_a_completion_is_the_owners_too(host: PlayedHost) -> None:
    await host.submit()
    await host.settle()
    await host.beat_as(SHARED)
    command = await host.take()
    store = CommandStore(host.broker)
    body = Completion.model_validate_json(
        json.dumps({"command_id": command.command_id, "hostname": host.key.host, "status": "completed"})
    )
    contested = await store.complete(host.key, body, by=asked(OTHER), now=host.now)
    assert contested == Contested(SHARED.token_id, "the host belongs to another token")
    assert await host.state() == "delivered"
    assert len(await conflicts(host)) == 1
    assert await store.complete(host.key, body, by=SHARED, now=host.now) is Recorded.RECORDED
