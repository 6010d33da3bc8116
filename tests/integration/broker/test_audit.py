"""The audit trail on a real server: one chain, whoever writes at once; what is done to it is found."""

import asyncio
import json
import time
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from broker import keys
from broker.audit import KEPT_FOR, LONGEST_FACTS, LONGEST_TEXT, AuditTrail, targets_digest
from broker.connection import Broker, Call
from broker.errors import BrokerUnavailable
from broker.scripts import advance
from protocol.audit import AuditOutcome
from protocol.audit_chain import GENESIS, BrokenChain
from tests.support.audit import NOW, an_act, check_chain, records_of


async def test_an_act_is_a_record_that_says_who_what_when_and_from_where(broker: Broker) -> None:
    hosts = ["web-02", "web-01"]
    act = an_act(
        actor_kind="operator", service="web", objects=["r 1", "r-2"], hosts=2, targets=targets_digest(hosts),
        before={"enabled": True}, after={"enabled": False}, address="192.0.2.7", route="PATCH /x", http_request_id="h",
    )  # fmt: skip
    await AuditTrail(broker).write(
        act, an_act(outcome=AuditOutcome.REFUSED, code="forbidden", count=3, last_at=NOW + 1)
    )
    first, second = await records_of(broker)
    assert {name: first[name] for name in ("number", "prev", "tenant", "actor", "service", "objects", "hosts")} == {
        "number": "1", "prev": GENESIS, "tenant": "default", "actor": "token-1", "service": "web",
        "objects": "r%201 r-2", "hosts": "2",
    }  # fmt: skip
    assert (first["at"], json.loads(first["before"]), first["address"]) == (
        "1800000000000",
        {"enabled": True},
        "192.0.2.7",
    )
    assert first["targets"] == targets_digest(reversed(hosts))
    assert (second["prev"], second["count"], second["last_at"]) == (first["hash"], "3", "1800000001000")
    assert "code" not in first
    assert "before" not in second


async def test_what_callers_make_up_neither_breaks_a_record_nor_fills_the_stream(broker: Broker) -> None:
    wild = "\ud800\x00é" + "x" * 10_000
    await AuditTrail(broker).write(an_act(service=wild, objects=[wild], after={"name": wild}, http_request_id=wild))
    (record,) = await records_of(broker)
    assert len(record["service"]) <= LONGEST_TEXT + 1
    assert len(record["after"]) < LONGEST_FACTS
    assert set(json.loads(record["after"])) == {"bytes", "sha256"}
    assert await check_chain(broker) == 1


async def test_processes_that_write_at_once_make_one_chain_with_every_act_in_it_once(broker: Broker) -> None:
    trails = [AuditTrail(broker) for _ in range(4)]
    await asyncio.gather(
        *(trail.write(an_act(objects=[f"{at}-{n}"])) for at, trail in enumerate(trails) for n in range(60))
    )
    records = await records_of(broker)
    assert sorted(record["objects"] for record in records) == sorted(f"{at}-{n}" for at in range(4) for n in range(60))
    assert await check_chain(broker) == 240


