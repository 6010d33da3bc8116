"""When a child wrote, told by the kernel: real children and pipes."""

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.profilers import attached, spawn
from agent.profilers.written import last_write, untouched

LATE = 1.2
EARLIER = 0.6


@pytest.fixture
def pipe(tmp_path: Path) -> Iterator[int]:
    os.mkfifo(tmp_path / "pipe")
    both = os.open(tmp_path / "pipe", os.O_RDWR)
    yield both
    os.close(both)


async def test_a_child_said_something_when_it_did_and_not_when_it_is_heard(tmp_path: Path) -> None:
    program = ["/bin/sh", "-c", f"sleep {EARLIER}; date +%s.%N; exec sleep 60"]
    async with spawn.running(program, stdout=spawn.PIPE, cwd=tmp_path) as child:
        assert not any(tmp_path.iterdir())  # noqa: ASYNC240 -- a test may block
        time.sleep(LATE + EARLIER)  # noqa: ASYNC251 -- we hear nothing meanwhile
        said = time.monotonic() - (time.time() - float(await child.stdout.readline()))
        assert child.wrote() == pytest.approx(said, abs=0.2)
        assert time.monotonic() - child.wrote() > LATE / 2


async def test_an_answer_has_its_time_also_when_the_tool_goes_on_and_has_ended(tmp_path: Path) -> None:
    answer = await attached.ask(["/bin/sh", "-c", f"sleep {EARLIER}; date +%s.%N; exec sleep {LATE}"], cwd=tmp_path)
    said = time.monotonic() - (time.time() - float(answer.said))
    assert answer.code == 0
    assert answer.at == pytest.approx(said, abs=0.2)
    assert time.monotonic() - answer.at > LATE / 2


async def test_where_no_pipe_can_have_a_name_a_child_is_heard_all_the_same() -> None:
    async with spawn.running(["/bin/echo", "begun"], stdout=spawn.PIPE, cwd=Path("/proc")) as child:
        assert await child.stdout.read() == b"begun\n"
        assert time.monotonic() - child.wrote() < EARLIER


def test_where_no_write_is_noted_it_is_taken_for_one_of_now(pipe: int) -> None:
    now = time.monotonic()
    assert last_write(pipe, untouched(pipe), since=now - 60) >= now


@pytest.mark.parametrize("shift", [-3_600, 3_600])
def test_a_wall_clock_that_was_set_makes_nothing_older_than_it_can_be_or_newer_than_now(pipe: int, shift: int) -> None:
    since, before = time.monotonic(), untouched(pipe)
    os.utime(pipe, (time.time() + shift,) * 2)
    assert since <= last_write(pipe, before, since=since) <= time.monotonic()
