"""The options that the field's start scripts have: each works, or is told, or is refused with what it would need."""

from pathlib import Path
from typing import Any

import pytest

from agent import cli
from agent.flags import without_effect
from agent.host_rules import configs_of, ruled
from agent.profiler_configs import ProfilerConfigs, run_request_extras
from protocol.commands import StartConfig
from tests.support.agent_cli import run

_NAMES = """
--pid-file --config --profiling-frequency --profiling-duration --min-profiling-duration --insert-dso-name
--output-dir --flamegraph --no-flamegraph --mode --alloc-interval --rotating-output --pids
--max-processes-runtime-profiler --skip-system-profilers-above --rootless --spark-sample-period
--collect-spark-metrics --nodejs-mode --no-nodejs --log-usage --enable-memory-management
--memory-cleanup-threshold-mb --upload-results --dont-disable-core-files --server-host --api-server
--glogger-server --server-upload-timeout --token --service-name --curlify-requests --no-verify --tls-client-cert
--tls-client-key --tls-ca-bundle --tls-cert-refresh-enabled --tls-cert-refresh-interval --version --verbose
--log-file --log-rotate-max-size --log-rotate-backup-count --dont-send-logs --disable-container-names
--enable-publish-metrics --metrics-server-url --sli-metric-uuid --continuous --profile-api-version
--disable-pidns-check --disable-metrics-collection --disable-metadata-collection
--disable-application-identifiers --app-id-args-filter --disable-application-metadata --controller-pid
--external-metadata --databricks-job-name-as-service-name --profile-spawned-processes --diagnostics
--heartbeat-file --enable-heartbeat-server --heartbeat-interval --enable-hw-metrics-collection --perfspect-path
--perfspect-duration --perf-mode --no-perf --perf-dwarf-stack-size --perf-no-memory-restart --python-mode
--no-python --no-python-versions --pyperf-user-stacks-pages --python-pyperf-verbose --python-pyspy-process
--java-mode --no-java --java-safemode --java-no-version-check --java-async-profiler-mode
--java-async-profiler-safemode --java-async-profiler-args --java-async-profiler-buildids
--java-async-profiler-mcache --java-jattach-timeout --java-full-hserr --java-collect-spark-app-name-as-appid
--java-async-profiler-no-report-meminfo --java-collect-jvm-flags --java-include-method-modifiers
--java-line-numbers --ruby-mode --no-ruby --php-mode --no-php --php-proc-filter --dotnet-mode --no-dotnet
"""
OF_THE_FIELD = _NAMES.split()


@pytest.mark.parametrize("option", OF_THE_FIELD)
def test_an_option_of_the_field_is_known(option: str) -> None:
    assert any(option in (*param.opts, *param.secondary_opts) for param in cli.gprofiler.params)


@pytest.mark.parametrize("word", without_effect._HARMLESS, ids=lambda word: word.name)
def test_what_is_harmless_to_ignore_is_told(taken: list[Any], word: without_effect._Word) -> None:
    result = run("-o", "/out", word.name, *(["7"] if word.takes else []))
    assert result.exit_code == 0, result.output
    assert [notice for notice in taken[0].notices if word.name in notice]


@pytest.mark.parametrize("word", without_effect._NEEDED, ids=lambda word: word.name)
def test_what_is_not_is_refused(taken: list[Any], word: without_effect._Word) -> None:
    result = run("-o", "/out", word.name, *(["7"] if word.takes else []))
    assert result.exit_code == 2
    assert f"{word.name} is not supported" in result.output.replace("\n", " ")
    assert taken == []


@pytest.mark.parametrize(
    ("arguments", "disabled"),
    [
        (["--no-perf"], {"perf"}),
        (["--perf-mode", "none"], {"perf"}),
        (["--no-java", "--python-mode", "disabled"], {"java", "py-spy", "memray"}),
        (
            ["--no-ruby", "--no-php", "--no-dotnet", "--nodejs-mode", "none"],
            {"rbspy", "phpspy", "dotnet-trace", "node"},
        ),
        (
            ["--perf-mode", "dwarf", "--python-mode", "pyspy", "--java-mode", "ap", "--nodejs-mode", "attach-maps"],
            set(),
        ),
    ],
)
def test_profilers_are_switched_off(taken: list[Any], arguments: list[str], disabled: set[str]) -> None:
    assert run("-o", "/out", *arguments).exit_code == 0
    assert taken[0].profilers.disabled == disabled


