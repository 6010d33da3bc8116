"""The roles as processes and as loops: they sign in, survive what can be survived, and end when told to."""

import asyncio
import signal
import time
from contextlib import AsyncExitStack
from datetime import timedelta
from pathlib import Path

import pytest
from redis import Redis

from broker import keys
from broker.connection import Broker
from broker.errors import BrokerUnavailable
from broker.lag import Lag
from broker.roster import Roster
from broker.settings import BrokerSettings
from tests.support.private_broker import private_broker
from tests.support.processes import LOOPED_ROLES, Role, eventually, started, worker_role
from workers import alone, loop
from workers.__main__ import LOOPED, passes
from workers.loop import run_forever
from workers.settings import WorkerSettings


class Passes:
    """A role whose passes go as the test says."""

    def __init__(self, *outcomes: Exception | None, enough: int) -> None:
        self.made = 0
        self.enough = asyncio.Event()
        self._how_many = enough
        self._outcomes = list(outcomes)

    async def make(self) -> int:
        self.made += 1
        if self.made == self._how_many:
            self.enough.set()
        await asyncio.sleep(0.001)
        if self._outcomes and (outcome := self._outcomes.pop(0)) is not None:
            raise outcome
        return 7


async def running(passes: Passes, broker: Broker, lag: Lag | None = None) -> None:
    """Run the loop until enough passes were made."""
    stop = asyncio.Event()

    async def measure() -> Lag:
        return lag or Lag()

    task = asyncio.create_task(
        run_forever("merger", passes.make, roster=Roster(broker), instance="i", stop=stop, lag=measure)
    )
    await asyncio.wait_for(passes.enough.wait(), 20)
    stop.set()
    await asyncio.wait_for(task, 20)


async def test_a_loop_makes_passes_and_signs_the_roster(broker: Broker) -> None:
    await running(Passes(enough=5), broker)
    async with broker.guarded() as redis:
        assert await redis.zrange(keys.roles(), 0, -1) == ["merger/i"]


async def test_a_loop_says_how_far_behind_and_how_fast_it_is(broker: Broker, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "SIGN_EVERY", timedelta(0))
    await running(Passes(enough=5), broker, Lag(12, int((time.time() - 60) * 1000)))
    (instance,) = await Roster(broker).instances()
    facts = dict(instance.facts)
    assert (instance.role, instance.name, facts["behind"]) == ("merger", "i", 12)
    assert 60 <= facts["oldest_seconds"] < 70
    assert facts["passes"] >= 5
    assert facts["items"] == 7 * facts["passes"]
    assert facts["items_per_second"] > 0
    assert 0.001 <= facts["last_pass_seconds"] < 5


@pytest.mark.parametrize("role", [*LOOPED, "archiver"])
async def test_every_looped_role_can_tell_how_far_behind_it_is(broker: Broker, role: str) -> None:
    async with AsyncExitStack() as until:
        settings = WorkerSettings()
        wired = passes(broker, settings, "i") | await alone.passes(broker, settings, "i", hooks=(), until=until)
    measure = wired[role].lag
    assert measure is not None
    assert await measure() == Lag()


@pytest.mark.parametrize("trouble", [BrokerUnavailable("away"), RuntimeError("broken")])
async def test_a_pass_that_fails_is_made_again(
    broker: Broker, monkeypatch: pytest.MonkeyPatch, trouble: Exception
) -> None:
    monkeypatch.setattr(loop, "PAUSE_AFTER_FAILURE", timedelta(milliseconds=1))
    passes = Passes(None, trouble, trouble, None, enough=6)
    await running(passes, broker)
    assert passes.made >= 6


async def test_a_loop_that_is_told_to_stop_does_not_wait_for_its_pause(broker: Broker) -> None:
    passes, stop = Passes(enough=1), asyncio.Event()
    task = asyncio.create_task(
        run_forever("janitor", passes.make, roster=Roster(broker), instance="i", stop=stop, pause=timedelta(minutes=1))
    )
    await asyncio.wait_for(passes.enough.wait(), 20)
    stop.set()
    await asyncio.wait_for(task, 20)
    assert passes.made == 1


# --- as processes -----------------------------------------------------------------------------------------------------


def signed(settings: BrokerSettings) -> set[str]:
    with Redis.from_url(settings.url, decode_responses=True) as client:
        return {str(name).partition("/")[0] for name in client.zrange(keys.roles(), 0, -1)}


def test_roles_sign_in_survive_a_crash_of_the_broker_and_end_on_ctrl_c(tmp_path: Path) -> None:
    """Every role, each in its own way: the looped ones together, rq's worker by itself."""
    everybody = {*LOOPED_ROLES, "jobs"}
    with (
        private_broker(tmp_path) as server,
        started(worker_role(tmp_path)) as looped,
        started(worker_role(tmp_path, "jobs")) as jobs,
    ):
        eventually(lambda: signed(server.settings) == everybody, within=60, what="signing in")
        server.crash()
        server.come_back()
        with Redis.from_url(server.settings.url) as client:
            client.delete(keys.roles())
        eventually(lambda: signed(server.settings) == everybody, within=40, what="signing in again")
        for role in (looped, jobs):
            assert role.process.poll() is None, f"{role.name} ended with its broker"
            role.process.send_signal(signal.SIGINT)
        assert (looped.process.wait(30), jobs.process.wait(30)) == (0, 0)


@pytest.mark.parametrize("roles", [("merger", "janitor"), ("jobs",)])
def test_a_role_that_waits_for_its_broker_ends_on_a_signal(tmp_path: Path, roles: tuple[str, ...]) -> None:
    with started(worker_role(tmp_path, *roles)) as waiting:
        eventually(lambda: _handles_sigterm(waiting), within=40, what="its signal handlers", of=waiting)
        assert waiting.stop() == 0
    assert "Traceback" not in waiting.log.read_text()


def _handles_sigterm(role: Role) -> bool:
    """Whether the process catches SIGTERM by now, as the kernel sees it."""
    status = Path(f"/proc/{role.pid}/status").read_text()
    caught = int(next(line.split()[1] for line in status.splitlines() if line.startswith("SigCgt:")), 16)
    return bool(caught & 1 << (signal.SIGTERM - 1))


def test_data_laid_out_otherwise_is_refused_in_a_line(tmp_path: Path) -> None:
    with private_broker(tmp_path) as server:
        with Redis.from_url(server.settings.url) as client:
            client.hset(keys.layout(), "partitions", "32")
        with started(worker_role(tmp_path, "merger")) as role:
            assert role.process.wait(40) == 1
    assert "set PCS_PARTITIONS=32" in role.log.read_text()
    assert "Traceback" not in role.log.read_text()
