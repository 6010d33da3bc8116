"""From a request to the first sample: how long it takes, with held heartbeats and with polling.

    .venv/bin/python bench/latency.py
    .venv/bin/python bench/latency.py --runs 20 --interval 3 --agents 4 --json
    .venv/bin/python bench/latency.py --start-at 30

It starts the whole system (broker, API, workers, real agents) and a program to profile, and submits one request after
the other, each for one second of py-spy. The time is from just before the POST until the profile's own `started_at`:
the moment at which py-spy said that it samples. Both are read from the same machine's clock. With polling, requests
come at random moments of the interval. An agent that polls does nothing most of the time, so that several, each for a
host of its own, share the runs: a hundred at 30 s take some minutes instead of an hour and a half.

With `--start-at` it measures something else: so many starts of the whole host, each with a moment a few seconds ahead.
What is told is how long after that moment perf began to count, by the profile's `started_at`; never before it.
"""

import argparse
import contextlib
import json
import random
import signal
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

sys.path[0] = str(Path(__file__).parents[1])  # not this folder: its agent.py is not the package

from agent.shelf import profiles_of  # noqa: E402 -- found by the line above
from bench.load import at  # noqa: E402 -- found by the line above
from bench.stage import machine, told  # noqa: E402 -- likewise
from tests.support.processes import started  # noqa: E402 -- likewise
from tests.support.system import System, agent_role, running_system  # noqa: E402 -- likewise

FIELD_INTERVAL: Final = 30
LOOK_EVERY: Final = 0.1
PREPARATIONS: Final = 6
"""Seconds between the last poll before the moment and the moment: an agent prepares for five."""


def one(system: System) -> float:
    """Submit, wait for the end, and give the seconds between the request and the first sample."""
    asked = datetime.now(UTC)
    answer = system.submit(pids=[system.sample_pid], duration=1, frequency=99)
    deadline = time.monotonic() + 3 * FIELD_INTERVAL
    while time.monotonic() < deadline:
        status = system.status(answer["request_id"])
        if status is not None and status["hosts"] and status["hosts"][0]["status"] in {"completed", "failed"}:
            break
        time.sleep(LOOK_EVERY)
    done = system.on_host(answer["request_id"])
    if done["status"] != "completed":
        raise SystemExit(f"a run did not complete: {done}")
    return (began(system, done) - asked).total_seconds()


def began(system: System, done: dict[str, Any]) -> datetime:
    """When a run began to sample, by its profile on the host: a busy server may not have it yet."""
    saved = profiles_of(system.state_dir / "profiles", done["command_id"])
    first_line = max(path for path in saved if path.suffix == ".col").read_text().partition("\n")[0]
    return datetime.fromisoformat(json.loads(first_line.removeprefix("# "))["started_at"])


@contextlib.contextmanager
def hosts(number: int, *, interval: int, held: bool) -> Iterator[list[System]]:
    """The whole system with so many hosts, each with an agent of its own; all of them are this machine."""
    wait = None if held else 0
    with (
        tempfile.TemporaryDirectory(prefix="bench-") as folder,
        running_system(Path(folder), interval=interval, wait=wait) as first,
        contextlib.ExitStack() as agents,
    ):
        systems = [first, *(replace(first, host=f"host-{each}") for each in range(2, number + 1))]
        for each in systems[1:]:
            role = agent_role(
                first.state_dir, first.url, first.tokens["agent"], service=first.service, host=each.host,
                home=each.host, interval=interval, wait=wait,
            )  # fmt: skip
            agents.enter_context(started(role))
        for each in systems[1:]:
            each.wait_until_online(within=60 + 2 * interval)
        yield systems


