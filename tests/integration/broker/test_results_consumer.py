"""The example that others copy: every outcome is printed, whatever happens to it in between."""

import asyncio
import contextlib
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import redis
from pydantic import SecretStr

from broker.connection import Broker
from broker.embedded import find_server
from broker.results import KEPT_FOR, Results
from broker.settings import BrokerSettings
from tests.support.builders import a_host
from tests.support.played_host import PlayedHost
from tests.support.processes import ROOT, Role, free_port, started
from tests.support.servers import wait_for_broker

EXAMPLE = ROOT / "examples" / "results_consumer.py"


@contextlib.contextmanager
def consumer(settings: BrokerSettings, output: Path, *options: str) -> Iterator[Role]:
    """The example at work; what it prints goes to a file."""
    argv = [sys.executable, str(EXAMPLE), "--url", settings.url, "--group", "dashboard", *options]
    with started(Role("consumer", argv, env={}, log=output)) as role:
        yield role


def outcomes(output: Path) -> list[tuple[str, ...]]:
    """Host, request and outcome of each whole line that was printed; a killed program may leave a half one."""
    lines = output.read_text().split("\n")[:-1] if output.exists() else []
    return [tuple(line.split()[1:]) for line in lines]


async def until(output: Path, count: int, *, within: float = 40) -> None:
    """Wait for so many outcomes."""
    end = time.monotonic() + within
    while len(set(outcomes(output))) < count:
        assert time.monotonic() < end, f"{count} were to come, these did: {outcomes(output)}"
        await asyncio.sleep(0.05)


async def a_run(broker: Broker, number: int, *, status: str) -> tuple[str, ...]:
    """A request that comes to its end on a host; what is to be printed of it."""
    host = PlayedHost(broker, a_host(f"web-{number:02}"))
    record = await host.submit()
    await host.settle()
    await host.complete((await host.take()).command_id, status=status)
    return host.key.path, record.request_id, status


async def runs(broker: Broker, count: int, *, status: str = "completed") -> set[tuple[str, ...]]:
    return {await a_run(broker, number, status=status) for number in range(count)}


async def test_each_outcome_is_printed_though_the_consumer_is_killed(broker: Broker, tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    expected = await runs(broker, 40)
    with consumer(broker.settings, first) as role:
        await until(first, 5)
        role.kill()
    assert expected >= set(outcomes(first))
    expected |= await runs(broker, 20, status="failed")
    # A janitor may sweep while it is away: nothing that it needs goes.
    await Results(broker).trim(now=time.time() + KEPT_FOR.total_seconds() + 3600)
    with consumer(broker.settings, second):
        missing = len(expected - set(outcomes(first)))
        await until(second, missing)
    printed = outcomes(first) + outcomes(second)
    assert set(printed) == expected, "each at least once, none that was not"
    assert len(printed) <= len(expected) + 100, "twice is at most what was under way"


async def test_what_it_died_over_comes_again(broker: Broker, tmp_path: Path) -> None:
    """It got entries and died before it could ack one: the next of that name prints them."""
    expected = await runs(broker, 10)
    reader = Results(broker).reader("dashboard", "one")
    got = await reader.read(count=500, block=KEPT_FOR)
    assert sum(entry.fields["state"] == "completed" for entry in got) == 10
    with consumer(broker.settings, tmp_path / "output"):
        await until(tmp_path / "output", 10)
    assert set(outcomes(tmp_path / "output")) == expected


async def test_it_goes_on_when_the_server_was_emptied(broker: Broker, tmp_path: Path) -> None:
    output = tmp_path / "output"
    await runs(broker, 1)
    with consumer(broker.settings, output):
        await until(output, 1)
        async with broker.guarded() as client:
            await client.flushall()
        await runs(broker, 2)
        await until(output, 3)


def test_without_a_layout_it_says_so(broker_settings: BrokerSettings) -> None:
    with redis.Redis.from_url(broker_settings.url) as client:
        client.flushall()
    done = subprocess.run(
        [sys.executable, str(EXAMPLE)], env={**os.environ, "REDIS_URL": broker_settings.url}, capture_output=True,
        text=True, timeout=30, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (1, "")
    assert "no layout yet" in done.stderr


# --- on a cluster -----------------------------------------------------------------------------------------------------


@pytest.fixture
async def cluster(tmp_path: Path) -> AsyncIterator[Broker]:
    """A cluster of one node: it refuses what touches two slots, as a larger one does."""
    port = free_port()
    argv = [
        str(find_server()), "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(tmp_path),
        "--cluster-enabled", "yes", "--cluster-port", str(free_port()), "--cluster-require-full-coverage", "no",
    ]  # fmt: skip
    of_node = BrokerSettings.model_validate({"redis_url": f"redis://127.0.0.1:{port}", "state_dir": tmp_path})
    settings = of_node.model_copy(update={"redis_url": SecretStr(f"redis+cluster://127.0.0.1:{port}")})
    with started(Role("cluster", argv, env={}, log=tmp_path / "cluster.log")) as role:
        wait_for_broker(of_node, of=role)
        with redis.Redis.from_url(of_node.url) as node:
            node.execute_command("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
        async with Broker.opened(settings) as connected:
            await connected.wait_until_ready()
            yield connected


async def test_on_a_cluster_it_reads_one_partition_after_the_other(cluster: Broker, tmp_path: Path) -> None:
    expected = await runs(cluster, 20)
    one_node = cluster.settings.url.removeprefix("redis+cluster://")
    of_node = cluster.settings.model_copy(update={"redis_url": SecretStr(f"redis://{one_node}")})
    with redis.Redis.from_url(of_node.url) as client, pytest.raises(redis.ResponseError, match="same slot"):
        client.xread({"pcs:{0}:results": "0", "pcs:{1}:results": "0"})
    with consumer(of_node, tmp_path / "output", "--cluster"):
        await until(tmp_path / "output", 20)
    assert set(outcomes(tmp_path / "output")) == expected
