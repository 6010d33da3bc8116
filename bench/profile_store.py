"""How fast profiles are taken in, and merged into one flame graph; beside a plain Python merge of the same files.

    .venv/bin/python bench/profile_store.py
    .venv/bin/python bench/profile_store.py --engine embedded --engine clickhouse
    .venv/bin/python bench/profile_store.py --tenfold

Everything in this one process, on a folder of its own: what is measured is the work, without HTTP and without rq.
"""

import argparse
import gzip
import itertools
import json
import os
import platform
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime, timedelta
from functools import cache, partial
from pathlib import Path
from typing import Any, Final

from bench.stage import cpuinfo
from profiles import collapsed
from profiles.clickhouse import ClickHouse
from profiles.comparison import compared
from profiles.embedded import Embedded
from profiles.flamegraph import tree_of
from profiles.functions import heaviest
from profiles.objects import Objects
from profiles.questions import Engine, Place, Selection
from profiles.shelves import Envelope, RawUploads
from profiles.tables import samples_and_stacks
from profiles.upload import read_json

START: Final = datetime(2026, 5, 4, 10, tzinfo=UTC)
TENANT: Final = "default"
SERVICE: Final = "bench"
POOL: Final = 5
"""Times as many stacks as one profile has: hosts of a service share most of what they run."""


def stacks_of(number: int, many: int) -> dict[str, int]:
    """The stacks of one host: some 20 frames deep, drawn from what all of them run."""
    dice = random.Random(number)
    chosen = dice.sample(range(many * POOL), many)
    return {stack(each): dice.randint(1, 50) for each in chosen}


@cache
def stack(number: int) -> str:
    """One of all stacks: those with close numbers share their upper frames."""
    frames = [
        f"module_{number // 10 ** (5 - depth // 4) % 97}.function_{depth} (file_{depth}.py:{depth})"
        for depth in range(20)
    ]
    return ";".join(["python3", *frames, f"leaf_{number} (leaves.py:{number % 1000})"])


def body_of(number: int, many: int) -> bytes:
    """One upload, as agents send it."""
    began = START + timedelta(seconds=number % 3_000)
    lines = "\n".join(f"{each} {count}" for each, count in stacks_of(number, many).items())
    header = {"format": "collapsed", "command_id": f"c-{number % 10}"}
    told = {
        "hostname": f"host-{number:05}", "start_time": began.isoformat(),
        "end_time": (began + timedelta(minutes=1)).isoformat(), "profile": f"# {json.dumps(header)}\n{lines}",
    }  # fmt: skip
    return json.dumps(told).encode()


def timed(act: Callable[[], Any]) -> tuple[float, Any]:
    began = time.perf_counter()
    result = act()
    return time.perf_counter() - began, result


def taken_in(objects: Objects, engine: Engine, bodies: Iterable[bytes]) -> dict[str, float]:
    """Each upload read, stored, read again and indexed: what API and job do between them. Gives seconds."""
    raw = RawUploads(objects)
    stored = indexed = 0.0
    for body in bodies:
        zipped = gzip.compress(body, compresslevel=6)
        began = time.perf_counter()
        upload = read_json(gzip.decompress(zipped), tenant=TENANT, service=SERVICE, now=START)
        facts = upload.facts
        envelope = Envelope(
            TENANT, SERVICE, facts.host.host, "agent", is_zipped=True, started_at=facts.started_at.isoformat(),
            ended_at=facts.ended_at.isoformat(), received_at=START.isoformat(),
        )  # fmt: skip
        path = raw.keep(facts.profile_id, envelope, zipped)
        middle = time.perf_counter()
        _, content = raw.read(path)
        again = read_json(gzip.decompress(content), tenant=TENANT, service=SERVICE, now=START)
        engine.add(*samples_and_stacks(again), Place(TENANT, SERVICE, facts.profile_id))
        stored += middle - began
        indexed += time.perf_counter() - middle
    return {"stored": stored, "indexed": indexed}


def plainly_merged(bodies: Iterable[bytes]) -> dict[str, int]:
    """The peer: the same files, parsed and added up in a dictionary."""
    merged: dict[str, int] = {}
    for body in bodies:
        for each, count in collapsed.read(json.loads(body)["profile"]).stacks.items():
            merged[each] = merged.get(each, 0) + count
    return merged


WHOLE: Final = Selection(TENANT, SERVICE, START, START + timedelta(hours=1))
TENTH: Final = Selection(TENANT, SERVICE, START, START + timedelta(hours=1), {"command_id": ["c-3"]})


def asked(engine: Engine, rounds: int) -> tuple[dict[str, float], dict[str, int]]:
    """What people ask of all that is there: the median of some rounds, and the last merge."""
    spent: dict[str, list[float]] = {}
    merged: dict[str, int] = {}

    def ask(name: str, question: Callable[[], Any]) -> Any:
        seconds, answer = timed(question)
        spent.setdefault(name, []).append(seconds)
        return answer

    engine.merged(TENTH)  # what is loaded once is no part of an answer
    for _ in range(rounds):
        merged = ask("merge", lambda: engine.merged(WHOLE))
        ask("tree", partial(tree_of, merged))
        part = ask("tenth", lambda: engine.merged(TENTH))
        ask("list", lambda: engine.profiles(WHOLE, after="", most=100))
        ask("time", lambda: engine.over_time(WHOLE, timedelta(minutes=1)))
        ask("diff", partial(compared, part, merged))
        ask("functions", partial(heaviest, merged, order="total", most=100))
    return {name: statistics.median(each) for name, each in spent.items()}, merged


