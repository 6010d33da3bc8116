"""A program with known hot functions, to see a profiler at work: `python -m cli.sample`, or this file run by itself.

Three functions share its CPU time as `SHARES` says. Each is called in short slices until its part of the CPU time used
so far is reached, so that the split is held by the clock, on any machine and in any window of a few seconds. A profile
shows the functions as `crunch_numbers (sample.py:…)` and so on.
"""

import argparse
import os
import random
import sys
import time
from collections.abc import Callable
from operator import itemgetter
from typing import Final

SHARES: Final[dict[str, float]] = {"crunch_numbers": 0.6, "sort_records": 0.3, "parse_text": 0.1}
"""Each hot function's share of the program's CPU time."""

BY_ITSELF_SECONDS: Final = 3600.0
"""How long it runs when nobody says how long, nor whose child it is: it takes a whole core."""
ROUND_SECONDS: Final = (0.025, 0.075)
"""CPU seconds after which each function has had its share: no two rounds alike, or a sampler could keep step."""


def crunch_numbers(until: float) -> None:
    """Count the steps of Collatz sequences until the process has used `until` CPU seconds: arithmetic."""
    while time.process_time() < until:
        steps = 0
        for start in range(1, 200):
            number = start
            while number != 1:
                number = number // 2 if number % 2 == 0 else 3 * number + 1
                steps += 1


def sort_records(until: float) -> None:
    """Sort shuffled records by either field until the process has used `until` CPU seconds: comparisons."""
    chooser = random.Random(7)  # noqa: S311 -- the same records each time; nothing secret
    while time.process_time() < until:
        records = []
        for number in range(1_600):
            records.append((chooser.random(), str(number)))  # noqa: PERF401 -- a comprehension is a frame of its own
        for field in (1, 0, 1):
            records.sort(key=itemgetter(field))


def parse_text(until: float) -> None:
    """Pick the numbers out of a log's lines until the process has used `until` CPU seconds: strings."""
    while time.process_time() < until:
        total = 0
        for number in range(450):
            line = f"2025-01-08T11:00:{number % 60:02d} level=info status=200 bytes={number * 37}"
            for field in line.split():
                name, found, value = field.partition("=")
                if found and name == "bytes":
                    total += int(value)


WORK: Final[dict[str, Callable[[float], None]]] = {
    "crunch_numbers": crunch_numbers,
    "sort_records": sort_records,
    "parse_text": parse_text,
}
"""Each looks at the clock itself, about once a millisecond: a kernel prefers to take a CPU away at a system call, and
on a busy machine the wait for it would go to whoever looked."""


def work(seconds: float, parent: int) -> dict[str, float]:
    """Keep the split until the time is over or the parent process is gone; gives the CPU seconds of each function.

    Args:
        seconds: how long, by the wall clock.
        parent: its pid.
    """
    end = time.monotonic() + seconds
    chooser = random.Random(11)  # noqa: S311 -- nothing secret
    used = dict.fromkeys(WORK, 0.0)
    budget = 0.0
    now = time.process_time()
    while time.monotonic() < end and os.getppid() == parent:
        budget += chooser.uniform(*ROUND_SECONDS)
        for name, function in WORK.items():
            function(now + budget * SHARES[name] - used[name])
            before, now = now, time.process_time()
            used[name] += now - before
    return used


def main(arguments: list[str] | None = None) -> int:
    """Run until killed, until the parent is gone, or for `--seconds`.

    Who started it and is gone before the first look is not seen to be missing: whoever has taken its place is taken for
    the parent. So a starter that wants it for as long as it lives itself says who it is, and all others have an end.
    """
    parser = argparse.ArgumentParser(prog="sample", description=__doc__.partition("\n")[0])
    parser.add_argument(
        "--seconds", type=float, default=None,
        help=f"stop after this long (default: {BY_ITSELF_SECONDS:.0f}, with --parent: run on)",
    )  # fmt: skip
    parser.add_argument("--parent", type=int, default=None, help="the pid of who starts it: it ends with that")
    options = parser.parse_args(arguments)
    if options.seconds is not None and not 0 < options.seconds < float("inf"):
        parser.error("--seconds must be a positive number")
    seconds = options.seconds or (BY_ITSELF_SECONDS if options.parent is None else float("inf"))
    try:
        work(seconds, options.parent or os.getppid())
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
