import os
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import psutil
import pytest

from agent.processes import NoSuchTarget, ProcessTable, busiest, is_alive, names_of


def test_this_process_is_found_as_python() -> None:
    found = ProcessTable().find(os.getpid())
    assert (found.pid, found.runtime) == (os.getpid(), "python")
    assert is_alive(found)
    assert os.getpid() in {process.pid for process in ProcessTable().all()}
    assert names_of(frozenset({os.getpid(), 2**31 - 1})) == {os.getpid(): found.name}


def test_a_name_that_would_steer_a_terminal_is_shown_without_that(tmp_path: Path) -> None:
    (program := tmp_path / "\x1b]0;a\nb\x07").symlink_to("/bin/sleep")
    child = subprocess.Popen([program, "60"])
    try:
        assert ProcessTable().find(child.pid).name == "?]0;a?b?"
        assert names_of(frozenset({child.pid})) == {child.pid: "?]0;a?b?"}
    finally:
        child.kill()
        child.wait()


def test_a_clock_that_is_set_makes_no_other_process_of_one(monkeypatch: pytest.MonkeyPatch) -> None:
    found = ProcessTable().find(os.getpid())
    stepped = psutil.boot_time() + 3600  # the kernel's word on when it began follows the clock
    monkeypatch.setattr("psutil._pslinux.boot_time", lambda: stepped)
    assert is_alive(found)
    assert ProcessTable().find(os.getpid()) == found


def test_a_pid_that_is_gone_is_explained() -> None:
    child = subprocess.Popen(["true"])
    child.wait()
    with pytest.raises(NoSuchTarget, match=f"no process {child.pid} on this host: it has ended"):
        ProcessTable().find(child.pid)


def test_a_process_that_only_waits_for_its_parent_is_no_target() -> None:
    child = subprocess.Popen(["true"])
    try:
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
        with pytest.raises(NoSuchTarget, match="has ended and only waits for its parent"):
            ProcessTable().find(child.pid)
    finally:
        child.wait()


def test_the_busiest_process_is_the_one_that_computes() -> None:
    programs = [
        "print('ready', flush=True)\nwhile True: pass",
        "import time; print('ready', flush=True); time.sleep(60)",
    ]
    children = [subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) for program in programs]
    try:
        for child in children:  # to start takes both of them about as much
            assert child.stdout is not None
            assert child.stdout.readline() == b"ready\n"
        table = ProcessTable()
        targets = [table.find(child.pid) for child in reversed(children)]
        assert [one.pid for one in busiest(targets, 1, window=timedelta(milliseconds=400))] == [children[0].pid]
    finally:
        for child in children:
            child.kill()
            child.communicate()
