"""What a JVM is told, and what it answers."""

import asyncio
import os
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from agent.processes import Process
from agent.profilers import jfr_settings, jvm
from agent.profilers.base import Unavailable
from agent.profilers.crash_watch import CrashWatch
from agent.profilers.java import Java
from agent.profilers.jvm import NoAnswer, Version


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


NO_SOCKET = (
    "com.sun.tools.attach.AttachNotSupportedException: Unable to open socket file /proc/7/root/tmp/.java_pid7: target"
    " process 7 doesn't respond within 10500ms or HotSpot VM not loaded"
)


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        (NO_SOCKET, "does not answer to attaching"),
        ("java.io.IOException: Permission denied\n\tat x.Y(Z.java:1)", "run the agent as root, or as the user of the"),
        ("Failed to change credentials to match the target process: Operation not permitted", "run the agent as root"),
        ("java.io.IOException: No such process", "it has ended"),
        ("java.lang.IllegalArgumentException: Unknown diagnostic command", "JDK 11 or newer has, or 8u262"),
        ("Could not start recording, not able to write to file\n", "jcmd says: Could not start recording"),
        ("", "jcmd says: nothing"),
    ],
)
def test_why_a_jvm_cannot_be_spoken_to_is_told_in_words_to_act_on(said: str, reason: str) -> None:
    assert reason in jvm.why(said, timed_out=False, tool="jcmd")


def test_a_process_that_does_not_handle_sigquit_is_not_attached_to(tmp_path: Path) -> None:
    child = subprocess.Popen(["sleep", "60"])
    try:
        target = Process(child.pid, 0.0, "sleep", "java")
        with pytest.raises(NoAnswer, match="does not handle SIGQUIT"):
            asyncio.run(jvm.command(Path("/bin/false"), target, ["VM.version"], cwd=tmp_path))
        assert child.poll() is None
        assert not jvm.takes_quit(2**22 + 1)
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


def test_without_a_tool_to_attach_java_says_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(jvm, "JDK_HOMES", tmp_path)
    assert Java().probe() == Unavailable(jvm.INSTALL)


def test_the_report_of_a_crash_is_found_after_the_jvm_has_gone(tmp_path: Path) -> None:
    child = subprocess.Popen([sys.executable, "-c", "input()"], cwd=tmp_path, stdin=subprocess.PIPE)
    with CrashWatch(child.pid) as watch:
        child.communicate(b"\n")
        assert not watch.crashed()
        (tmp_path / f"hs_err_pid{child.pid}.log").write_text("# A fatal error")
        assert watch.crashed()
    assert os.listdir(tmp_path) == [f"hs_err_pid{child.pid}.log"]  # noqa: PTH208 -- names alone


def test_a_tool_that_is_killed_leaves_no_file_in_the_jvms_directory(tmp_path: Path) -> None:
    """A stand-in for jcmd makes the file by which a JVM is told to listen, and hangs."""
    (there := tmp_path / "there").mkdir()
    program = "import signal; signal.signal(signal.SIGQUIT, lambda *_: None); print('ready', flush=True); input()"
    child = subprocess.Popen([sys.executable, "-c", program], cwd=there, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    tool = tmp_path / "jcmd"
    tool.write_text(f"#!/bin/sh\n: > {there}/.attach_pid{child.pid}\nexec sleep 60\n")
    tool.chmod(0o755)

    async def cancelled() -> None:
        target = Process(child.pid, 0.0, "python", "java")
        asking = asyncio.create_task(jvm.command(tool, target, ["VM.version"], cwd=tmp_path))
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
    finally:
        child.communicate(b"\n")
