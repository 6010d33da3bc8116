"""Dead letters: what was given up on is kept with all that is needed to try it anew, which is done once."""

import asyncio
from typing import Any

import pytest

from broker import keys, scripts
from broker.connection import Broker
from broker.dead_letters import DeadLetter, DeadLetters, Kind, LetterId, Replay, wish_of
from broker.request_log import MERGERS, RequestLog
from broker.request_store import RequestStore
from broker.scripts import MOST_ATTEMPTS, Idle
from tests.support.builders import NOW, a_host
from tests.support.played_host import PlayedHost

REASON = f"handed out {MOST_ATTEMPTS} times without an ack"


@pytest.fixture
def letters(broker: Broker) -> DeadLetters:
    return DeadLetters(broker, RequestStore(broker), RequestLog(broker))


async def all_of(letters: DeadLetters, after: LetterId | None = None) -> list[DeadLetter]:
    return [letter async for letter in letters.all_of(after=after)]


async def never_acked(host: PlayedHost) -> None:
    """Its agent takes the command until nobody offers it any more."""
    for _ in range(MOST_ATTEMPTS):
        await host.take()
    assert isinstance(await host.beat(), Idle)


async def parked(broker: Broker, path: str, partition: int = 0) -> None:
    async with broker.guarded() as redis:
        await redis.xgroup_create(keys.doorbell(partition), MERGERS, id="0", mkstream=True)
        entry_id = await redis.xadd(keys.doorbell(partition), {"hosts": path})
        await redis.xreadgroup(MERGERS, "m", {keys.doorbell(partition): ">"})
    call = scripts.park(partition, [path], group=MERGERS, entry_id=entry_id, reason="broken", deliveries=11, now=7_000)
    assert await broker.run(call) == 1
    assert await broker.run(call) == 0


async def rings(broker: Broker, partition: int = 0) -> list[str]:
    async with broker.guarded() as redis:
        return [fields["hosts"] for _, fields in await redis.xrange(keys.doorbell(partition))]


async def test_a_command_that_was_never_acked_is_a_dead_letter(broker: Broker, letters: DeadLetters) -> None:
    host = PlayedHost(broker)
    first = await host.submit(pids=[1])
    second = await host.submit(pids=[2])
    await host.settle()
    await never_acked(host)
    (letter,) = await all_of(letters)
    assert (letter.kind, letter.host, letter.reason) == (Kind.COMMAND, host.key, REASON)
    assert (letter.attempts, letter.at, letter.command_id) == (MOST_ATTEMPTS, int(NOW * 1000), second.command_id)
    assert set(letter.request_ids) == {first.request_id, second.request_id}
    assert await letters.get(letter.letter_id) == letter
    assert await host.state() == "undeliverable"


WISHES: list[dict[str, Any]] = [
    {"duration": 33, "frequency": 97, "pids": [5, 6], "additional_args": {"a": {"b": [1]}}},
    {"continuous": True, "profiling_mode": "allocation"},
    {"command_type": "stop"},
    {"command_type": "stop", "pids": [9]},
]


@pytest.mark.parametrize("asked", WISHES)
async def test_a_replayed_command_is_a_new_request_with_the_same_wish(
    broker: Broker, letters: DeadLetters, asked: dict[str, Any]
) -> None:
    host = PlayedHost(broker)
    if "pids" in asked and asked.get("command_type") == "stop":
        await host.submit()
        await host.settle()
        await host.begin()
    await host.submit(**asked)
    await host.settle()
    given_up = (await host.command())["reply"]
    await never_acked(host)
    (letter,) = await all_of(letters)
    host.now += 60
    done = await letters.replay(letter, by="token-7", now=host.now)
    assert done is not None
    assert done.request_id not in letter.request_ids
    record = await RequestStore(broker).get(done.request_id)
    assert record is not None
    assert (record.submitted_by, record.tenant, record.hosts_appended) == ("token-7", "default", 1)
    assert list(record.targets) == [host.key.host]
    assert await all_of(letters) == []
    await host.settle()
    taken = await host.take()
    assert taken.command_id == done.command_id
    assert taken.command == given_up


async def test_a_stopped_pid_is_not_profiled_again_by_a_replay(broker: Broker, letters: DeadLetters) -> None:
    host = PlayedHost(broker)
    await host.submit()
    await host.settle()
    await host.begin()
    await host.submit(command_type="stop", pids=[7])
    await host.settle()
    await never_acked(host)
    (letter,) = await all_of(letters)
    assert wish_of(letter.command, host.key)[1] == {7}
    await letters.replay(letter, by="t", now=host.now)
    await host.settle()
    assert '"exclude_pids":[7]' in (await host.take()).command