def measure(runs: int, *, interval: int, held: bool, seed: int, agents: int = 1) -> dict[str, Any]:
    """So many runs against a system of its own, shared among so many agents."""
    shares = [runs // agents + (each < runs % agents) for each in range(agents)]

    def runs_of(number: int, system: System) -> list[float]:
        dice = random.Random(f"{seed} {number}")
        seconds = []
        for _ in range(shares[number]):
            time.sleep(dice.uniform(0, 0.2 if held else interval))
            seconds.append(one(system))
        return seconds

    with hosts(agents, interval=interval, held=held) as systems, ThreadPoolExecutor(agents) as together:
        list(together.map(one, systems))  # the first of all imports and compiles
        seconds = [each for of_one in together.map(runs_of, range(agents), systems) for each in of_one]
        facts = machine(systems[0].settings)
    ordered = sorted(seconds)
    return {
        "machine": facts, "runs": runs, "agents": agents, "interval": interval, "held": held,
        **{name: round(at(ordered, share), 3) for name, share in (("p50", 0.5), ("p99", 0.99), ("max", 1.0))},
    }  # fmt: skip


def punctual(runs: int, *, interval: int, held: bool) -> dict[str, Any]:
    """How many milliseconds after its moment each of so many starts began."""
    late: list[float] = []
    with hosts(1, interval=interval, held=held) as (system,):
        one(system)  # the first of all imports and compiles
        for _ in range(runs):
            moment = datetime.now(UTC) + timedelta(seconds=2 * interval + PREPARATIONS)
            answer = system.submit(start_at=moment.isoformat(), duration=1, frequency=99)
            done = system.wait_for(answer["request_id"], within=2 * interval + 60)
            if done["status"] != "completed":
                raise SystemExit(f"a run did not complete: {done}")
            late.append((began(system, done) - moment).total_seconds() * 1000)
        facts = machine(system.settings)
    ordered = sorted(late)
    return {
        "machine": facts, "runs": runs, "interval": interval, "held": held,
        "too_early": sum(each < 0 for each in late), "within_50_ms": sum(0 <= each <= 50 for each in late),
        **{
            name: round(at(ordered, share), 2)
            for name, share in (("min", 0.0), ("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("max", 1.0))
        },
    }  # fmt: skip


def punctuality(results: Sequence[dict[str, Any]]) -> str:
    """For people."""
    names = ("min", "p50", "p90", "p99", "max")
    head = "".join(f"{name:>9}" for name in names)
    lines = [*told(results[0]["machine"]), "", f"{'ms after start_at':34}{'runs':>6}{head}{'<= 50 ms':>10}{'early':>7}"]
    for one_of in results:
        how = "held heartbeats" if one_of["held"] else f"polling every {one_of['interval']} s"
        numbers = "".join(f"{one_of[name]:>9.2f}" for name in names)
        lines.append(f"{how:34}{one_of['runs']:>6}{numbers}{one_of['within_50_ms']:>10}{one_of['too_early']:>7}")
    return "\n".join(lines)


def table(results: Sequence[dict[str, Any]]) -> str:
    """For people."""
    lines = [*told(results[0]["machine"]), "", f"{'seconds':34}{'runs':>6}{'p50':>9}{'p99':>9}{'max':>9}"]
    for one_of in results:
        how = "held heartbeats" if one_of["held"] else f"polling every {one_of['interval']} s"
        lines.append(
            f"{how:34}{one_of['runs']:>6}" + "".join(f"{one_of[name]:>9.2f}" for name in ("p50", "p99", "max"))
        )
        if not one_of["held"]:
            shares = "".join(f"{one_of[name] / one_of['interval']:>9.2f}" for name in ("p50", "p99", "max"))
            lines.append(f"{'  as a share of the interval':40}{shares}")
    return "\n".join(lines)


def options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=100, help="default: %(default)s")
    parser.add_argument(
        "--interval", type=int, help="seconds between heartbeats that poll; default: 30, with --start-at 3"
    )
    parser.add_argument("--agents", type=int, default=10, help="that share the runs with polling; default: %(default)s")
    parser.add_argument(
        "--start-at", type=int, default=0, metavar="RUNS", help="measure how punctual so many starts with a moment are"
    )
    parser.add_argument("--seed", type=int, default=1, help="of the random moments; default: %(default)s")
    parser.add_argument("--json", action="store_true", help="one JSON list instead of a table")
    given = parser.parse_args(arguments)
    if given.interval is None:
        given.interval = 3 if given.start_at else FIELD_INTERVAL
    if min(given.runs, given.interval, given.agents) <= 0 or given.start_at < 0:
        parser.error("every number must be positive")
    return given


def main(arguments: Sequence[str] | None = None) -> int:
    given = options(arguments)
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # as Ctrl-C, which leaves nothing behind
    if given.start_at:
        moments = [
            punctual(given.start_at, interval=given.interval, held=True),
            punctual(given.start_at, interval=given.interval, held=False),
        ]
        print(json.dumps(moments, indent=2) if given.json else punctuality(moments))
        return 0
    results = [
        measure(given.runs, interval=FIELD_INTERVAL, held=True, seed=given.seed),
        measure(given.runs, interval=given.interval, held=False, seed=given.seed, agents=given.agents),
    ]
    print(json.dumps(results, indent=2) if given.json else table(results))
    return 0


if __name__ == "__main__":
    sys.exit(main())
