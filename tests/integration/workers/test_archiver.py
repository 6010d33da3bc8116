"""The archiver: every result in the archive once, in one chain, whatever dies in between."""

import asyncio
import json
import os
import time
from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from broker import keys
from broker.archiving import ArchivedStreams, Source
from broker.audit import AuditTrail
from broker.connection import Broker
from broker.lease import Lease
from broker.results import KEPT_FOR, Results
from tests.support.audit import an_act, records_of
from workers import verify_archive
from workers.archive import Archive
from workers.archiver import Archiver, Closing
from workers.segments import BrokenSegment, Record, decode, encode
from workers.verify_archive import verify

AT_ONCE = Closing(age=timedelta(0))
DAY_MS = 86_400_000


class Crash(Exception):
    """Where a test kills the archiver."""


def an_archiver(broker: Broker, folder: Path | str, closing: Closing = AT_ONCE, name: str = "a") -> Archiver:
    lease = Lease(broker, f"archiver-{name}", name)
    return Archiver(ArchivedStreams(broker), Archive(str(folder)), lease, closing)


async def tell(broker: Broker, count: int = 1, *, partition: int = 0, at: int | None = None) -> list[str]:
    """Put entries into a results stream; gives their ids. `at` is in ms."""
    async with broker.guarded() as redis:
        entry_ids = []
        for number in range(count):
            entry_id = "*" if at is None else f"{at}-{number}"
            entry_ids.append(await redis.xadd(keys.results(partition), {"state": "running", "n": number}, entry_id))
        return entry_ids


def archived(folder: Path, partition: int = 0) -> list[str]:
    """The ids in the archive, in the order of the chain."""
    archive = Archive(str(folder))
    paths = [path for path in archive.paths("results") if f"/{partition:04}-" in path]
    return [record.entry_id for path in paths for record in decode(path, archive.read(path)).records]


def files_in(folder: Path, pattern: str = "*") -> list[Path]:
    return sorted(folder.rglob(pattern))


async def whole(broker: Broker, folder: Path) -> bool:
    archive = Archive(str(folder))
    return verify(archive, await ArchivedStreams(broker).heads(archive.name)).ok


async def test_every_result_is_archived_once_and_may_be_trimmed_then(broker: Broker, tmp_path: Path) -> None:
    archiver = an_archiver(broker, tmp_path)
    assert await archiver.archive() == 0
    ids = [await tell(broker, 30, partition=partition, at=DAY_MS) for partition in (0, 5)]
    streams = ArchivedStreams(broker)
    assert {source.number: lag.behind for source, lag in (await streams.lag()).items() if lag.behind} == {0: 30, 5: 30}
    await Results(broker).trim(now=time.time())
    async with broker.guarded() as redis:
        assert await redis.xlen(keys.results(0)) == 30, "not archived, not trimmed"
    assert await archiver.archive() == 60
    ids[0] += await tell(broker, 5, at=DAY_MS + 1)
    assert await archiver.archive() == 5
    assert [archived(tmp_path), archived(tmp_path, 5)] == ids
    assert not any(lag.behind for lag in (await streams.lag()).values())
    assert await whole(broker, tmp_path)
    async with broker.guarded() as redis:
        await redis.xtrim(keys.results(0), maxlen=0)
    more = await tell(broker, 2)
    assert (await streams.lag())[Source("results", 0)].behind == 2
    assert await archiver.archive() == 2
    assert archived(tmp_path) == ids[0] + more


async def test_the_group_holds_what_is_not_archived(broker: Broker, tmp_path: Path) -> None:
    archiver = an_archiver(broker, tmp_path)
    await archiver.archive()
    await tell(broker, 300, at=DAY_MS)
    assert await Results(broker).trim(now=time.time() + KEPT_FOR.total_seconds()) == 0
    await archiver.archive()
    assert await Results(broker).trim(now=time.time() + KEPT_FOR.total_seconds()) > 100


