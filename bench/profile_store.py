"""How fast profiles are taken in, and merged into one flame graph; beside a plain Python merge of the same files.

    .venv/bin/python bench/profile_store.py
    .venv/bin/python bench/profile_store.py --engine embedded --engine clickhouse
    .venv/bin/python bench/profile_store.py --tenfold

Everything in this one process, on a folder of its own: what is measured is the work, without HTTP, Redis and rq.
Uploads are made by other processes, before the clock runs.
"""

import argparse
import asyncio
import gzip
import io
import itertools
import json
import os
import platform
import random
import statistics
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import cache, partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Final

import structlog

from bench.stage import cpuinfo
from broker.streams import Entry
from broker.uploads import Uploads
from profiles import collapsed
from profiles.clickhouse import ClickHouse
from profiles.comparison import compared
from profiles.embedded import Embedded
from profiles.flamegraph import tree_of
from profiles.functions import heaviest
from profiles.objects import Objects
from profiles.portions import MOST_PLAIN_BYTES, Plain
from profiles.questions import Engine, Selection
from profiles.renderings import MOST, RENDERINGS, Merged
from profiles.shelves import Envelope, RawUploads
from profiles.upload import read_json
from protocol.names import HostKey
from workers.indexing import Indexer

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


def zipped_body_of(number: int, many: int) -> bytes:
    """The same as it is sent."""
    return gzip.compress(body_of(number, many), compresslevel=6)


class Clock(Counter[str]):
    """Seconds by what they were spent on: wall clock under the name, CPU time of this process under `name cpu`."""

    @contextmanager
    def runs(self, name: str) -> Iterator[None]:
        began, worked = time.perf_counter(), time.process_time()
        yield
        self[f"{name} cpu"] += time.process_time() - worked  # type: ignore[assignment]  # a Counter takes any number
        self[name] += time.perf_counter() - began  # type: ignore[assignment]  # likewise


def stored(raw: RawUploads, zipped: bytes) -> tuple[HostKey, str]:
    """An upload read, checked and stored: what the API does before it acknowledges. Gives whose it is, and where."""
    portions = Plain(io.BytesIO(zipped), is_zipped=True, most=MOST_PLAIN_BYTES)
    upload = read_json(portions, tenant=TENANT, service=SERVICE, now=START, keeps=False)
    facts = upload.facts
    envelope = Envelope(
        TENANT, SERVICE, facts.host.host, "agent", is_zipped=True, started_at=facts.started_at.isoformat(),
        ended_at=facts.ended_at.isoformat(), received_at=START.isoformat(),
    )  # fmt: skip
    return facts.host, raw.keep(facts.profile_id, envelope, io.BytesIO(zipped))


class Waiting(Uploads):
    """What is announced and not indexed yet, in this process instead of in a stream."""

    def __init__(self) -> None:
        self._entries: list[Entry] = []

    async def announce(self, host: HostKey, path: str) -> None:
        self._entries.append(Entry("", host.host, {"path": path}))

    async def take(self, *, idle: timedelta, most: int) -> list[Entry]:  # noqa: ARG002 - nobody else takes any
        return self._entries[:most]

    async def hold(self, entries: list[Entry], *, idle: timedelta) -> list[Entry]:  # noqa: ARG002 - likewise
        return entries

    async def done(self, entries: list[Entry]) -> None:
        del self._entries[: len(entries)]


def taken_in(objects: Objects, engine: Engine, uploads: Iterable[bytes]) -> Clock:
    """Each upload stored, and then indexed by what the job runs."""
    raw, waiting, clock = RawUploads(objects), Waiting(), Clock()
    for zipped in uploads:
        with clock.runs("stored"):
            host, path = stored(raw, zipped)
        asyncio.run(waiting.announce(host, path))
    with clock.runs("indexed"):
        asyncio.run(Indexer(waiting, raw, engine).index())
    return clock


def plainly_merged(raw: RawUploads) -> dict[str, int]:
    """The peer: the same uploads, read from the disk, parsed and added up in a dictionary."""
    merged: dict[str, int] = {}
    for path in raw.paths(TENANT, SERVICE, start=WHOLE.start, end=WHOLE.end):
        body = json.loads(gzip.decompress(raw.read(path)[1]))
        for each, count in collapsed.read(body["profile"]).stacks.items():
            merged[each] = merged.get(each, 0) + count
    return merged


WHOLE: Final = Selection(TENANT, SERVICE, START, START + timedelta(hours=1))
TENTH: Final = Selection(TENANT, SERVICE, START, START + timedelta(hours=1), {"command_id": ["c-3"]})


def asked(engine: Engine, rounds: int) -> tuple[list[Clock], Mapping[str, int]]:
    """What people ask of all that is there, several times, and the last merge."""
    clocks = [Clock() for _ in range(rounds)]
    stacks: Mapping[str, int] = {}
    engine.merged(TENTH)  # what is loaded once is no part of an answer
    for clock in clocks:
        with clock.runs("graph"):
            with clock.runs("merge"):
                found = engine.merged(WHOLE)
            stacks = found.stacks
            with clock.runs("tree"):
                tree_of(stacks)
        with clock.runs("drawn"):
            RENDERINGS["json"].write(Merged(stacks, SERVICE, "cpu", 0, START, timedelta(hours=1), {}), MOST)
        with clock.runs("tenth"):
            part = engine.merged(TENTH)
        with clock.runs("list"):
            engine.profiles(WHOLE, after="", most=100)
        with clock.runs("time"):
            engine.over_time(WHOLE, timedelta(minutes=1))
        with clock.runs("diff"):
            compared(part.stacks, stacks)
        with clock.runs("functions"):
            heaviest(stacks, order="total", most=100)
    return clocks, stacks


