from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import pytest

from agent.credentials import Secret
from agent.doctor import machine
from agent.doctor.findings import WIDTH, Finding, as_json, is_well, told
from agent.doctor.server import clock, of_service, of_token
from agent.state_dir import StateDir
from agent.transport import Answer

NOW = datetime(2026, 5, 4, 12, 0, 0, 500_000, UTC)
ROOT = (1 << 41) - 1
PTRACE = 1 << 19


def whoami(status: int = 200, **said: Any) -> Answer:
    return Answer(status, {"kind": "agent", "name": "", "services": ["web*"], **said}, None, "")


def test_lines_fit_into_eighty_columns_and_long_words_stay_whole() -> None:
    findings = [
        Finding("disk", "ok", "x " * 100, "y " * 100),
        Finding("kptr_restrict", "bad", "b" * 30, "c " * 60),
    ]
    lines = told(findings).splitlines()
    assert max(map(len, lines)) <= WIDTH
    assert lines[0].startswith("ok    disk")
    assert any(line.strip().startswith("-> c") for line in lines)
    assert lines[-1] == "1 of 2 are bad"
    assert told([Finding("disk", "note", "x")]).endswith("all is well")


def test_a_note_is_no_fault() -> None:
    assert is_well([Finding("a", "ok", ""), Finding("b", "note", "")])
    assert not is_well([Finding("a", "ok", ""), Finding("b", "bad", "")])
    assert '"ok": false' in as_json([Finding("b", "bad", "")])


@pytest.mark.parametrize(
    ("off", "verdict", "word"),
    [(0, "ok", "5 s"), (4, "ok", "as the"), (-4, "ok", "as the"), (60, "bad", "60 s behind"), (-90, "bad", "ahead of")],
)
def test_the_clock_is_compared_with_the_servers(off: int, verdict: str, word: str) -> None:
    date = format_datetime((NOW + timedelta(seconds=off)).replace(microsecond=0), usegmt=True)
    found = clock(date, before=NOW - timedelta(milliseconds=20), after=NOW)
    assert found.verdict == verdict
    assert word in found.said


def test_a_server_without_a_clock_is_no_fault() -> None:
    assert clock(None, before=NOW, after=NOW).verdict == "note"


@pytest.mark.parametrize(
    ("answer", "token", "verdict", "word"),
    [
        (whoami(), "t", "ok", "kind agent"),
        (whoami(expires_at="2026-06-01T00:00:00Z"), "t", "ok", "until 2026-06-01"),
        (whoami(kind="viewer"), "t", "bad", "kind viewer"),
        (whoami(401), "t", "bad", "does not know it"),
        (whoami(401), None, "bad", "none is given"),
        (whoami(200), None, "note", "asks for none"),
        (whoami(404), "t", "note", "first heartbeat"),
        (whoami(503), "t", "bad", "503"),
    ],
)
def test_what_the_server_makes_of_the_token(answer: Answer, token: str | None, verdict: str, word: str) -> None:
    found = of_token(answer, token=Secret(token) if token else None)
    assert (found.verdict, word in found.said) == (verdict, True), found


@pytest.mark.parametrize(
    ("service", "answer", "verdict"),
    [
        ("web-7", whoami(), "ok"), ("shop", whoami(), "bad"), (None, whoami(), "bad"), ("web", whoami(401), "note"),
        ("shop", whoami(services=["*"]), "ok"),
    ],
)  # fmt: skip
def test_the_service_is_one_of_the_tokens(service: str | None, answer: Answer, verdict: str) -> None:
    assert of_service(service, answer).verdict == verdict


@pytest.mark.parametrize(
    ("settings", "effective", "notes"),
    [
        ({"perf_event_paranoid": "2", "kptr_restrict": "0", "yama/ptrace_scope": None}, ROOT, set()),
        ({"perf_event_paranoid": "2", "kptr_restrict": "1", "yama/ptrace_scope": "1"}, 0,
         {"perf_event", "kptr_restrict", "ptrace_scope"}),
        ({"perf_event_paranoid": "-1", "kptr_restrict": "2", "yama/ptrace_scope": "3"}, ROOT,
         {"kptr_restrict", "ptrace_scope"}),
        ({"perf_event_paranoid": "4", "kptr_restrict": "0", "yama/ptrace_scope": "2"}, PTRACE, {"perf_event"}),
    ],
)  # fmt: skip
def test_the_kernels_settings(settings: dict[str, str | None], effective: int, notes: set[str]) -> None:
    found = list(machine.kernel(settings, effective=effective))
    assert {finding.name for finding in found if finding.verdict != "ok"} == notes
    assert all("sysctl" in finding.advice or "reboot" in finding.advice for finding in found if finding.verdict != "ok")


def test_a_missing_permission_is_named_with_how_to_give_it() -> None:
    assert machine.permissions(user=0, effective=ROOT).verdict == "ok"
    found = machine.permissions(user=1000, effective=PTRACE)
    assert found.verdict == "note"
    assert "CAP_PERFMON" in found.said
    assert "CAP_SYS_PTRACE" not in found.said
    assert "AmbientCapabilities" in found.advice
    assert machine.permissions(user=0, effective=0).verdict == "bad"
    assert machine.effective_capabilities("Name:\tx\nCapEff:\t000001ffffffffff\n") == ROOT


def test_profilers_that_do_not_work_say_why() -> None:
    capabilities = {"profilers": {"perf": {"available": True, "detail": "/usr/bin/perf"},
                                  "java": {"available": False, "reason": "install jcmd"}}}  # fmt: skip
    perf, java = machine.profilers(capabilities)
    assert (perf.verdict, java.verdict, java.advice) == ("ok", "note", "install jcmd")
    assert list(machine.profilers({"profilers": {}}))[-1].verdict == "bad"


def test_the_state_directory_and_who_is_at_work_there(tmp_path: Path) -> None:
    import os  # noqa: PLC0415 - only here

    user = os.geteuid()
    path = tmp_path / "state"
    assert "will be made" in machine.state_dir(path, user=user).said
    with StateDir(path).held():
        assert f"an agent (pid {os.getpid()}) is at work" in machine.state_dir(path, user=user).said
    assert "no agent" in machine.state_dir(path, user=user).said


def test_the_kill_switch_and_the_namespace(tmp_path: Path) -> None:
    switch = tmp_path / "off"
    assert machine.kill_switch(switch).verdict == "ok"
    switch.touch()
    assert machine.kill_switch(switch).verdict == "bad"
    assert machine.namespace(machine.INIT_PID_NAMESPACE).verdict == "ok"
    assert "--pid=host" in machine.namespace("pid:[4026532177]").advice


def test_little_room_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for free, verdict in ((10**6, "bad"), (5 * 10**8, "note"), (10**11, "ok")):
        usage = type("Usage", (), {"free": free})
        monkeypatch.setattr("agent.doctor.machine.shutil.disk_usage", lambda _path, usage=usage: usage)
        assert machine.disk(tmp_path / "a" / "b").verdict == verdict