async def test_a_segment_is_closed_by_age_or_by_size_and_idling_writes_nothing(broker: Broker, tmp_path: Path) -> None:
    archiver = an_archiver(broker, tmp_path, Closing(entries=10, age=timedelta(minutes=1)))
    await tell(broker, 9)
    assert await archiver.archive() == 0
    await tell(broker, 4)
    assert await archiver.archive() == 10, "by size; the rest waits"
    assert await archiver.archive() == 0
    await tell(broker, 3, partition=1, at=int((time.time() - 61) * 1000))
    assert await archiver.archive() == 3, "by age"
    before = files_in(tmp_path)
    for _ in range(3):
        assert await archiver.archive() == 0
    assert files_in(tmp_path) == before


async def test_a_segment_holds_one_utc_day(broker: Broker, tmp_path: Path) -> None:
    ids = await tell(broker, 3, at=10 * DAY_MS - 1) + await tell(broker, 3, at=10 * DAY_MS)
    archiver = an_archiver(broker, tmp_path)
    assert [await archiver.archive(), await archiver.archive()] == [3, 3]
    assert sorted(day.name for day in (tmp_path / "results").iterdir()) == ["1970-01-10", "1970-01-11"]
    assert archived(tmp_path) == ids


@pytest.mark.parametrize("after", ["write", "tell_heads", "pass_over"])
@pytest.mark.parametrize("broker_forgets", [False, True])
async def test_a_crash_between_any_two_steps_archives_nothing_twice_and_loses_nothing(
    broker: Broker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, after: str, *, broker_forgets: bool
) -> None:
    archiver = an_archiver(broker, tmp_path)
    ids = await tell(broker, 5)
    await archiver.archive()
    ids += await tell(broker, 5)
    target = Archive if after == "write" else ArchivedStreams
    done: Callable[..., Any] = getattr(target, after)

    def then_crash(*args: Any, **given: Any) -> Any:
        if after == "write":
            done(*args, **given)
            raise Crash

        async def run() -> None:
            await done(*args, **given)
            raise Crash

        return run()

    with monkeypatch.context() as patched:
        patched.setattr(target, after, then_crash)
        with pytest.raises(Crash):
            await archiver.archive()
    if broker_forgets:
        async with broker.guarded() as redis:
            await redis.delete(keys.archive_heads())
    ids += await tell(broker, 5)
    heir = an_archiver(broker, tmp_path)
    await heir.archive()
    await heir.archive()
    assert archived(tmp_path) == ids
    assert await whole(broker, tmp_path)
    assert len(await ArchivedStreams(broker).heads(Archive(str(tmp_path)).name)) > 0, "and the broker knows again"


