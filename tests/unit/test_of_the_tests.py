"""What the tests stand on: ports that are one's own, waits that say what was not there, and no haste."""

import sys
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.processes import Role, eventually, free_port, started


def test_no_port_is_given_twice() -> None:
    """Of two servers that were started after another, the first may not listen yet."""
    assert len({free_port() for _ in range(1_000)}) == 1_000


def test_the_processes_of_a_run_have_ports_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTEST_XDIST_WORKER_COUNT", "3")
    ports = []
    for number in range(3):
        monkeypatch.setenv("PYTEST_XDIST_WORKER", f"gw{number}")
        ports.append({free_port() % 3 for _ in range(20)})
    assert [len(each) for each in ports] == [1, 1, 1]
    assert set.union(*ports) == {0, 1, 2}


@settings(max_examples=1)
@given(st.just(0.3))
def test_a_property_that_takes_its_time_holds_all_the_same(seconds: float) -> None:
    time.sleep(seconds)


def test_who_waits_for_a_process_is_told_what_it_said(tmp_path: Path) -> None:
    says = "print('no such host', flush=True)"
    with started(Role("talker", [sys.executable, "-c", f"{says}; input()"], env={}, log=tmp_path / "log")) as role:
        role.process.wait(30)  # its input is nobody's
        with pytest.raises(AssertionError, match="talker ended with 1: no such host"):
            eventually(lambda: False, of=role)
    sleeper = [sys.executable, "-c", f"{says}; import time; time.sleep(60)"]
    with started(Role("sleeper", sleeper, env={}, log=tmp_path / "other")) as role:
        eventually(lambda: "host" in role.said(), within=30, of=role)
        with pytest.raises(AssertionError, match=r"it did not happen within 0\.1 s; sleeper says: no such host"):
            eventually(lambda: False, within=0.1, of=role)


def test_who_was_kept_waiting_itself_looks_once_more() -> None:
    moment = time.monotonic() + 0.2

    def late() -> bool:
        before = time.monotonic()
        time.sleep(max(0.0, moment - before))
        return before >= moment

    eventually(late, within=0.1)
