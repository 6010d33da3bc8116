"""`studio cluster-check` on real servers: what it finds, what it ends with, and that it leaves nothing behind."""

import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from broker import check_deployment
from broker.check_deployment import found_out
from broker.connection import Broker
from broker.fitness import Verdict, fits, judge
from broker.settings import BrokerSettings
from tests.support.processes import ROOT
from tests.support.servers import everything_in


def checked(url: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(Path(sys.executable).parent / "studio"), "cluster-check", *arguments],
        env={**os.environ, "PCS_REDIS_URL": url}, cwd=ROOT, capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip


async def test_the_server_we_bring_fits_and_is_left_as_it_was(broker: Broker) -> None:
    before = everything_in(broker.settings)
    facts = await found_out(broker, has_queue_of_its_own=False)
    assert fits(judge(facts))
    assert (facts.is_cluster, facts.nodes[0].address, facts.nodes[0].partitions) == (False, "our socket", 16)
    assert facts.partitions_stored == broker.partitions
    assert everything_in(broker.settings) == before


@pytest.fixture
async def altered(broker: Broker) -> AsyncIterator[Broker]:
    """A server that is set up badly."""
    async with broker.guarded() as redis:
        await redis.config_set("maxmemory-policy", "allkeys-lru")
        await redis.config_set("appendfsync", "everysec")
        try:
            yield broker
        finally:
            await redis.config_set("maxmemory-policy", "noeviction")
            await redis.config_set("appendfsync", "always")


async def test_a_server_set_up_badly_does_not_fit_and_programs_are_told(altered: Broker) -> None:
    done = checked(altered.settings.url, "--json")
    assert (done.returncode, done.stderr) == (1, "")
    answer = json.loads(done.stdout)
    verdicts = {row["name"]: row["verdict"] for row in answer["rows"]}
    assert not answer["fits"]
    assert (verdicts["eviction"], verdicts["fsync"], verdicts["features"]) == ("failed", "warning", "ok")


async def test_what_a_user_may_not_do_is_told_by_name(broker: Broker) -> None:
    async with broker.guarded() as redis:
        await redis.execute_command(
            "ACL", "SETUSER", "poor", "on", ">s3cret", "~*", "&*", "+@all", "-xautoclaim", "-spublish", "-config"
        )
    try:
        url = f"{broker.settings.url}?username=poor&password=s3cret"
        async with Broker.opened(BrokerSettings.model_validate({"redis_url": url})) as poor:
            facts = await found_out(poor, has_queue_of_its_own=False)
    finally:
        async with broker.guarded() as redis:
            await redis.execute_command("ACL", "DELUSER", "poor")
    rows = {row.name: row for row in judge(facts)}
    assert rows["features"].verdict is Verdict.FAILED
    for name in ("Lua scripts", "sharded channels", "streams with groups"):
        assert name in rows["features"].found
    assert rows["fsync"].verdict is Verdict.WARNING
    assert "s3cret" not in str(rows)


@pytest.mark.parametrize(
    ("url", "code", "why"),
    [
        ("redis://:s3cret@127.0.0.1:1", 3, "does not answer"),
        ("redis+cluster://:s3cret@127.0.0.1:1", 3, "does not answer"),
        ("redis+cluster://:s3cret@127.0.0.1:x", 2, "names no cluster"),
        ("ftp://:s3cret@127.0.0.1", 2, "cannot be read"),
    ],
)
def test_what_cannot_be_reached_or_read_is_told_without_its_secrets(
    url: str, code: int, why: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PCS_REDIS_URL", url)
    monkeypatch.setattr("sys.argv", ["check_deployment"])
    monkeypatch.setattr("structlog.configure", lambda **_: None)  # it is the whole process's, and this is not its own
    with pytest.raises(SystemExit) as caught:
        check_deployment.main()
    assert caught.value.code == code
    said = "".join(capsys.readouterr())
    assert why in said
    assert "s3cret" not in said
