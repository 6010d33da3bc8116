"""Fixtures that several folders share: a real server for the session, emptied for each test."""

import gc
import os
import signal
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Final

import pytest
import structlog
from hypothesis import HealthCheck, settings

from broker.connection import Broker
from broker.settings import BrokerSettings
from tests.support.api import Api, running_site
from tests.support.servers import emptied, running_broker

# A shell's background job ignores SIGINT, under nohup SIGHUP too, and so would every process that a test stops by it.
for number, handler in ((signal.SIGINT, signal.default_int_handler), (signal.SIGHUP, signal.SIG_DFL)):
    if signal.getsignal(number) is signal.SIG_IGN:
        signal.signal(number, handler)

# Tests start some hundred processes. Where this is set, as in many containers, each would compile what it imports.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)


# A property holds or it does not. How long an example takes is another matter: by default one that takes 0.2 s fails.
settings.register_profile("patient", settings(), deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")


# What is made while tests are collected stays until the end. To look through it again and again for what does not is a
# quarter of the work, which each test process does by itself.
gc.disable()


@pytest.hookimpl(tryfirst=True)
def pytest_runtestloop() -> None:
    """Collect garbage again: from here on what tests leave, and nothing that was there before."""
    gc.freeze()
    gc.enable()


@pytest.fixture(autouse=True)
def _structlog_as_it_was() -> Iterator[None]:
    """What a test, or a program that it runs in this process, sets for all logs does not last into the next test."""
    before = structlog.get_config()
    yield
    structlog.configure(**before)


LONGEST: Final = (
    "integration/agent/test_executable.py",
    "properties/test_compaction_laws.py",
    "e2e/test_studio.py",
    "e2e/test_commands_of_the_field.py",
    "e2e/test_commands_of_the_operator.py",
    "browser/test_the_page.py",
    "browser/test_tabs_that_stay_open.py",
    "browser/test_the_library.py",
    "browser/test_looking_after_it.py",
    "browser/test_a_new_command.py",
    "chaos/test_fleet_under_kills.py",
    "chaos/test_kills.py",
    "integration/agent/test_daemon_life.py",
    "chaos/test_agent_kills.py",
    "e2e/test_the_main_job.py",
    "integration/broker/test_any_order_on_the_server.py",
    "integration/api/test_workers.py",
    "integration/agent/test_profilers_java.py",
    "integration/agent/test_targets.py",
    "integration/agent/test_profilers_node.py",
    "chaos/test_uploads_under_kills.py",
    "chaos/test_upload_bodies_under_kills.py",
    "integration/api/test_profiles_in_s3.py",
    "integration/agent/test_profilers_perf.py",
    "integration/agent/test_profilers_perf_modes.py",
    "integration/agent/test_daemon_uploads.py",
    "integration/agent/test_agent_local.py",
    "integration/agent/test_doctor.py",
    "integration/agent/test_profilers_memray.py",
    "integration/agent/test_profilers_merged.py",
    "integration/api/test_people.py",
    "integration/workers/test_recovery.py",
    "integration/api/test_bench_runs.py",
    "integration/api/test_live_events.py",
    "integration/cli/test_config_show.py",
    "integration/workers/test_roles_befallen.py",
    "integration/api/test_openapi_document.py",
    "integration/cli/test_supervisor.py",
    "integration/agent/test_daemon_commands.py",
    "integration/api/test_client_certificates.py",
    "integration/api/test_held_heartbeats.py",
    "integration/broker/test_a_cluster_that_changes.py",
    "integration/api/test_broker_away.py",
)
"""The files that take half a minute and more, the longest first; short ones fill what they leave."""


@pytest.hookimpl(trylast=True)  # after the others have put all files in some random order
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the files that take long: one that began last would leave the other processes without work."""
    here = Path(__file__).parent
    rank = {here / name: number for number, name in enumerate(LONGEST)}
    if gone := [str(path) for path in rank if not path.exists()]:
        raise pytest.UsageError(f"tests/conftest.py: LONGEST names files that are not there: {gone}")
    items.sort(key=lambda item: rank.get(item.path, len(rank)))


@pytest.fixture(scope="session")
def broker_settings(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BrokerSettings]:
    """One real server for the whole session."""
    with running_broker(tmp_path_factory.mktemp("broker")) as settings:
        yield settings


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    """Broker, API and every worker role, for tests that only speak HTTP; never emptied: take hosts of your own."""
    with running_site(tmp_path_factory.mktemp("served"), workers=True) as (api, _):
        yield api


@pytest.fixture
async def broker(broker_settings: BrokerSettings) -> AsyncIterator[Broker]:
    """A connection to the session's server, with nothing in it."""
    async with emptied(broker_settings) as connected:
        yield connected


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print how many examples the laws were held against: counted where they were looked at."""
    passed: list[pytest.TestReport] = terminalreporter.stats.get("passed", [])
    counts = [int(str(value)) for report in passed for name, value in report.user_properties if name == "examples"]
    if counts:
        terminalreporter.write_line(f"{sum(counts):,} examples, {len(counts)} tests, no law broken")
