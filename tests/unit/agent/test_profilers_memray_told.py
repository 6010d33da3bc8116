"""What is told of memray, and what becomes of what it tells. What it sees is tested on a real process."""

import importlib.util
from pathlib import Path

import pytest

from agent.profilers import reasons
from agent.profilers.base import Available, Unavailable
from agent.profilers.memray import NO_GDB, NO_MEMRAY, NOT_ASKED, Memray
from agent.stacks import memray as stacks
from tests.support.targets import Run


async def test_a_whole_host_is_not_attached_to_unless_the_command_asks_for_memray(tmp_path: Path) -> None:
    profile = await Run(tmp_path, pids=None, seconds=1, mode="allocation", profilers=[Memray()]).profile()
    assert (profile.error, profile.stacks) == (None, {})
    if isinstance(Memray().probe(), Available):
        assert profile.warnings == [NOT_ASKED]


def test_what_is_missing_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert Memray().probe() == Unavailable(NO_GDB)
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    assert Memray().probe() == Unavailable(NO_MEMRAY)


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        (
            "memray: Failed to start tracking in remote process: ModuleNotFoundError: No module named 'memray'",
            "pip install",
        ),
        ("A memray tracker is already active: tracking", "another memray follows it already"),
        ("ptrace: Operation not permitted.", "run the agent as root"),
        ("boom", "memray says: boom"),
        ("", "memray says: nothing"),
    ],
)
def test_why_memray_did_not_get_in_is_told(said: str, reason: str) -> None:
    assert reason in reasons.memray(said, timed_out=False)
    assert reasons.memray(said, timed_out=True) == "gdb did not get into it in time"


def test_stacks_of_memray_become_ours() -> None:
    lines = [
        '[900, [["listcomp", "/srv/app/a.py", 3], ["work", "/usr/lib/python3.11/json/a.py", 6]]]',
        '[100, [["listcomp", "/srv/app/a.py", 4], ["work", "/usr/lib/python3.11/json/a.py", 7]]]',
        "[5, []]",
        "[0, []]",
    ]
    assert stacks.read(lines) == {"work (json/a.py);listcomp (a.py)": 1000, "[native]": 5}
    with pytest.raises(ValueError, match="line 1 is no stack of memray's"):
        stacks.read(["Traceback"])
