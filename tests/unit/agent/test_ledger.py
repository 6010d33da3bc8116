import os
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.history import Finished, Held, Received, Settled, Stage, Started
from agent.ledger import Ledger, LedgerFull
from protocol.completions import Completion
from tests.support.agents import calm

NOW = datetime(2026, 1, 2, tzinfo=UTC)


def received(command_id: str) -> Received:
    return Received(command_id=command_id, kind="start", at=NOW)


def test_what_is_recorded_is_there_after_a_restart(tmp_path: Path) -> None:
    path = tmp_path / "ledger"
    completion = Completion(command_id="a", hostname="h", status="completed", execution_time=1.5, samples=7)
    with Ledger(path) as ledger:
        for record in (
            received("a"),
            Started(command_id="a", at=NOW),
            Finished(command_id="a", completion=completion),
            received("b"),
        ):
            ledger.record(record)
        before = ledger.history
    with Ledger(path) as again:
        assert again.history == before
        assert again.history.get("a") == Held("a", "start", Stage.FINISHED, completion)


def test_each_record_is_on_disk_before_the_call_returns(tmp_path: Path) -> None:
    path = tmp_path / "ledger"
    with Ledger(path) as ledger:
        ledger.record(received("a"))
        assert b'"a"' in path.read_bytes()


@calm
@given(st.data())
def test_a_ledger_cut_at_any_byte_keeps_every_whole_line(tmp_path: Path, data: st.DataObject) -> None:
    path = tmp_path / "ledger"
    path.unlink(missing_ok=True)
    with Ledger(path) as ledger:
        for number in range(5):
            ledger.record(received(f"c{number}"))
    whole = path.read_bytes()
    cut = data.draw(st.integers(0, len(whole)))
    path.write_bytes(whole[:cut])
    survivors = [f"c{number}" for number in range(whole[:cut].count(b"\n"))]
    with Ledger(path) as again:
        assert list(again.history.commands) == survivors
        again.record(received("next"))
    with Ledger(path) as once_more:
        assert list(once_more.history.commands) == [*survivors, "next"]


@calm
@given(rubbish=st.binary(max_size=200))
def test_a_ledger_of_rubbish_is_no_reason_to_die(tmp_path: Path, rubbish: bytes) -> None:
    path = tmp_path / "ledger"
    path.write_bytes(rubbish)
    with Ledger(path) as ledger:
        ledger.record(received("a"))
        assert "a" in ledger.history


def test_a_full_disk_is_told_and_leaves_no_torn_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "ledger"
    with Ledger(path) as ledger:
        ledger.record(received("a"))
        really_write = os.write
        room = [10]

        def write(file: int, content: bytes) -> int:
            if room[0] == 0:
                raise OSError(28, "No space left on device")
            written = really_write(file, content[: room[0]])
            room[0] -= written
            return written

        with monkeypatch.context() as full:
            full.setattr(os, "write", write)
            with pytest.raises(LedgerFull, match="No space left on device"):
                ledger.record(received("b"))
        assert "b" not in ledger.history
        ledger.record(received("c"))
    with Ledger(path) as again:
        assert list(again.history.commands) == ["a", "c"]


def test_a_note_counts_until_the_restart(tmp_path: Path) -> None:
    path = tmp_path / "ledger"
    with Ledger(path) as ledger:
        ledger.note(received("a"))
        assert "a" in ledger.history
    with Ledger(path) as again:
        assert "a" not in again.history


def test_the_file_does_not_grow_without_bound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agent.ledger._COMPACT_AFTER", 20)
    path = tmp_path / "ledger"
    with Ledger(path) as ledger:
        for _ in range(100):
            ledger.record(received("a"))
            ledger.record(Settled(command_id="a"))
        assert len(path.read_bytes().splitlines()) <= 25
        assert list(ledger.history.commands) == ["a"]
    assert [found.name for found in tmp_path.iterdir()] == ["ledger"]


def test_a_link_in_place_of_the_new_file_is_not_followed(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious")
    (tmp_path / "ledger.new").symlink_to(victim)
    with pytest.raises(OSError, match="symbolic link"):
        Ledger(tmp_path / "ledger")
    assert victim.read_text() == "precious"


def test_the_ledger_is_for_its_owner_only(tmp_path: Path) -> None:
    path = tmp_path / "ledger"
    with Ledger(path):
        assert path.stat().st_mode & 0o777 == 0o600


def test_records_and_the_files_own_name_are_synced_to_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[str] = []
    really_sync = os.fsync

    def sync(file: int) -> None:
        synced.append(Path(f"/proc/self/fd/{file}").readlink().name)
        really_sync(file)

    monkeypatch.setattr(os, "fsync", sync)
    with Ledger(tmp_path / "ledger") as ledger:
        assert synced == ["ledger.new", tmp_path.name]
        ledger.record(received("a"))
        assert synced[2:] == ["ledger"]
