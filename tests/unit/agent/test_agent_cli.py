from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from agent import cli
from agent.flags.output import Output
from agent.flags.profiling import Profiling
from agent.settings import AgentSettings, LocalSettings
from tests.support.agent_cli import HEARTBEAT, run


def test_the_basic_example_of_the_documentation(taken: list[Any]) -> None:
    result = run(
        "--enable-heartbeat-server", "--upload-results", "--token", "your-token", "--service-name", "web-service",
        "--api-server", "http://performance-studio:8000", "--heartbeat-interval", "30", "--output-dir", "/tmp/profiles",
        "--verbose",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    (settings,) = taken
    assert isinstance(settings, AgentSettings)
    assert settings.server.address == "http://performance-studio:8000"
    assert settings.server.service_name == "web-service"
    assert settings.server.token is not None
    assert settings.server.token.reveal() == "your-token"
    assert (settings.server.interval, settings.server.wait) == (timedelta(seconds=30), timedelta(seconds=25))
    assert settings.output.directory == Path("/tmp/profiles")
    assert settings.logs.verbose


def test_the_heartbeat_example_with_every_flag(taken: list[Any]) -> None:
    result = run(
        "--enable-heartbeat-server", "--upload-results", "--token=t", "--service-name=s", "--api-server=http://a:1",
        "--server-host=http://b:2", "--heartbeat-interval", "30", "--output-dir", "/tmp/profiles", "--dont-send-logs",
        "--server-upload-timeout", "10", "--disable-metrics-collection", "--java-safemode=", "--java-no-version-check",
        "--verbose",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    (settings,) = taken
    assert settings.server.address == "http://a:1"
    assert settings.server.send_timeout == timedelta(seconds=10)
    assert settings.upload.address == "http://b:2"
    assert len(settings.notices) == 2
    assert (settings.profilers.java_safemode, settings.profilers.java_version_check) == (False, False)
    assert all(
        any(flag in note for note in settings.notices)
        for flag in (
            "--dont-send-logs",
            "--disable-metrics",
        )
    )


def test_the_production_example_without_heartbeats(taken: list[Any]) -> None:
    result = run(
        "-u", "--token=t", "--service-name=s", "--server-host", "http://localhost:8080", "--dont-send-logs",
        "--server-upload-timeout", "10", "-c", "--disable-metrics-collection", "--java-safemode=", "-d", "60",
        "--java-no-version-check",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    (settings,) = taken
    assert isinstance(settings, LocalSettings)
    assert settings.profiling.continuous
    assert settings.server is not None
    assert settings.upload.address == settings.server.address == "http://localhost:8080"
    assert any(str(settings.output.directory) in note for note in settings.notices)


def test_uploads_need_a_server() -> None:
    result = run("-u", "-o", "/tmp/x", "--service-name", "s")
    assert result.exit_code == 2
    assert "--upload-results needs --server-host URL" in result.output


def test_the_local_example(taken: list[Any]) -> None:
    assert run("-o", "/tmp/gprofiler-output", "-d", "30", "--pids", "1,2").exit_code == 0
    (settings,) = taken
    assert settings == LocalSettings(
        output=Output(directory=Path("/tmp/gprofiler-output")),
        profiling=Profiling(duration=timedelta(seconds=30), pids=frozenset({1, 2})),
    )


def test_the_environment_sets_what_the_command_line_does_not(taken: list[Any]) -> None:
    result = run(
        "--enable-heartbeat-server", "--wait", "0",
        GPROFILER_TOKEN="my_token", GPROFILER_SERVICE="from-env", GPROFILER_SERVER="http://localhost:8080/",
        GPROFILER_HEARTBEAT_INTERVAL="7", GPROFILER_WAIT="9",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    (settings,) = taken
    assert (settings.server.address, settings.server.service_name) == ("http://localhost:8080", "from-env")
    assert settings.server.token.reveal() == "my_token"
    assert (settings.server.interval, settings.server.wait) == (timedelta(seconds=7), timedelta(0))


def test_the_hostname_can_be_chosen(taken: list[Any]) -> None:
    run(*HEARTBEAT, "--hostname", "web-07")
    assert taken[0].on_host.hostname == "web-07"


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        ([], "--output-dir"),
        (["--enable-heartbeat-server"], "--api-server"),
        (["--enable-heartbeat-server", "--api-server", "http://x"], "--service-name"),
        ([*HEARTBEAT, "--service-name", " "], "--service-name"),
        ([*HEARTBEAT, "--hostname", "a\nb"], "--hostname"),
        ([*HEARTBEAT, "--api-server", "studio"], "--api-server"),
        ([*HEARTBEAT, "--heartbeat-interval", "0"], "--heartbeat-interval"),
        ([*HEARTBEAT, "--wait", "61"], "--wait"),
        ([*HEARTBEAT, "--pids", "1"], "--pids"),
        ([*HEARTBEAT, "--ca-bundle", "/no/such/file"], "--ca-bundle"),
        (["-o", "out", "-d", "0"], "--profiling-duration"),
        (["-o", "out", "-f", "1001"], "--profiling-frequency"),
        (["-o", "out", "--pids", "a"], "--pids"),
        (["-o", "out", "--pids", "0"], "--pids"),
    ],
)
def test_wrong_usage_is_two_and_names_the_option(taken: list[Any], arguments: list[str], word: str) -> None:
    result = run(*arguments)
    assert result.exit_code == 2
    assert word in result.output
    assert taken == []


def test_a_bad_token_is_not_shown(taken: list[Any]) -> None:
    result = run(*HEARTBEAT, GPROFILER_TOKEN="s3cret with blanks")
    assert result.exit_code == 2
    assert "s3cret" not in result.output
    assert taken == []


def test_every_option_is_explained_under_a_heading() -> None:
    result = run("--help")
    assert result.exit_code == 0
    for heading in (
        "Profiling:",
        "Profilers:",
        "Output:",
        "Heartbeat mode:",
        "Logging:",
        "Accepted, without effect:",
        "Not supported, and",
    ):
        assert heading in result.output
    assert all(param.get_help_record(cli.gprofiler.make_context("gprofiler", [], resilient_parsing=True)) is None
               or param.help for param in cli.gprofiler.params)  # fmt: skip