def steps(profiles: int, *, tenfold: bool) -> list[range]:
    """The numbers of the profiles that come in each step: a tenth, then up to all, then ten times as many."""
    ends = [0, max(profiles // 10, 1), profiles, *([profiles * 10] if tenfold else [])]
    return [range(*each) for each in itertools.pairwise(ends) if each[0] < each[1]]


def measured(given: argparse.Namespace, engine_of: Callable[[Objects], Engine]) -> list[dict[str, Any]]:
    """Take them in, ask, compare with the dictionary, step by step. Gives what was measured after each step."""
    found: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory(prefix="bench-profiles-") as folder:
        objects = Objects(folder)
        engine = engine_of(objects)
        for step in steps(given.profiles, tenfold=given.tenfold):
            spent = taken_in(objects, engine, (body_of(number, given.stacks) for number in step))
            answers, merged = asked(engine, given.rounds)
            plain = 0.0
            if step.stop <= given.profiles:
                bodies = [body_of(number, given.stacks) for number in range(step.stop)]
                plain, by_hand = timed(lambda: plainly_merged(bodies))  # noqa: B023 - called at once
                assert by_hand == merged, "the engine and the dictionary differ"
            found.append({
                "profiles": step.stop, "taken_in": len(step), "distinct": len(merged),
                "seconds": {**spent, **answers, "plain": plain},
                "bytes": {
                    kind: sum(file.stat().st_size for file in (Path(folder) / kind).rglob("*") if file.is_file())
                    for kind in ("raw", "samples", "stacks")
                },
            })  # fmt: skip
    return found


ENGINES: Final[dict[str, Callable[[Objects], Engine]]] = {
    "embedded": Embedded, "clickhouse": lambda _: ClickHouse("chdb://memory"),
}  # fmt: skip


def run(given: argparse.Namespace) -> dict[str, Any]:
    """Every engine that was asked for, one after the other."""
    machine = {
        "cpu": _cpu(), "cores": os.cpu_count(), "load": os.getloadavg()[0], "python": platform.python_version(),
    }  # fmt: skip
    engines = {name: measured(given, ENGINES[name]) for name in given.engine or ["embedded"]}
    return {"machine": machine, "stacks": given.stacks, "engines": engines}


def _cpu() -> str:
    return next((line.partition(":")[2].strip() for line in cpuinfo() if line.startswith("model name")), "unknown")


def told(one: dict[str, Any]) -> str:
    """For people."""
    machine = one["machine"]
    lines = [f"{machine['cpu']}, {machine['cores']} cores, load {machine['load']:.1f}, Python {machine['python']}"]
    for name, found in one["engines"].items():
        lines += ["", f"{name}, profiles of {one['stacks']:,} stacks; seconds", HEAD]
        lines += [_row(each) for each in found]
        before, after = found[-2:] if len(found) > 1 else (found[0], found[0])
        grown = {each: after["seconds"][each] / before["seconds"][each] for each in ("merge", "list")}
        more = after["profiles"] / before["profiles"]
        lines.append(f"with {more:.0f} times the data a merge takes {grown['merge']:.1f} times as long, a page "
                     f"of the list {grown['list']:.1f} times")  # fmt: skip
        sizes = ", ".join(f"{kind} {size / 1e6:,.1f} MB" for kind, size in after["bytes"].items())
        lines.append(f"on disk: {sizes}")
    return "\n".join([*lines, "", "targets: 50 profiles/s in; 1,000 profiles of 2,000 stacks merged and drawn in 1 s"])


HEAD: Final = (
    f"{'profiles':>9}{'in/s':>7}{'indexed/s':>11}{'merge':>8}{'tree':>7}{'plain':>8}{'ratio':>7}{'tenth':>8}{'list':>7}"
    f"{'time':>7}{'diff':>7}{'functions':>11}"
)


def _row(one: dict[str, Any]) -> str:
    seconds, many = one["seconds"], one["taken_in"]
    both = seconds["stored"] + seconds["indexed"]
    plain = f"{seconds['plain']:.2f}" if seconds["plain"] else "-"
    ratio = f"{seconds['plain'] / seconds['merge']:.1f}" if seconds["plain"] else "-"
    return (
        f"{one['profiles']:>9,}{many / both:>7,.0f}{many / seconds['indexed']:>11,.0f}{seconds['merge']:>8.2f}"
        f"{seconds['tree']:>7.2f}{plain:>8}{ratio:>7}{seconds['tenth']:>8.2f}{seconds['list']:>7.2f}"
        f"{seconds['time']:>7.2f}{seconds['diff']:>7.2f}{seconds['functions']:>11.2f}"
    )


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--profiles", type=int, default=1_000, help="default: %(default)s")
    parser.add_argument("--stacks", type=int, default=2_000, help="of each; default: %(default)s")
    parser.add_argument("--rounds", type=int, default=3, help="default: %(default)s")
    parser.add_argument("--tenfold", action="store_true", help="and then ten times as many, which takes minutes")
    parser.add_argument("--engine", action="append", choices=ENGINES, help="may be said twice; default: embedded")
    parser.add_argument("--json", action="store_true", help="one JSON object")
    given = parser.parse_args(arguments)
    if min(given.profiles, given.stacks, given.rounds) <= 0:
        parser.error("numbers must be positive")
    found = run(given)
    print(json.dumps(found, indent=2) if given.json else told(found))
    return 0


if __name__ == "__main__":
    sys.exit(main())