async def test_who_writes_at_the_same_time_shares_a_call(broker: Broker, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = 0
    run_all = broker.run_all

    async def counted(asked: Sequence[Call], **given: Any) -> list[Any]:
        nonlocal calls
        calls += 1
        return await run_all(asked, **given)

    monkeypatch.setattr(broker, "run_all", counted)
    trail = AuditTrail(broker)
    await asyncio.gather(*(trail.write(an_act()) for _ in range(150)))
    assert await check_chain(broker) == 150
    assert calls <= 3


async def test_a_writer_that_goes_away_takes_nobody_with_it(broker: Broker) -> None:
    trail = AuditTrail(broker)
    gone = asyncio.create_task(trail.write(an_act(objects=["gone"])))
    stays = asyncio.create_task(trail.write(an_act(objects=["stays"])))
    await asyncio.sleep(0)
    gone.cancel()
    await stays
    assert [record["objects"] for record in await records_of(broker)] == ["gone", "stays"]


async def test_an_append_whose_answer_was_lost_can_be_repeated_and_breaks_nothing(
    broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_all = broker.run_all

    async def executed_and_lost(calls: Sequence[Call], **given: Any) -> list[Any]:
        await run_all(calls, **given)
        await run_all(calls, **given)  # and once more, late, by a connection that was given up
        raise BrokerUnavailable("TimeoutError")

    trail = AuditTrail(broker)
    await trail.write(an_act(objects=["before"]))
    with monkeypatch.context() as lost:
        lost.setattr(broker, "run_all", executed_and_lost)
        with pytest.raises(BrokerUnavailable):
            await trail.write(an_act(objects=["lost"]))
    await trail.write(an_act(objects=["after"]))
    assert [record["objects"] for record in await records_of(broker)] == ["before", "lost", "after"]
    assert await check_chain(broker) == 3


# --- found out --------------------------------------------------------------------------------------------------------

Spoil = Callable[[Any, str, str, list[tuple[str, dict[str, str]]]], Any]


async def _edit(redis: Any, stream: str, _: str, entries: list[tuple[str, dict[str, str]]]) -> None:
    """Entries cannot be edited: an admin deletes the rest, and puts it back with one field changed."""
    for number, (entry_id, fields) in enumerate(entries[2:]):
        await redis.xdel(stream, entry_id)
        entries[2 + number] = (entry_id, {**fields, **({"actor": "another"} if number == 0 else {})})
    for _, fields in entries[2:]:
        await redis.xadd(stream, fields)


async def _drop(redis: Any, stream: str, _: str, entries: list[tuple[str, dict[str, str]]]) -> None:
    await redis.xdel(stream, entries[2][0])


async def _cut_the_end(redis: Any, stream: str, _: str, entries: list[tuple[str, dict[str, str]]]) -> None:
    for entry_id, _fields in entries[2:]:
        await redis.xdel(stream, entry_id)


async def _trim(redis: Any, stream: str, _: str, entries: list[tuple[str, dict[str, str]]]) -> None:
    await redis.xtrim(stream, minid=entries[2][0], approximate=False)


async def _put_in(redis: Any, stream: str, _: str, entries: list[tuple[str, dict[str, str]]]) -> None:
    await redis.xadd(stream, entries[-1][1])


async def _move_the_head(redis: Any, stream: str, chain: str, entries: list[tuple[str, dict[str, str]]]) -> None:
    await redis.hset(chain, mapping={"number": "3", "hash": entries[2][1]["hash"]})


@pytest.mark.parametrize(
    ("spoil", "number"),
    [(_edit, 3), (_drop, 3), (_cut_the_end, 3), (_trim, 1), (_put_in, 6), (_move_the_head, 4)],
    ids=["edited", "dropped", "cut at the end", "trimmed by hand", "put in", "head set back"],
)
async def test_what_an_admin_of_the_server_does_is_found_at_its_record(
    broker: Broker, spoil: Spoil, number: int
) -> None:
    trail = AuditTrail(broker)
    await trail.write(*(an_act(objects=[str(n)]) for n in range(5)))
    assert await check_chain(broker) == 5
    at = trail.partition_of("default")
    async with broker.guarded() as redis:
        await spoil(redis, keys.audit(at), keys.audit_chain(at), await redis.xrange(keys.audit(at)))
    with pytest.raises(BrokenChain) as found:
        await check_chain(broker)
    assert found.value.number == number


async def test_a_server_that_came_back_with_less_or_empty_is_written_on(broker: Broker) -> None:
    trail = AuditTrail(broker)
    await trail.write(an_act(), an_act())
    async with broker.guarded() as redis:
        await redis.flushall()
    await trail.write(an_act(objects=["anew"]))
    assert [record["number"] for record in await records_of(broker)] == ["1"]
    assert await check_chain(broker) == 1


# --- kept -------------------------------------------------------------------------------------------------------------


async def test_nothing_is_trimmed_before_it_is_archived_and_the_chain_then_begins_where_it_was_cut(
    broker: Broker,
) -> None:
    trail = AuditTrail(broker)
    await trail.write(*(an_act(objects=[str(n)]) for n in range(2_500)))
    stream = keys.audit(trail.partition_of("default"))
    later = time.time() + KEPT_FOR.total_seconds() + 60
    assert await trail.trim(now=later) == 0, "there is no archiver"
    async with broker.guarded() as redis:
        await redis.xgroup_create(stream, "archivers", id="0")
        await redis.xgroup_create(stream, "somebody", id="0")
        entry_ids = [entry_id for entry_id, _ in await redis.xrange(stream)]
    assert await trail.trim(now=later) == 0, "nothing is archived"
    await broker.run(advance(stream, group="archivers", to=entry_ids[2_199]))
    assert await trail.trim(now=later) == 0, "somebody has not read it"
    await broker.run(advance(stream, group="somebody", to=entry_ids[-1]))
    assert await trail.trim(now=time.time()) == 0, "it is younger than a week"
    assert await trail.trim(now=later) == 2_199
    part = await trail.look("default")
    assert (part.checkpoint.number, part.head.number) == (2_199, 2_500)
    assert await check_chain(broker) == 2_500
    await trail.write(an_act())
    assert await check_chain(broker) == 2_501


async def test_tenants_of_one_partition_share_a_chain_and_each_finds_its_own(broker: Broker) -> None:
    trail = AuditTrail(broker)
    at = trail.partition_of("default")
    other = next(name for name in (f"tenant-{n}" for n in range(1_000)) if trail.partition_of(name) == at)
    await trail.write(an_act(), an_act(other), an_act(""), an_act())
    assert [record["tenant"] for record in await records_of(broker)] == ["default", other, "", "default"]
    assert await check_chain(broker, other) == 4


async def test_records_are_read_from_either_end_and_from_anywhere(broker: Broker) -> None:
    trail = AuditTrail(broker)
    await trail.write(*(an_act(objects=[str(n)]) for n in range(1_100)))
    forward = [entry async for entry in trail.records("default", newest_first=False)]
    backward = [entry async for entry in trail.records("default")]
    assert [fields["objects"] for _, fields in forward] == [str(n) for n in range(1_100)]
    assert backward == forward[::-1]
    after = [entry async for entry in trail.records("default", after=forward[700][0], newest_first=False)]
    assert after == forward[701:]
    assert [entry async for entry in trail.records("default", since=time.time() + 120)] == []