async def test_a_crash_before_the_file_has_its_name_leaves_no_segment(
    broker: Broker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = await tell(broker, 5)

    def crash(*_: object) -> None:
        raise Crash

    with monkeypatch.context() as patched:
        patched.setattr(os, "link", crash)
        with pytest.raises(Crash):
            await an_archiver(broker, tmp_path).archive()
    assert archived(tmp_path) == []
    await an_archiver(broker, tmp_path).archive()
    assert archived(tmp_path) == ids


async def test_two_archivers_that_both_think_they_work_make_one_chain(broker: Broker, tmp_path: Path) -> None:
    """A lease is no fence: one of them was paused while it held it."""
    one, two = (an_archiver(broker, tmp_path, name=name) for name in "ab")
    ids = []
    for round_ in range(6):
        ids += await tell(broker, 3 + round_)
        await asyncio.gather(one.archive(), two.archive())
    ids += await tell(broker, 1)
    for archiver in (one, two, one):
        await archiver.archive()
    assert archived(tmp_path) == ids
    assert await whole(broker, tmp_path)


async def test_one_works_and_the_other_takes_over_when_it_is_gone(broker: Broker, tmp_path: Path) -> None:
    streams, archive = ArchivedStreams(broker), Archive(str(tmp_path))
    one, two = (Archiver(streams, archive, Lease(broker, "archiver", name), AT_ONCE) for name in "ab")
    await tell(broker, 2)
    assert await one.archive() == 2
    await tell(broker, 2)
    assert await two.archive() == 0
    async with broker.guarded() as redis:
        assert await redis.pexpire(keys.lease("archiver"), 0), "its time is over"
    assert await two.archive() == 2
    assert await one.archive() == 0
    assert await whole(broker, tmp_path)


async def test_a_stored_file_is_never_written_over(broker: Broker, tmp_path: Path) -> None:
    for archive in (Archive(str(tmp_path)), Archive(f"memory://{tmp_path}")):
        archive.write("results/1970-01-02/0000-00000001-1-0.jsonl.gz", b"first")
        with pytest.raises(FileExistsError):
            archive.write("results/1970-01-02/0000-00000001-1-0.jsonl.gz", b"second")
        assert archive.read("results/1970-01-02/0000-00000001-1-0.jsonl.gz") == b"first"
    assert not files_in(tmp_path, ".unfinished*")


async def test_any_file_system_that_fsspec_knows_will_do(broker: Broker, tmp_path: Path) -> None:
    url = f"memory://{tmp_path}/archive"
    await tell(broker, 4)
    assert await an_archiver(broker, url).archive() == 4
    await tell(broker, 4)
    assert await an_archiver(broker, url, name="heir").archive() == 4
    archive = Archive(url)
    verdict = verify(archive, await ArchivedStreams(broker).heads(archive.name))
    assert (verdict.ok, verdict.segments, verdict.records) == (True, 2, 8)


async def test_a_foreign_file_in_the_way_is_refused_and_nothing_is_trimmed(broker: Broker, tmp_path: Path) -> None:
    archiver = an_archiver(broker, tmp_path)
    await archiver.archive()
    (entry_id,) = await tell(broker)
    header, data = encode([Record(entry_id, {})], family="results", stream=0, number=1, previous="beef")
    Archive(str(tmp_path)).write(header.path, data)
    with pytest.raises(BrokenSegment, match="does not follow segment 0"):
        await archiver.archive()
    assert (await ArchivedStreams(broker).lag())[Source("results", 0)].oldest_ms == int(entry_id.partition("-")[0])


# --- verifying --------------------------------------------------------------------------------------------------------


async def three_segments(broker: Broker, folder: Path) -> list[Path]:
    archiver = an_archiver(broker, folder)
    for _ in range(3):
        await tell(broker, 4)
        await archiver.archive()
    return files_in(folder, "*.gz")


def flip(file: Path) -> None:
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(bytes(data))


@pytest.mark.parametrize("number", [0, 1, 2])
@pytest.mark.parametrize("how", ["flip", "drop"])
async def test_what_was_done_to_any_file_is_found(broker: Broker, tmp_path: Path, how: str, number: int) -> None:
    files = await three_segments(broker, tmp_path)
    archive = Archive(str(tmp_path))
    told = await ArchivedStreams(broker).heads(archive.name)
    assert verify(archive, told).ok
    flip(files[number]) if how == "flip" else files[number].unlink()
    verdict = verify(archive, told)
    assert not verdict.ok
    named = files[number if how == "flip" else min(number + 1, 1 if number == 2 else 2)]
    assert verdict.broken is not None
    assert verdict.broken.endswith(named.name), verdict


async def test_swapped_files_are_found(broker: Broker, tmp_path: Path) -> None:
    one, two, _ = await three_segments(broker, tmp_path)
    first, second = one.read_bytes(), two.read_bytes()
    one.write_bytes(second)
    two.write_bytes(first)
    verdict = verify(Archive(str(tmp_path)), None)
    assert verdict.broken is not None
    assert verdict.broken.endswith(one.name)


@pytest.fixture
def look(
    broker: Broker, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., Awaitable[tuple[int, str]]]:
    """The command; gives its exit code and what it said."""
    monkeypatch.setenv("PCS_STATE_DIR", str(broker.settings.state_dir))

    async def run(*arguments: str) -> tuple[int, str]:
        monkeypatch.setattr("sys.argv", ["verify_archive", *arguments])
        capsys.readouterr()  # what the archiver has logged before
        with pytest.raises(SystemExit) as ended:
            await asyncio.to_thread(verify_archive.main)  # it has an event loop of its own
        said = capsys.readouterr()
        return int(str(ended.value.code)), said.out + said.err

    return run


async def test_the_command_says_whole_or_names_the_first_broken_segment(
    broker: Broker, tmp_path: Path, look: Callable[..., Awaitable[tuple[int, str]]]
) -> None:
    files = await three_segments(broker, tmp_path)
    code, said = await look(str(tmp_path), "--json")
    assert (code, json.loads(said)) == (
        0, {"ok": True, "segments": 3, "records": 12, "heads_checked": True, "broken": None, "reason": None,
            "audit_ends": {}},
    )  # fmt: skip
    files[2].unlink()
    code, said = await look(str(tmp_path))
    assert code == 1
    assert f"{files[1].name}: segment 3 is missing behind it" in said


async def test_without_the_broker_it_says_what_it_could_not_see(
    broker: Broker, tmp_path: Path, look: Callable[..., Awaitable[tuple[int, str]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    files = await three_segments(broker, tmp_path)
    files[2].unlink()
    monkeypatch.setenv("PCS_STATE_DIR", str(tmp_path / "nobody-here"))
    code, said = await look(str(tmp_path))
    assert code == 0
    assert "whole: 2 segment(s), 8 record(s); the broker cannot tell of its end: a loss there would not be seen" in said


async def test_the_whole_archive_gone_is_found(
    broker: Broker, tmp_path: Path, look: Callable[..., Awaitable[tuple[int, str]]]
) -> None:
    for file in await three_segments(broker, tmp_path):
        file.unlink()
    code, said = await look(f"file://{tmp_path}/")
    assert code == 1, "however its address is spelt"
    assert "BROKEN at results/*/0000-*: segment 1 is missing behind it; the broker has heard of 3" in said


async def test_an_address_that_cannot_be_read_is_exit_code_2_and_not_told(
    look: Callable[..., Awaitable[tuple[int, str]]],
) -> None:
    code, said = await look("nosuch://user:s3cret@bucket/x")
    assert code == 2
    assert "s3cret" not in said


async def test_the_audit_trail_is_archived_and_its_own_chain_is_verified_too(
    broker: Broker, tmp_path: Path, look: Callable[..., Awaitable[tuple[int, str]]]
) -> None:
    trail, archiver = AuditTrail(broker), an_archiver(broker, tmp_path)
    assert await archiver.archive() == 0
    for number in range(2):
        await trail.write(*(an_act(objects=[f"{number}-{n}"]) for n in range(4)))
        assert await archiver.archive() == 4
    at, records = trail.partition_of("default"), await records_of(broker)
    code, said = await look(str(tmp_path), "--json")
    assert (code, json.loads(said)["audit_ends"]) == (0, {str(at): [8, records[-1]["hash"]]})

    *_, last = files_in(tmp_path, "audit/*/*.gz")
    segment = decode(str(last), last.read_bytes())
    forged = [Record(each.entry_id, {**each.fields, "actor": "another"}) for each in segment.records]
    header = segment.header
    last.write_bytes(
        encode(forged, family="audit", stream=at, number=header.number, previous=header.previous)[1]
    )  # whole as a file, and no link of the chain
    code, said = await look(str(tmp_path))
    assert code == 1
    assert f"{last.name}: record 5: it is not as it was written" in said