async def test_replaying_many_times_at_once_makes_one_request(broker: Broker, letters: DeadLetters) -> None:
    host = PlayedHost(broker)
    await host.submit()
    await host.settle()
    await never_acked(host)
    (letter,) = await all_of(letters)
    answers = await asyncio.gather(*(letters.replay(letter, by="t", now=host.now) for _ in range(8)))
    assert len(set(answers)) == 1
    assert await letters.replay(letter, by="t", now=host.now + 9) == answers[0], "a letter that one still holds"
    assert await letters.replayed(letter.letter_id) == answers[0]
    async with broker.guarded() as redis:
        assert await redis.xlen(keys.requests(host.at)) == 1
        life = await redis.ttl(keys.replayed(letter.letter_id.partition, letter.letter_id.entry_id))
    assert 604_000 < life <= 604_800


@pytest.mark.parametrize("step", ["put", "append", "note_appended", "nothing"])
async def test_a_replay_that_is_cut_short_goes_on_with_the_same_request(
    broker: Broker, letters: DeadLetters, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    host = PlayedHost(broker)
    await host.submit()
    await host.settle()
    await never_acked(host)
    (letter,) = await all_of(letters)

    async def crash(*_: object, **__: object) -> None:
        raise ConnectionResetError

    with monkeypatch.context() as patched:
        if step == "nothing":
            patched.setattr(DeadLetters, "_submit", crash)
        else:
            patched.setattr(RequestLog if step == "append" else RequestStore, step, crash)
        with pytest.raises(ConnectionResetError):
            await letters.replay(letter, by="t", now=host.now)
    assert await all_of(letters) == [letter], "it is not forgotten"
    claimed = await letters.replayed(letter.letter_id)
    done = await letters.replay(letter, by="t", now=host.now + 5)
    assert done == claimed
    assert done is not None
    assert await all_of(letters) == []
    await host.settle()
    assert (await host.take()).command_id == done.command_id
    async with broker.guarded() as redis:
        assert await redis.exists(keys.requests(host.at)) == 0, "appended once"


async def test_a_replayed_doorbell_rings_once(broker: Broker, letters: DeadLetters) -> None:
    await parked(broker, a_host().path)
    assert await rings(broker) == []
    (letter,) = await all_of(letters)
    assert (letter.kind, letter.host, letter.attempts, letter.at) == (Kind.DOORBELL, a_host(), 11, 7_000)
    answers = await asyncio.gather(*(letters.replay(letter, by="t", now=NOW) for _ in range(8)))
    assert set(answers) == {Replay(Kind.DOORBELL, a_host().path)}
    assert await rings(broker) == [a_host().path]
    assert await all_of(letters) == []


async def test_a_letter_that_names_no_host_is_kept_too(broker: Broker, letters: DeadLetters) -> None:
    await parked(broker, "no/host")
    (letter,) = await all_of(letters)
    assert letter.host is None
    assert await letters.replay(letter, by="t", now=NOW) is not None
    assert await rings(broker) == ["no/host"]


async def test_letters_come_by_partition_and_age_from_anywhere(broker: Broker, letters: DeadLetters) -> None:
    async with broker.guarded() as redis:
        for partition, number in ((2, 1), (0, 5), (0, 3), (15, 1)):
            fields = {"reason": "r", "deliveries": 11, "at": 1, "host": f"{partition}/{number}/h"}
            entry_id = f"{10 - number}-0" if partition else f"{number if number == 5 else 9}-0"
            await redis.xadd(keys.dead_letters(partition), fields, entry_id)
    listed = await all_of(letters)
    assert [letter.path for letter in listed] == ["0/5/h", "0/3/h", "2/1/h", "15/1/h"]
    assert {letter.attempts for letter in listed} == {11}, "letters of an older version are read"
    for number, letter in enumerate(listed):
        assert await all_of(letters, LetterId.read(str(letter.letter_id))) == listed[number + 1 :]


async def test_what_is_no_letter_is_not_replayed(broker: Broker, letters: DeadLetters) -> None:
    for text in ("0-1-1", "9999-1-1"):
        assert await letters.get(LetterId.read(text)) is None
    ghost = DeadLetter(LetterId(0, "1-1"), Kind.DOORBELL, a_host().path, "r", 1, 1)
    assert await letters.replay(ghost, by="t", now=NOW) is None
    assert await rings(broker) == []