def spread(values: Iterable[float]) -> dict[str, float]:
    """The least, the median and the most."""
    found = sorted(values)
    return {"min": found[0], "median": statistics.median(found), "max": found[-1]}


def steps(profiles: int, *, tenfold: bool) -> list[range]:
    """The numbers of the profiles that come in each step: a tenth, then up to all, then ten times as many."""
    ends = [0, max(profiles // 10, 1), profiles, *([profiles * 10] if tenfold else [])]
    return [range(*each) for each in itertools.pairwise(ends) if each[0] < each[1]]


def measured(given: argparse.Namespace, engine_of: Callable[[Objects], Engine]) -> list[dict[str, Any]]:
    """Take them in, ask, compare with the dictionary, step by step. Gives what was measured after each step."""
    found: list[dict[str, Any]] = []
    away = get_context("spawn")  # a fork of a process that has an engine in it would hang
    with (
        tempfile.TemporaryDirectory(prefix="bench-profiles-") as folder,
        ProcessPoolExecutor(mp_context=away) as makers,
    ):
        objects = Objects(folder)
        engine = engine_of(objects)
        for step in steps(given.profiles, tenfold=given.tenfold):
            batches: list[tuple[int, Clock]] = []
            for first in range(0, len(step), AT_A_TIME):
                some = step[first : first + AT_A_TIME]
                made = [*makers.map(partial(zipped_body_of, many=given.stacks), some, chunksize=10)]
                batches.append((len(made), taken_in(objects, engine, made)))
            clocks, merged = asked(engine, given.rounds)
            for clock in clocks if step.stop <= given.profiles else ():
                with clock.runs("plain"):
                    by_hand = plainly_merged(RawUploads(objects))
                assert by_hand == merged, "the engine and the dictionary differ"
            taken = {name: sum(clock[name] for _, clock in batches) for name in batches[0][1]}
            answered = {name: [clock[name] for clock in clocks] for name in clocks[0]}
            found.append({
                "profiles": step.stop, "taken_in": len(step), "distinct": len(merged),
                "seconds": {**taken, **{name: statistics.median(each) for name, each in answered.items()}},
                "spread": {name: spread(each) for name, each in answered.items()},
                "rates": {name: spread(many / clock[name] for many, clock in batches) for name in RATES},
                "bytes": {
                    kind: sum(file.stat().st_size for file in (Path(folder) / kind).rglob("*") if file.is_file())
                    for kind in ("raw", "samples", "stacks")
                },
            })  # fmt: skip
    return found


RATES: Final = ("stored", "indexed")
AT_A_TIME: Final = 200
"""Uploads that are made before they are taken in, and stored before they are indexed."""
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
        lines += [_spread(each) for each in found]
        before, after = found[-2:] if len(found) > 1 else (found[0], found[0])
        grown = {each: after["seconds"][each] / before["seconds"][each] for each in ("graph", "list")}
        more = after["profiles"] / before["profiles"]
        lines.append(f"with {more:.0f} times the data merge and tree take {grown['graph']:.1f} times as long, a page "
                     f"of the list {grown['list']:.1f} times")  # fmt: skip
        sizes = ", ".join(f"{kind} {size / 1e6:,.1f} MB" for kind, size in after["bytes"].items())
        lines.append(f"on disk: {sizes}")
    return "\n".join(
        [
            *lines,
            "",
            "targets: 50 profiles/s indexed by one worker; 1,000 of 2,000 stacks merged and made a tree in 1 s",
        ]
    )


HEAD: Final = (
    f"{'profiles':>9}{'stored/s':>10}{'cpu':>6}{'indexed/s':>11}{'cpu':>6}{'merge':>8}{'tree':>7}{'both':>7}{'cpu':>6}{'json':>7}"
    f"{'plain':>8}{'ratio':>7}{'tenth':>8}{'list':>7}{'time':>7}{'diff':>7}{'functions':>11}"
)


def _row(one: dict[str, Any]) -> str:
    seconds, many = one["seconds"], one["taken_in"]
    plain, ratio = ("-", "-")
    if "plain" in seconds:
        plain, ratio = f"{seconds['plain']:.2f}", f"{seconds['plain'] / seconds['graph']:.0f}"
    rates = "".join(
        f"{many / seconds[name]:>{width},.0f}{many / seconds[f'{name} cpu']:>6,.0f}"
        for name, width in (("stored", 10), ("indexed", 11))
    )
    return (
        f"{one['profiles']:>9,}{rates}{seconds['merge']:>8.2f}{seconds['tree']:>7.2f}"
        f"{seconds['graph']:>7.2f}{seconds['graph cpu']:>6.2f}"
        f"{seconds['drawn']:>7.2f}{plain:>8}{ratio:>7}{seconds['tenth']:>8.2f}{seconds['list']:>7.2f}"
        f"{seconds['time']:>7.2f}{seconds['diff']:>7.2f}{seconds['functions']:>11.2f}"
    )


def _spread(one: dict[str, Any]) -> str:
    spreads = one["spread"]
    parts = {"indexed/s": one["rates"]["indexed"], "both": spreads["graph"], "plain": spreads.get("plain")}
    told = [
        f"{name} {each['min']:.2f} / {each['median']:.2f} / {each['max']:.2f}" for name, each in parts.items() if each
    ]
    return f"{one['profiles']:>9,} min / median / max: {'; '.join(told)}"


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
    with Path(os.devnull).open("w") as nowhere:  # what is logged is written, as by the job, and read by nobody
        structlog.configure(logger_factory=structlog.WriteLoggerFactory(file=nowhere))
        found = run(given)
    print(json.dumps(found, indent=2) if given.json else told(found))
    return 0


if __name__ == "__main__":
    sys.exit(main())
