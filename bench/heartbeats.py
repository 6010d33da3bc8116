"""Heartbeats per second of one real API process, next to a constant answer on the same server in the same run.

    .venv/bin/python bench/heartbeats.py
    .venv/bin/python bench/heartbeats.py --many 0 --workers 2 --core 0.25

It starts a broker of its own, one `python -m api` (authentication and validation on) and bench/constant.py, and lets a
load process (bench/load.py) beat for some hosts over some connections: one after the other, in rounds, as a machine is
never quite the same twice: a ratio is of two rounds beside each other, and the median of these is told. A second API
with a broker of its own knows many more hosts, and they beat in turn there; a third one, if asked for, has several
worker processes. Each host beats once before, as all have that beat in intervals to a process that has run for one.
Every answer must be a 200. Nothing of it stays behind.

Where there are fewer cores than processes that work, two workers show nothing. `--core` bounds each server process to a
share of one, as if the cores were slower and there were enough of them; broker and load have what is left.
"""

import argparse
import asyncio
import contextlib
import json
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple, Self

import httpx
import psutil

from bench import stage
from bench.load import SERVICE, words_of
from bench.memory import let_beat
from bench.stage import PATIENCE_SECONDS, ROOT, machine, own_broker, process
from broker.command_store import CommandStore
from broker.connection import Broker
from broker.host_registry import facts_of
from broker.scripts import Beat
from broker.settings import BrokerSettings
from protocol.heartbeats import Heartbeat
from protocol.names import DEFAULT_TENANT, HostKey
from protocol.pacing import DEFAULT_INTERVAL

INTERVAL: Final = int(DEFAULT_INTERVAL.total_seconds())
"""Which the API asks for, as nobody tells it otherwise."""
AT_A_TIME: Final = 200
LOAD: Final = ("connections", "hosts", "many", "workers", "core", "rounds", "seconds", "most")
CPU_GROUPS: Final = Path("/sys/fs/cgroup/cpu")
PERIOD_US: Final = 10_000
"""In which a bounded process has its share, of at least a tenth: the system bounds to no less than a millisecond."""
HEADINGS: Final = ("beats/s", "p50 ms", "p90 ms", "p99 ms", "max ms")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def wait_until_answers(url: str) -> None:
    end = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < end:
        with contextlib.suppress(httpx.TransportError):
            if httpx.get(url, trust_env=False).status_code == 200:
                return
        time.sleep(0.1)
    raise SystemExit(f"{url} did not answer within {PATIENCE_SECONDS} s")


class Server(NamedTuple):
    """One server to load: where, as whom, for how many hosts."""

    process: psutil.Process
    port: int
    token: str
    hosts: int


class Ratio(NamedTuple):
    """Of the rates of two servers: the median of the rounds, the least and the most."""

    median: float
    least: float
    most: float


def spent(server: psutil.Process) -> float:
    """The processor time (s) that a server has taken so far, its workers' included, to the nanosecond."""
    # The number of a process's clock is made of its id, see clock_getcpuclockid(3): psutil tells hundredths.
    return sum(time.clock_gettime(~each.pid << 3 | 2) for each in (server, *server.children(recursive=True)))


class Load:
    """A load on one server, turn by turn over the same connections: used as a context."""

    def __init__(self, server: Server, given: argparse.Namespace, *, strangers: int = 0) -> None:
        """`strangers`: so many more connections have none but bad tokens."""
        self._server = server
        self._most: int = given.most
        self._plan = {
            "port": server.port, "token": server.token, "connections": given.connections, "hosts": server.hosts,
            "strangers": strangers,
        }  # fmt: skip

    def __enter__(self) -> Self:
        argv = (sys.executable, str(ROOT / "bench" / "load.py"))
        self._process = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self._say(self._plan)
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        with self._process as child:  # which waits for its end
            if kind is not None:
                child.kill()

    def turn(
        self, seconds: float, *, bad: float = 0.0, with_strangers: bool = False, most: int | None = None
    ) -> dict[str, Any]:
        """One turn; with the share of a core that the server took.

        Args:
            seconds: after which it ends at the latest.
            bad: the share of bad tokens.
            with_strangers: whether they send, too.
            most: beats after which it ends; as given, if it is not said.
        """
        before = spent(self._server.process)
        self._say(
            {"seconds": seconds, "most": self._most if most is None else most, "bad": bad,
             "with_strangers": with_strangers}
        )  # fmt: skip
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit(f"the load ended with {self._process.wait()}")
        measured: dict[str, Any] = json.loads(line)
        if measured["other_answers"]:
            raise SystemExit(f"not every answer was a 200: {measured['other_answers']}")
        busy = spent(self._server.process) - before
        return measured | {"server_cpu": busy / measured["seconds"], "cpu_us": 1e6 * busy / max(1, measured["answers"])}

    def _say(self, said: dict[str, Any]) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(said) + "\n")
        self._process.stdin.flush()


