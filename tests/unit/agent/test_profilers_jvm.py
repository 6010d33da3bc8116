"""What a JVM is told, and what it answers."""

import asyncio
import contextlib
import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree as ET

import psutil
import pytest

from agent.processes import Process
from agent.profilers import jfr_settings, jvm, jvm_attach, leash, reasons
from agent.profilers.crash_watch import CrashWatch
from agent.profilers.jvm import NoAnswer, Version
from tests.support.agents import alive
from tests.support.processes import eventually


@pytest.mark.parametrize(
    ("said", "version", "recorder"),
    [
        ("1:\nOpenJDK 64-Bit Server VM version 17.0.15+6\nJDK 17.0.15\n", Version(17), True),
        ("1:\nJava HotSpot(TM) 64-Bit Server VM version 25.25-b02\nJDK 8.0_25\n", Version(8, 25), False),
        ("OpenJDK 64-Bit Server VM version 25.302-b08\nJDK 8.0_302", Version(8, 302), True),
        ("JDK 1.8.0_292", Version(8, 292), True),
        ("JDK 9.0.4", Version(9), False),
        ("JDK 11.0.2", Version(11), True),
        ("JDK 25", Version(25), True),
        ("JRE 17 Linux amd64-64-Bit Eclipse OpenJ9", None, None),
    ],
)
def test_the_version_of_a_jdk_is_read(said: str, version: Version | None, *, recorder: bool | None) -> None:
    read = jvm.version_of(said)
    assert read == version
    assert (read.has_recorder if read else None) == recorder


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ("[Errno 13] Permission denied: '/proc/7/root'\n", "run the agent as root, or as the user of the JVM"),
        ("[Errno 3] No such process", "it has ended"),
        ("[Errno 2] No such file or directory: '/proc/7/root'", "it has ended"),
        ("timed out\n", "does not answer to attaching in time"),
        ("java.lang.IllegalArgumentException: Unknown diagnostic command\n\tat x.Y(Z.java)", "JDK 11 or newer has"),
        ("Could not start recording, not able to write to file\n", "Could not start recording"),
        ("", "it says nothing"),
    ],
)
def test_why_a_jvm_does_not_do_as_it_is_asked_is_told_in_words_to_act_on(said: str, reason: str) -> None:
    assert reason in reasons.jvm(said, timed_out=False)
    assert reasons.jvm(said, timed_out=True) == "it does not answer to attaching in time"


def test_a_process_that_does_not_handle_sigquit_is_not_attached_to(tmp_path: Path) -> None:
    child = subprocess.Popen(["sleep", "60"], cwd=tmp_path)
    try:
        target = Process(child.pid, 0.0, "sleep", "java")
        with pytest.raises(NoAnswer, match="does not handle SIGQUIT"):
            asyncio.run(jvm.command(target, ["VM.version"], cwd=tmp_path))
        assert child.poll() is None
        assert list(tmp_path.iterdir()) == []
        assert not jvm_attach.takes_quit(2**22 + 1)
    finally:
        child.kill()
        child.wait()


def test_the_settings_record_no_secret_and_nothing_that_is_not_asked_for() -> None:
    for text in (jfr_settings.for_cpu(99), jfr_settings.for_allocation(17), jfr_settings.for_allocation(11)):
        events = {
            event.attrib["name"]: {one.attrib["name"]: one.text for one in event} for event in ET.fromstring(text)
        }
        on = {name for name, settings in events.items() if settings["enabled"] == "true"}
        assert on <= {
            "jdk.ExecutionSample", "jdk.NativeMethodSample", "jdk.DataLoss", "jdk.ObjectAllocationSample",
            "jdk.ObjectAllocationInNewTLAB", "jdk.ObjectAllocationOutsideTLAB",
        }  # fmt: skip
        assert events["jdk.InitialEnvironmentVariable"] == {"enabled": "false"}
        assert events["jdk.InitialSystemProperty"] == {"enabled": "false"}


@pytest.mark.parametrize(("hz", "period"), [(1, 1000), (11, 91), (99, 10), (100, 10), (5000, 1)])
def test_the_jvms_timer_is_told_in_whole_milliseconds(hz: int, period: int) -> None:
    assert jfr_settings.period_ms(hz) == period


def test_the_report_of_a_crash_is_found_after_the_jvm_has_gone(tmp_path: Path) -> None:
    child = subprocess.Popen([sys.executable, "-c", "input()"], cwd=tmp_path, stdin=subprocess.PIPE)
    with CrashWatch(child.pid) as watch:
        child.communicate(b"\n")
        assert not watch.crashed()
        (tmp_path / f"hs_err_pid{child.pid}.log").write_text("# A fatal error")
        assert watch.crashed()
    assert os.listdir(tmp_path) == [f"hs_err_pid{child.pid}.log"]  # noqa: PTH208 -- names alone


as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root may become another user")
DEAF = "import signal; signal.signal(signal.SIGQUIT, lambda *_: None); print('ready', flush=True); input()"


