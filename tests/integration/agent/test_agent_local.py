"""`gprofiler` without a server: one profile now, or one after the other."""

import os
import pty
import re
import signal
import subprocess
import time
from pathlib import Path

from tests.support.agents import GPROFILER, busy_python, offspring
from tests.support.processes import eventually


def gprofiler(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([GPROFILER, *arguments], capture_output=True, text=True, timeout=60, check=False)


def samples_in(told: str) -> int:
    found = re.search(r"(\d+) samples", told)
    assert found is not None, told
    return int(found[1])


def test_one_run_says_what_it_sampled_and_where_the_flame_graph_is(tmp_path: Path) -> None:
    with busy_python() as (pid,):
        done = gprofiler("-o", str(tmp_path), "-d", "2", "-f", "50", "--pids", str(pid))
    assert (done.returncode, done.stderr) == (0, "")
    assert samples_in(done.stdout) > 50
    assert "of 1 process in 2" in done.stdout
    assert str(tmp_path / "last_flamegraph.html") in done.stdout
    assert "hot_loop" in (tmp_path / "last_flamegraph.html").read_text()


def test_a_run_that_fails_says_why(tmp_path: Path) -> None:
    done = gprofiler("-o", str(tmp_path), "-d", "1", "--pids", str(2**31 - 1))
    assert done.returncode == 1
    assert str(2**31 - 1) in done.stderr
    assert done.stdout == ""


def test_an_output_directory_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    done = gprofiler("-o", str(tmp_path / "file" / "x"), "-d", "1")
    assert done.returncode == 1
    assert str(tmp_path / "file" / "x") in done.stderr


def test_an_interrupt_keeps_what_was_sampled(tmp_path: Path) -> None:
    with busy_python() as (pid,):
        process = subprocess.Popen(
            [GPROFILER, "-o", str(tmp_path), "-d", "60", "-f", "100", "--pids", str(pid)],
            stdout=subprocess.PIPE,
            text=True,
        )
        eventually(lambda: offspring(process.pid), within=30, what="sampling")
        time.sleep(1.5)
        process.send_signal(signal.SIGINT)
        told, _ = process.communicate(timeout=60)
    assert process.returncode == 130
    assert samples_in(told) > 20
    assert (tmp_path / "last_flamegraph.html").exists()


def test_continuous_profiling_goes_on_until_stopped(tmp_path: Path) -> None:
    with busy_python() as (pid,):
        process = subprocess.Popen(
            [GPROFILER, "-o", str(tmp_path), "-c", "-d", "1", "--pids", str(pid)], stdout=subprocess.PIPE, text=True
        )
        eventually(lambda: len([*tmp_path.glob("profile-*.html")]) >= 2, within=30, what="two profiles")
        process.terminate()
        told, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    assert told.count("flame graph") >= 2


def test_progress_is_shown_on_a_terminal(tmp_path: Path) -> None:
    master, slave = pty.openpty()
    with busy_python() as (pid,):
        done = subprocess.run(
            [GPROFILER, "-o", str(tmp_path), "-d", "1", "--pids", str(pid)],
            stdout=subprocess.PIPE, stderr=slave, text=True, timeout=60, check=False,
        )  # fmt: skip
    os.close(slave)
    shown = os.read(master, 65_536).decode()
    os.close(master)
    assert done.returncode == 0
    assert "profiling" in shown
    assert "1/1 s" in shown or "0/1 s" in shown


def test_help_does_not_pay_for_what_profiling_needs() -> None:
    script = (
        "import sys, agent.cli; print(*{'httpx', 'pydantic', 'structlog', 'psutil', 'tenacity'} & set(sys.modules))"
    )
    loaded = subprocess.run(
        [GPROFILER.replace("gprofiler", "python"), "-c", script], capture_output=True, text=True, check=True
    )
    assert loaded.stdout.strip() == ""
