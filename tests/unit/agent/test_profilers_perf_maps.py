"""Perf maps below a folder that looks like /proc."""

import os
from pathlib import Path

import pytest

from agent.profilers import perf_maps


@pytest.fixture
def process(tmp_path: Path) -> Path:
    """Process 50 of this user, which calls itself 7, with a map in its own /tmp."""
    folder = tmp_path / "50"
    (folder / "root" / "tmp").mkdir(parents=True)
    (folder / "status").write_text(f"Name:\tnode\nPid:\t50\nUid:\t0\t{os.geteuid()}\t0\t0\nNSpid:\t50\t7\n")
    (folder / "root" / "tmp" / "perf-7.map").write_text("1000 10 JS:*sum /a.js:1:1\n")
    return folder


def named(process: Path) -> dict[int, str]:
    return perf_maps.names(50, [0x1004, 0x2000], proc=process.parent)


def test_a_map_is_found_by_the_number_that_the_process_has_inside(process: Path) -> None:
    assert named(process) == {0x1004: "JS:*sum /a.js:1:1"}


def test_a_process_without_a_map_or_one_that_has_ended_has_no_names(process: Path) -> None:
    (process / "root" / "tmp" / "perf-7.map").unlink()
    assert named(process) == {}
    assert perf_maps.names(51, [1], proc=process.parent) == {}


def test_no_link_is_followed(process: Path, tmp_path: Path) -> None:
    there = process / "root" / "tmp" / "perf-7.map"
    there.rename(tmp_path / "elsewhere.map")
    there.symlink_to(tmp_path / "elsewhere.map")
    assert named(process) == {}
    there.unlink()
    (tmp_path / "elsewhere.map").rename(there)
    assert named(process)
    (process / "root" / "tmp").rename(tmp_path / "tmp")
    (process / "root" / "tmp").symlink_to(tmp_path / "tmp")
    assert named(process) == {}


def test_a_pipe_does_not_hold_the_agent(process: Path) -> None:
    (process / "root" / "tmp" / "perf-7.map").unlink()
    os.mkfifo(process / "root" / "tmp" / "perf-7.map")
    assert named(process) == {}


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_a_map_of_another_user_is_not_believed(process: Path) -> None:
    os.chown(process / "root" / "tmp" / "perf-7.map", 12345, 12345)
    assert named(process) == {}


def test_a_map_that_is_too_large_is_passed_over(process: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agent.profilers.perf_maps.MAX_SIZE", 10)
    assert named(process) == {}


@pytest.mark.skipif(os.geteuid() != 0, reason="perf believes root's files alone")
def test_maps_that_perf_would_not_get_through_are_found(process: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (process / "ns").mkdir()
    (process / "ns" / "mnt").symlink_to("mnt:[1]")
    (process.parent / "51").mkdir()  # it has ended
    assert perf_maps.traps(proc=process.parent) == set()
    tmp = process / "root" / "tmp"
    os.mkfifo(tmp / "perf-8.map")
    os.mkfifo(tmp / "perf-9.map")
    os.chown(tmp / "perf-9.map", 12345, 12345)
    os.mkfifo(tmp / "another")
    assert perf_maps.traps(proc=process.parent) == {tmp / "perf-8.map"}
    monkeypatch.setattr("agent.profilers.perf_maps.MAX_SIZE", 10)
    assert perf_maps.traps(proc=process.parent) == {tmp / "perf-8.map", tmp / "perf-7.map"}
    assert perf_maps.spring(perf_maps.traps(proc=process.parent)) == (frozenset({tmp / "perf-7.map"}), frozenset())
    assert (tmp / "perf-7.map").read_text() == "1000 10 JS:*sum /a.js:1:1\n"
