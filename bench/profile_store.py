"""How fast profiles are taken in, and merged into one flame graph; beside a plain Python merge of the same files.

    .venv/bin/python bench/profile_store.py

Everything in this one process, on a folder of its own: what is measured is the work, without HTTP and without rq.
"""

import argparse
import gzip
import json
import os
import platform
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from bench.stage import cpuinfo
from profiles import collapsed
from profiles.embedded import Embedded
from profiles.flamegraph import tree_of
from profiles.objects import Objects
from profiles.questions import Place, Selection
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


def taken_in(objects: Objects, engine: Embedded, bodies: Sequence[bytes]) -> dict[str, float]:
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


def plainly_merged(bodies: Sequence[bytes]) -> dict[str, int]:
    """The peer: the same files, parsed and added up in a dictionary."""
    merged: dict[str, int] = {}
    for body in bodies:
        for each, count in collapsed.read(json.loads(body)["profile"]).stacks.items():
            merged[each] = merged.get(each, 0) + count
    return merged


def run(given: argparse.Namespace) -> dict[str, Any]:
    """Take them in, ask, compare."""
    with tempfile.TemporaryDirectory(prefix="bench-profiles-") as folder:
        objects = Objects(folder)
        engine = Embedded(objects)
        bodies = [body_of(number, given.stacks) for number in range(given.profiles)]
        spent = taken_in(objects, engine, bodies)
        whole = Selection(TENANT, SERVICE, START, START + timedelta(hours=1))
        tenth = Selection(TENANT, SERVICE, START, START + timedelta(hours=1), {"command_id": ["c-3"]})
        merges, trees, parts, lists = [], [], [], []
        for _ in range(given.rounds):
            seconds, merged = timed(lambda: engine.merged(whole))
            merges.append(seconds)
            trees.append(timed(lambda merged=merged: tree_of(merged))[0])  # type: ignore[misc]  # bound at once
            parts.append(timed(lambda: engine.merged(tenth))[0])
            lists.append(timed(lambda: engine.profiles(whole, after="", most=100))[0])
        plain, by_hand = timed(lambda: plainly_merged(bodies))
        assert by_hand == merged, "the engine and the dictionary differ"
        size = {
            kind: sum(file.stat().st_size for file in (Path(folder) / kind).rglob("*") if file.is_file())
            for kind in ("raw", "samples", "stacks")
        }
    machine = {
        "cpu": _cpu(), "cores": os.cpu_count(), "load": os.getloadavg()[0], "python": platform.python_version(),
    }  # fmt: skip
    return {
        "machine": machine, "profiles": given.profiles, "stacks": given.stacks, "distinct": len(merged), "bytes": size,
        "seconds": {
            **spent, "merge": statistics.median(merges), "tree": statistics.median(trees),
            "tenth": statistics.median(parts), "list": statistics.median(lists), "plain": plain,
        },
    }  # fmt: skip


def _cpu() -> str:
    return next((line.partition(":")[2].strip() for line in cpuinfo() if line.startswith("model name")), "unknown")


def told(one: dict[str, Any]) -> str:
    """For people."""
    seconds, machine = one["seconds"], one["machine"]
    both = seconds["stored"] + seconds["indexed"]
    many = one["profiles"]
    return "\n".join([
        f"{machine['cpu']}, {machine['cores']} cores, load {machine['load']:.1f}, Python {machine['python']}",
        f"{many:,} profiles of {one['stacks']:,} stacks, {one['distinct']:,} distinct",
        "",
        f"stored {many / seconds['stored']:,.0f}/s, indexed {many / seconds['indexed']:,.0f}/s (target: 50)",
        f"both: {many / both:,.0f}/s",
        f"merged: {seconds['merge']:.2f} s, and made a tree {seconds['tree']:.2f} s (target: under 1 s together)",
        f"a tenth of them: {seconds['tenth']:.2f} s; a page of the list: {seconds['list']:.2f} s",
        f"plain Python, parsed and added up: {seconds['plain']:.2f} s",
        "on disk: " + ", ".join(f"{kind} {size / 1e6:,.1f} MB" for kind, size in one["bytes"].items()),
    ])  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--profiles", type=int, default=1_000, help="default: %(default)s")
    parser.add_argument("--stacks", type=int, default=2_000, help="of each; default: %(default)s")
    parser.add_argument("--rounds", type=int, default=3, help="default: %(default)s")
    parser.add_argument("--json", action="store_true", help="one JSON object")
    given = parser.parse_args(arguments)
    if min(given.profiles, given.stacks, given.rounds) <= 0:
        parser.error("numbers must be positive")
    measured = run(given)
    print(json.dumps(measured, indent=2) if given.json else told(measured))
    return 0


if __name__ == "__main__":
    sys.exit(main())