@contextlib.contextmanager
def bounded(server: psutil.Process, core: float) -> Iterator[None]:
    """Each process of a server has this share of a core and no more, until the end of the block.

    Raises:
        SystemExit: this machine does not let us.
    """
    with contextlib.ExitStack() as groups:
        try:
            for each in server.children() or [server]:
                group = CPU_GROUPS / f"bench-{each.pid}"
                group.mkdir()
                groups.callback(group.rmdir)
                (group / "cpu.cfs_period_us").write_text(str(PERIOD_US))
                (group / "cpu.cfs_quota_us").write_text(str(round(core * PERIOD_US)))
                (group / "cgroup.procs").write_text(str(each.pid))
                groups.callback((CPU_GROUPS / "cgroup.procs").write_text, str(each.pid))
        except OSError as error:
            raise SystemExit(f"--core needs root and cgroup v1's cpu controller in {CPU_GROUPS}: {error}") from error
        yield


async def introduce(settings: BrokerSettings, hosts: int) -> None:
    """Have every host beat twice, without the API: over HTTP, many hosts would take minutes.

    First with all that an agent says when it starts, and then as it goes on: that is what the load says.
    """
    async with Broker.opened(settings) as broker:
        await broker.settle_layout()
        fleet = [HostKey(DEFAULT_TENANT, SERVICE, words_of(number)["hostname"]) for number in range(hosts)]
        await let_beat(broker, fleet)
        store = CommandStore(broker)
        for start in range(0, hosts, AT_A_TIME):
            said = [Heartbeat.model_validate(words_of(start + n)) for n in range(min(AT_A_TIME, hosts - start))]
            beats = [
                Beat(host, facts=facts_of(each, interval=INTERVAL))
                for host, each in zip(fleet[start:], said, strict=False)
            ]
            await asyncio.gather(*(store.exchange(one, now=time.time()) for one in beats))


def api_for(hosts: int, stack: contextlib.ExitStack, *, workers: int = 1) -> tuple[psutil.Process, int, BrokerSettings]:
    """An API with a broker of its own that knows these hosts: process, port, and where the broker is."""
    settings = stack.enter_context(own_broker())
    asyncio.run(introduce(settings, hosts))
    port = free_port()
    argv = ("-m", "api", "--workers", str(workers), "--port", str(port))
    child = stack.enter_context(process(*argv, state_dir=settings.state_dir))
    return child, port, settings


def run(given: argparse.Namespace) -> dict[str, Any]:
    """The servers, side by side, in rounds."""
    with contextlib.ExitStack() as stack:
        apis = {"api": given.hosts} | ({"api_many": given.many} if given.many else {})
        started = {name: (*api_for(hosts, stack), hosts) for name, hosts in apis.items()}
        if given.workers:
            started["api_workers"] = (*api_for(given.hosts, stack, workers=given.workers), given.hosts)
        settings = started["api"][2]
        port = free_port()
        argv = (str(ROOT / "bench" / "constant.py"), "--port", str(port))
        child = stack.enter_context(process(*argv, state_dir=settings.state_dir))
        wait_until_answers(f"http://127.0.0.1:{port}/")
        servers = {"constant": Server(child, port, "nobody", given.hosts)}
        for name, (api, its_port, its, hosts) in started.items():
            wait_until_answers(f"http://127.0.0.1:{its_port}/readyz")
            token: str = json.loads((its.state_dir / "tokens.json").read_text())["agent"]
            servers[name] = Server(api, its_port, token, hosts)
        rounds: dict[str, list[dict[str, Any]]] = {name: [] for name in servers}
        if given.core:
            for server in servers.values():
                stack.enter_context(bounded(server.process, given.core))
        loads = {name: stack.enter_context(Load(server, given)) for name, server in servers.items()}
        for name, load in loads.items():
            load.turn(PATIENCE_SECONDS, most=min(servers[name].hosts, given.most))
        for _ in range(given.rounds):
            for name, load in loads.items():
                rounds[name].append(load.turn(given.seconds))
        setting = machine(settings)
    measured = {
        "machine": setting,
        "load": {name: getattr(given, name) for name in LOAD},
        **{name: median_of(each) for name, each in rounds.items()},
        "ratio": ratio(rounds["api"], rounds["constant"]),
    }
    if given.many:
        measured["ratio_many"] = ratio(rounds["api_many"], rounds["constant"])
    if given.workers:
        measured["ratio_workers"] = ratio(rounds["api_workers"], rounds["api"])
    return measured