def test_what_profilers_and_output_are_told(taken: list[Any]) -> None:
    result = run(
        "-o", "/out", "--perf-mode", "fp", "--perf-dwarf-stack-size", "4096", "--java-async-profiler-mode", "alloc",
        "--alloc-interval", "512KiB", "--max-processes-runtime-profiler", "3", "--skip-system-profilers-above", "500",
        "--no-flamegraph", "--rotating-output", "--disable-container-names",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    told = taken[0].profilers
    assert (told.perf_mode, told.dwarf_stack_size) == ("fp", 4096)
    assert (told.mode, told.alloc_interval, told.java_clock) == ("allocation", 512 * 1024, None)
    assert (told.max_targets, told.perf_up_to, told.container_names) == (3, 500, False)
    assert (taken[0].output.formats, taken[0].output.rotating) == ({"collapsed"}, True)


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        (["--python-mode", "pyperf"], "PyPerf"),
        (["--no-java", "--java-mode", "ap"], "contradict"),
        (["--alloc-interval", "2MB"], "--mode allocation"),
        (["--alloc-interval", "much", "--mode", "allocation"], "no size"),
        (["--perf-dwarf-stack-size", "4097"], "multiple of 8"),
        (["--perf-dwarf-stack-size", "65536"], "--perf-dwarf-stack-size"),
        (["--output-format", "flamegraph", "--no-flamegraph"], "--no-flamegraph"),
        (["--log-rotate-backup-count", "0"], "--log-rotate-backup-count"),
    ],
)
def test_what_makes_no_sense_is_told(taken: list[Any], arguments: list[str], word: str) -> None:
    result = run("-o", "/out", *arguments)
    assert result.exit_code == 2
    assert word in result.output
    assert taken == []


def test_a_command_is_held_to_what_the_host_says() -> None:
    host = configs_of(disabled=frozenset({"java"}), perf_mode="fp", max_targets=4, perf_up_to=100, java_clock="itimer")
    asked = run_request_extras(
        StartConfig.model_validate(
            {
                "duration": 1,
                "frequency": 1,
                "max_processes": 9,
                "profiler_configs": {"async_profiler": "enabled", "pyspy": False},
            }
        )
    )
    within = ruled(asked, host)
    assert within.disabled == {"java", "py-spy"}
    assert within.enabled == frozenset()
    assert any("this host never runs java" in told for told in within.not_understood)
    assert (within.max_targets, within.perf_up_to, within.java_clock) == (4, 100, "itimer")
    assert within.options == {"perf": {"call_graph": "fp"}}


def test_a_host_may_want_a_profiler_that_a_command_must_ask_for_else(taken: list[Any]) -> None:
    assert run("-o", "/out", "--nodejs-mode", "attach-maps").exit_code == 0
    assert taken[0].profilers.enabled == {"node"}
    host = configs_of(disabled=frozenset(), enabled=taken[0].profilers.enabled)
    assert ruled(ProfilerConfigs(), host).enabled == {"node"}
    assert configs_of(disabled=frozenset(), java_mode="jfr").options == {"java": {"mode": "jfr"}}
    assert ruled(ProfilerConfigs(disabled=frozenset({"node"})), host).enabled == frozenset()


def test_a_host_that_says_nothing_changes_nothing() -> None:
    asked = ProfilerConfigs(enabled=frozenset({"perf"}), max_targets=2, options={"perf": {"call_graph": "dwarf"}})
    assert ruled(asked, configs_of(disabled=frozenset())) == asked


def test_a_log_file_is_kept_to_its_size(tmp_path: Path, taken: list[Any]) -> None:
    assert (
        run("-o", "/out", "--log-file", str(tmp_path / "x.log"), "--log-rotate-max-size", "4096", "-v").exit_code == 0
    )
    logs = taken[0].logs
    assert (logs.file, logs.max_bytes, logs.backups, logs.verbose) == (tmp_path / "x.log", 4096, 1, True)
