"""Fixtures that several folders share: a real server for the session, emptied for each test."""

import os
import signal
from collections.abc import AsyncIterator, Iterator

import pytest

from broker.connection import Broker
from broker.settings import BrokerSettings
from tests.support.api import Api, running_site
from tests.support.servers import emptied, running_broker

# A shell's background job ignores SIGINT, and so would every process that a test starts and stops by it.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# Tests start some hundred processes. Where this is set, as in many containers, each would compile what it imports.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)


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