def ratio(subject: Sequence[dict[str, Any]], beside: Sequence[dict[str, Any]]) -> Ratio:
    """What a server serves of what another one does, by rounds that were beside each other."""
    each = [one["per_second"] / other["per_second"] for one, other in zip(subject, beside, strict=True)]
    return Ratio(statistics.median(each), min(each), max(each))


def median_of(rounds: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The median of each number over the rounds, and the rate of each round."""
    return {
        "per_second": statistics.median(one["per_second"] for one in rounds),
        "ms": {name: statistics.median(one["ms"][name] for one in rounds) for name in rounds[0]["ms"]},
        "server_cpu": statistics.median(one["server_cpu"] for one in rounds),
        "cpu_us": sum(one["cpu_us"] * one["answers"] for one in rounds) / max(1, sum(one["answers"] for one in rounds)),
        "answers": sum(one["answers"] for one in rounds),
        "per_second_of_each_round": [round(one["per_second"]) for one in rounds],
    }


def told(measured: dict[str, Any]) -> str:
    """For people."""
    load = measured["load"]
    lines = [
        *stage.told(measured["machine"]),
        f"{load['connections']} connections, median of {load['rounds']} x {load['seconds']:g} s",
        "",
        f"{'':20}" + "".join(f"{name:>10}" for name in HEADINGS) + f"{'server CPU':>12}{'us a beat':>11}",
    ]
    names = {
        "constant": "constant", "api": f"api, {load['hosts']:,} hosts", "api_many": f"api, {load['many']:,} hosts",
        "api_workers": f"api, {load['workers']} workers",
    }  # fmt: skip
    for name in (name for name in names if name in measured):
        one = measured[name]
        times = "".join(f"{one['ms'][share]:>10.2f}" for share in ("p50", "p90", "p99", "max"))
        lines.append(
            f"{names[name]:20}{one['per_second']:>10,.0f}{times}{one['server_cpu']:>12.0%}{one['cpu_us']:>11.0f}"
        )
    served = share(measured["ratio"])
    lines += ["", f"with {load['hosts']:,} hosts the API serves {served} of what a constant answer does"]
    if load["many"]:
        lines.append(f"with {load['many']:,} hosts it serves {share(measured['ratio_many'])} of that")
    if load["core"]:
        lines.append(f"each server process was bounded to {load['core']:.0%} of a core")
    if load["workers"]:
        workers = share(measured["ratio_workers"])
        lines.append(f"with {load['workers']} workers it serves {workers} of what it does with one")
    return "\n".join(lines)


def share(found: Sequence[float]) -> str:
    """A ratio for people."""
    median, least, most = found
    return f"{median:.1%} ({least:.1%} to {most:.1%})"


def options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--connections", type=int, default=64, help="default: %(default)s")
    parser.add_argument("--hosts", type=int, default=1_000, help="distinct hosts (default: %(default)s)")
    parser.add_argument(
        "--many", type=int, default=100_000, help="hosts of the second API; 0: none (default: %(default)s)"
    )
    parser.add_argument(
        "--workers", type=int, default=0, help="processes of a third API; 0: none (default: %(default)s)"
    )
    parser.add_argument(
        "--core", type=float, default=0.0, help="0.1 to 1, of one for each server process (default: all)"
    )
    parser.add_argument("--rounds", type=int, default=7, help="of each server, in turn (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=2.0, help="of each round (default: %(default)s)")
    parser.add_argument("--most", type=int, default=1_000_000, help="heartbeats of a round (default: %(default)s)")
    parser.add_argument("--json", action="store_true", help="one JSON object instead of a table")
    given = parser.parse_args(arguments)
    positive = (given.connections, given.hosts, given.rounds, given.seconds, given.most)
    if min(positive) <= 0 or min(given.many, given.workers) < 0:
        parser.error("every number must be positive")
    if given.core and not 0.1 <= given.core <= 1:
        parser.error("--core must be from 0.1 to 1")
    return given


def main(arguments: Sequence[str] | None = None) -> int:
    given = options(arguments)
    measured = run(given)
    print(json.dumps(measured, indent=2) if given.json else told(measured))
    return 0


if __name__ == "__main__":
    sys.exit(main())
