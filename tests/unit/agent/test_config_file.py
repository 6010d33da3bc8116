from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from agent import cli
from agent.config_file import BadConfig, settings_in
from agent.flags.options import Flag
from tests.support.agent_cli import HEARTBEAT, run


def flags() -> Iterable[Flag]:
    return [param for param in cli.gprofiler.params if isinstance(param, Flag)]


INI = """
# a comment
heartbeat-interval = 7
[of the host]
Service_Name = from-file
verbose
no-java = yes
output-format = pprof, collapsed
"""
TOML = """
heartbeat_interval = 7
pids = [1, 2]
[of-the-host]
service-name = "from-file"
verbose = true
no-java = true
output-format = ["pprof", "collapsed"]
"""


@pytest.mark.parametrize(("name", "text"), [("agent.ini", INI), ("agent.conf", INI), ("agent.toml", TOML)])
def test_a_file_says_what_the_command_line_could(tmp_path: Path, name: str, text: str) -> None:
    path = tmp_path / name
    path.write_text(text)
    found = settings_in(path, flags())
    assert found.pop("pids", "1,2") == "1,2"
    assert found == {
        "heartbeat_interval": "7", "service_name": "from-file", "verbose": True, "no_java": True,
        "output_format": ["pprof", "collapsed"],
    }  # fmt: skip


def test_the_command_line_wins_over_the_environment_and_both_over_the_file(tmp_path: Path, taken: list[Any]) -> None:
    path = tmp_path / "agent.ini"
    path.write_text("heartbeat-interval = 7\nwait = 7\nserver-upload-timeout = 7\nkeep-profiles = 7\n")
    result = run(*HEARTBEAT, "--config", str(path), "--wait", "9", GPROFILER_WAIT="8", GPROFILER_HEARTBEAT_INTERVAL="8")
    assert result.exit_code == 0, result.output
    server = taken[0].server
    assert (server.wait.seconds, server.interval.seconds, server.send_timeout.seconds) == (9, 8, 7)
    assert taken[0].output.keep == 7
    assert taken[0].profiling.frequency_hz == 11


def test_the_file_may_be_named_in_the_environment(tmp_path: Path, taken: list[Any]) -> None:
    (tmp_path / "agent.toml").write_text("wait = 3\n")
    assert run(*HEARTBEAT, GPROFILER_CONFIG=str(tmp_path / "agent.toml")).exit_code == 0
    assert taken[0].server.wait.seconds == 3


def test_each_unknown_key_is_named_and_no_value(tmp_path: Path, taken: list[Any]) -> None:
    path = tmp_path / "agent.ini"
    path.write_text("wiat = 7\nverbose\nheart-beat = s3cret\ntoken s3cret\nconfig = other.ini\n")
    result = run(*HEARTBEAT, "--config", str(path))
    assert result.exit_code == 2
    assert "no option of gprofiler: config, heart-beat, token, wiat" in result.output
    assert "s3cret" not in result.output
    assert taken == []


@pytest.mark.parametrize(
    ("name", "text", "word"),
    [
        ("a.ini", "= 7\n", "line 1"),
        ("a.ini", "wait = 7\n[x]\nwait = 8\n", "wait twice"),
        ("a.ini", "wait\n", "wait needs a value"),
        ("a.toml", "wait = \n", "not TOML"),
        ("a.toml", "[x]\nwait = {a = 1}\n", "wait needs a value"),
    ],
)
def test_what_cannot_be_read_is_told(tmp_path: Path, name: str, text: str, word: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(BadConfig, match=word):
        settings_in(tmp_path / name, flags())


def test_a_value_that_no_option_takes_is_wrong_usage(tmp_path: Path, taken: list[Any]) -> None:
    (tmp_path / "a.ini").write_text("wait = long\n")
    result = run(*HEARTBEAT, "--config", str(tmp_path / "a.ini"))
    assert result.exit_code == 2
    assert "--wait" in result.output


def test_a_readable_file_with_a_token_is_told_and_one_that_others_write_is_refused(
    tmp_path: Path, taken: list[Any]
) -> None:
    path = tmp_path / "agent.ini"
    path.write_text("token = s3cret\n")
    for mode, told in ((0o600, False), (0o640, False), (0o644, True)):
        path.chmod(mode)
        result = run(*HEARTBEAT, "--config", str(path))
        assert result.exit_code == 0, result.output
        assert any(str(path) in notice for notice in taken.pop().notices) == told
        assert "s3cret" not in result.output
    path.chmod(0o602)
    assert run(*HEARTBEAT, "--config", str(path)).exit_code == 2
    path.write_text("wait = 1\n")
    path.chmod(0o644)
    run(*HEARTBEAT, "--config", str(path))
    assert taken[0].notices == ()


def test_a_variable_that_nobody_reads_is_told(taken: list[Any]) -> None:
    result = run(*HEARTBEAT, GPROFILER_HEARTBEET_INTERVAL="7", GPROFILER_UNPACK_DIR="/x", GPROFILER_SERVICE="web")
    assert result.exit_code == 0
    assert taken[0].notices == ("GPROFILER_HEARTBEET_INTERVAL in the environment is no option of gprofiler",)
