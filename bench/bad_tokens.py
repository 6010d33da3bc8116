"""What a flood of bad tokens costs those who beat with a good one, another random token each time.

    .venv/bin/python bench/bad_tokens.py

One real API process with a broker of its own, loaded to the brim over some connections (bench/load.py) in rounds of
three short turns: good heartbeats alone; with so many more connections that 30 % of all have none but bad tokens, as a
flood comes; and with 30 % bad ones among the good ones of each connection, as no flood comes, but as is hardest. What
is compared is the rate of the good ones, and how many commands the broker executed for each.
"""

import argparse
import contextlib
import json
import math
import statistics
import sys
from collections import Counter
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import redis

from bench import stage
from bench.heartbeats import Load, Server, api_for, wait_until_answers
from bench.stage import machine
from broker.settings import BrokerSettings

TARGET: Final = 0.8
HEADINGS: Final = {
    "": 24, "good beats/s": 14, "p50 ms": 9, "p99 ms": 9, "API µs each": 13, "commands each": 15, "bad calls/s": 13,
}  # fmt: skip
"""Each with the width of its column."""


class Kept(NamedTuple):
    """What is kept beside bad tokens: the mean of the rounds, and its standard error (None: there was one round)."""

    mean: float
    error: float | None


def kept(beside: Sequence[dict[str, Any]], alone: Sequence[dict[str, Any]], of: str) -> Kept:
    """What of a number is kept, by turns that were beside each other."""
    each = [one[of] / other[of] for one, other in zip(beside, alone, strict=True)]
    error = statistics.stdev(each) / math.sqrt(len(each)) if len(each) > 1 else None
    return Kept(statistics.mean(each), error)


def share(found: Sequence[Any]) -> str:
    """What is kept, for people."""
    mean, error = found
    return f"{mean:.1%}" + (f" (standard error {100 * error:.1f})" if error is not None else "")


def commands(settings: BrokerSettings) -> int:
    """How many the broker has executed so far."""
    with redis.Redis.from_url(settings.url) as client:
        return int(client.info("stats")["total_commands_processed"])


def run(given: argparse.Namespace) -> dict[str, Any]:
    """Rounds without and with bad tokens, in turn."""
    kinds: dict[str, dict[str, Any]] = {
        "good": {}, "flooded": {"with_strangers": True}, "mixed": {"bad": given.share},
    }  # fmt: skip
    rounds: dict[str, list[dict[str, Any]]] = {name: [] for name in kinds}
    with contextlib.ExitStack() as stack:
        api, port, settings = api_for(given.hosts, stack)
        wait_until_answers(f"http://127.0.0.1:{port}/readyz")
        token: str = json.loads((settings.state_dir / "tokens.json").read_text())["agent"]
        server = Server(api, port, token, given.hosts)
        load = stack.enter_context(Load(server, given, strangers=given.strangers))
        for kind in kinds.values():
            load.turn(min(1.0, given.seconds), **kind)
        for _ in range(given.rounds):
            for name, kind in kinds.items():
                before = commands(settings)
                one = load.turn(given.seconds, **kind)
                rounds[name].append(one | {"commands": (commands(settings) - before) / max(1, one["answers"])})
        setting = machine(settings)
    found = {name: told_of(measured) for name, measured in rounds.items()}
    return {
        "machine": setting,
        "load": {
            name: getattr(given, name) for name in ("connections", "hosts", "rounds", "seconds", "share", "strangers")
        },
        **found,
        "kept": {name: kept(rounds[name], rounds["good"], "per_second") for name in ("flooded", "mixed")},
        "kept_by_cpu": {name: kept(rounds["good"], rounds[name], "cpu_us") for name in ("flooded", "mixed")},
    }


def told_of(rounds: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The median of each number over the rounds."""
    bad: Counter[str] = Counter()
    for one in rounds:
        bad.update(one["bad_answers"])
    return {
        "per_second": statistics.median(one["per_second"] for one in rounds),
        "cpu_us": statistics.median(one["cpu_us"] for one in rounds),
        "ms": {name: statistics.median(one["ms"][name] for one in rounds) for name in rounds[0]["ms"]},
        "commands_per_good_beat": statistics.median(one["commands"] for one in rounds),
        "bad_per_second": sum(bad.values()) / sum(one["seconds"] for one in rounds),
        "bad_answers": dict(bad),
    }


def told(measured: dict[str, Any]) -> str:
    """For people."""
    load = measured["load"]
    rounds = f"median of {load['rounds']} x {load['seconds']:g} s"
    lines = [
        *stage.told(measured["machine"]),
        f"{load['connections']} connections, {load['hosts']:,} hosts, {rounds}",
        "",
        "".join(f"{name:>{width}}" for name, width in HEADINGS.items()),
    ]
    titles = {"good": "good tokens alone", "flooded": f"{load['strangers']} with bad ones", "mixed": "the same, mixed"}
    for name, title in titles.items():
        one = measured[name]
        lines.append(
            f"{title:24}{one['per_second']:>14,.0f}{one['ms']['p50']:>9.2f}{one['ms']['p99']:>9.2f}"
            f"{one['cpu_us']:>13.0f}{one['commands_per_good_beat']:>15.3f}{one['bad_per_second']:>13,.0f}"
        )
    lines.append("")
    for name, how in (("flooded", "on connections of their own"), ("mixed", "on the same connections")):
        answers = ", ".join(f"{status}: {count:,}" for status, count in sorted(measured[name]["bad_answers"].items()))
        lines.append(f"beside bad tokens {how} ({answers}) good heartbeats keep")
        lines.append(f"  {share(measured['kept'][name])} of their rate (target: at least {TARGET:.0%})")
        lines.append(
            f"  {share(measured['kept_by_cpu'][name])} by the API's processor time for each, bad calls and all"
        )
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--connections", type=int, default=64, help="default: %(default)s")
    parser.add_argument("--hosts", type=int, default=1_000, help="default: %(default)s")
    parser.add_argument("--rounds", type=int, default=100, help="default: %(default)s")
    parser.add_argument("--seconds", type=float, default=0.2, help="of one turn; default: %(default)s")
    parser.add_argument("--share", type=float, default=0.3, help="of what is bad; default: %(default)s")
    parser.add_argument("--strangers", type=int, help="connections with bad tokens alone; default: that share of all")
    parser.add_argument("--most", type=int, default=10**9, help="answers after which a round ends; default: no bound")
    parser.add_argument("--json", action="store_true", help="one JSON object instead of a table")
    given = parser.parse_args(arguments)
    if given.connections <= 0 or given.hosts <= 0 or given.rounds <= 0 or given.seconds <= 0 or not 0 < given.share < 1:
        parser.error("numbers must be positive, and the share below 1")
    if given.strangers is None:
        given.strangers = max(1, round(given.connections * given.share / (1 - given.share)))
    measured = run(given)
    print(json.dumps(measured, indent=2) if given.json else told(measured))
    return 0


if __name__ == "__main__":
    sys.exit(main())