def test_asking_that_is_broken_off_leaves_no_file_in_the_jvms_directory(tmp_path: Path) -> None:
    """The process takes SIGQUIT as a JVM does, and never listens."""
    (there := tmp_path / "there").mkdir()
    command = [sys.executable, "-c", DEAF]
    child = subprocess.Popen(command, cwd=there, stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    async def cancelled() -> None:
        target = Process(child.pid, 0.0, "python", "java")
        asking = asyncio.create_task(jvm.command(target, ["VM.version"], cwd=tmp_path))
        async with asyncio.timeout(30):
            while not list(there.iterdir()):  # noqa: ASYNC110 -- another process makes the file
                await asyncio.sleep(0.02)
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking

    try:
        assert child.stdout is not None
        assert child.stdout.readline() == b"ready\n"
        asyncio.run(cancelled())
        assert list(there.iterdir()) == []
        assert child.poll() is None
    finally:
        child.communicate(b"\n")


def test_a_socket_that_is_not_the_jvms_own_is_not_spoken_to(tmp_path: Path) -> None:
    tmp = os.open(tmp_path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        with socket.socket(socket.AF_UNIX) as theirs:
            theirs.bind(str(tmp_path / ".java_pid7"))
            assert jvm_attach._listens(tmp, ".java_pid7", os.geteuid())
            assert not jvm_attach._listens(tmp, ".java_pid7", os.geteuid() + 1)
        (tmp_path / ".java_pid8").symlink_to(tmp_path / ".java_pid7")
        (tmp_path / ".java_pid9").write_text("")
        assert not jvm_attach._listens(tmp, ".java_pid8", os.geteuid())
        assert not jvm_attach._listens(tmp, ".java_pid9", os.geteuid())
    finally:
        os.close(tmp)


@contextlib.contextmanager
def deaf(there: Path, *, uid: int) -> Iterator[int]:
    """A process of a user that takes SIGQUIT as a JVM does, and never listens; it stands in that directory."""
    # In there, with what it needs imported before: such a user may not be able to read our Python.
    become = f"import os, signal; os.setgid({uid}); os.setuid({uid}); "
    program = [sys.executable, "-c", become + DEAF]
    child = subprocess.Popen(program, cwd=there, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        assert child.stdout is not None
        assert child.stdout.readline() == b"ready\n"
        yield child.pid
    finally:
        child.communicate(b"\n")


@pytest.fixture
def open_to_all() -> Iterator[Path]:
    """A folder of root's that any user may look into, as pytest's own are not."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


@as_root
def test_no_file_is_made_where_the_jvms_user_may_not_make_one(open_to_all: Path) -> None:
    """A user may stand anywhere, also in a directory whose files the host's own programs act on."""
    (of_root := open_to_all / "cron.d").mkdir(mode=0o755)
    with deaf(of_root, uid=64_242) as pid:
        words = [str(word) for word in (pid, pid, 64_242, 64_242, "VM.version")]
        with subprocess.Popen([sys.executable, jvm_attach.__file__, *words], stdout=subprocess.DEVNULL) as asking:
            seen = set()
            end = time.monotonic() + 1
            while asking.poll() is None and time.monotonic() < end:
                seen |= {path.name for path in of_root.iterdir()}
            asking.terminate()
    Path(f"/tmp/.attach_pid{pid}").unlink(missing_ok=True)  # where the host's /tmp is everybody's, it asks by that
    assert seen == set()


AGENT = """
import os, subprocess, sys, time
leash, *program = sys.argv[1:]
subprocess.Popen([sys.executable, leash, str(os.getpid()), sys.executable, *program])
time.sleep(60)
"""


@as_root
def test_what_asks_a_jvm_does_so_as_its_user_and_still_dies_with_the_agent(tmp_path: Path) -> None:
    (theirs := tmp_path / "theirs").mkdir()
    os.chown(theirs, 64_242, 64_242)
    with deaf(theirs, uid=64_242) as pid:
        words = [leash.__file__, jvm_attach.__file__, *map(str, (pid, pid, 64_242, 64_242, "VM.version"))]
        agent = subprocess.Popen([sys.executable, "-c", AGENT, *words])
        try:
            eventually(lambda: list(theirs.iterdir()))
            assert [path.stat().st_uid for path in theirs.iterdir()] == [64_242]
            (asking,) = psutil.Process(agent.pid).children()
            assert asking.uids().effective == 64_242
        finally:
            agent.kill()
            agent.wait()
        eventually(lambda: not alive(asking), what="its end with the agent")


def test_an_answer_without_end_is_not_taken_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jvm_attach, "LONGEST_ANSWER", 100_000)
    own, before = os.getpid(), Path.cwd()
    socket_of_jvm = Path(f"/tmp/.java_pid{own}")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(socket_of_jvm))
        listening.listen()

        def answer() -> None:
            talking, _ = listening.accept()
            with talking, contextlib.suppress(OSError):
                while True:
                    talking.sendall(b"x" * 65_536)

        threading.Thread(target=answer, daemon=True).start()
        try:
            with pytest.raises(jvm_attach.NotReached, match="more than 100000 bytes"):
                jvm_attach.ask(own, own, (os.geteuid(), os.getegid()), "VM.version")
        finally:
            os.chdir(before)
            socket_of_jvm.unlink()
