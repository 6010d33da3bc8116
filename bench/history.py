"""What a completion costs with few and with many requests in the past, in the same run.

    .venv/bin/python bench/history.py

Two brokers of its own, each with one service: in one, 100 requests have come and gone, in the other 100,000, all of
them submitted, compacted, delivered and completed as ever. Then completions are timed, in turn on the one and on the
other: of the host that had all of those requests, and of a host of the same service that had none.
"""

import argparse
import asyncio
import contextlib
import json
import logging
import sys
import time
from collections.abc import Sequence
from typing import Any, Final
from uuid import uuid4

import structlog

from bench.stage import machine, own_broker, told
from broker import codec, keys, scripts
from broker.command_store import CommandStore
from broker.connection import Broker
from broker.request_log import RequestLog
from broker.scripts import Appended, Beat, Delivered, Recorded
from protocol.completions import Completion
from protocol.names import DEFAULT_TENANT, HostKey
from protocol.requests import ProfileRequest
from workers.merger import Merger

SERVICE: Final = "checkout"
VETERAN: Final = HostKey(DEFAULT_TENANT, SERVICE, "veteran")
NEWCOMER: Final = HostKey(DEFAULT_TENANT, SERVICE, "newcomer")
SUBJECTS: Final = {"host": VETERAN, "service": NEWCOMER}
AT_ONCE: Final = 200
"""So many requests of the past were folded into one command each time, as a busy host's are."""
SHARES: Final = {"p50": 0.5, "p90": 0.9, "p99": 0.99}


class Site:
    """One broker and a merger on it."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._store = CommandStore(broker)
        request_log = RequestLog(broker)
        self._merger = Merger(request_log, self._store, request_log.reader())

    async def ready(self, host: HostKey, requests: int) -> Completion:
        """Submit requests for a host and have it take their command; gives the completion to send for it."""
        at = self._broker.place(host)
        asked = ProfileRequest(service_name=host.service, target_hostnames=[host.host])
        calls = []
        for _ in range(requests):
            wish = codec.open_request(
                asked, request_id=str(uuid4()), command_id=str(uuid4()), accepted_at=time.time(), pids=None
            )
            calls.append(
                scripts.submit(
                    partition=at.partition, batch="0.0", request_id=wish.request_id, command_id=wish.command_id,
                    hosts=[Appended(at, codec.write_request(wish))], now=codec.ms(wish.accepted_at),
                )
            )  # fmt: skip
        if await self._broker.run_all(calls) != [1] * requests:
            raise SystemExit("a request was not appended")
        for _ in range(10):
            await self._merger.merge()
            answer = await self._store.exchange(Beat(host), now=time.time())
            if isinstance(answer, Delivered):
                return Completion(command_id=answer.command_id, hostname=host.host, status="completed", samples=10)
        raise SystemExit(f"no command for {host.host}")

    async def complete(self, host: HostKey, completion: Completion) -> float:
        """Complete a command; gives the seconds that it took."""
        begun = time.perf_counter()
        recorded = await self._store.complete(host, completion, now=time.time())
        took = time.perf_counter() - begun
        if recorded is not Recorded.RECORDED:
            raise SystemExit(f"a completion was {recorded}")
        return took

    async def live_through(self, requests: int) -> None:
        """So many requests for the veteran, all of them to their end, and to that of the merger's work."""
        for first in range(0, requests, AT_ONCE):
            await self.complete(VETERAN, await self.ready(VETERAN, min(AT_ONCE, requests - first)))
            while await self._is_rung():
                await self._merger.merge()

    async def _is_rung(self) -> bool:
        """Whether a host of the veteran's partition is still rung for."""
        async with self._broker.guarded() as redis:
            return bool(await redis.xlen(keys.doorbell(self._broker.place(VETERAN).partition)))


async def run(given: argparse.Namespace) -> dict[str, Any]:
    """Two pasts, then completions in turn."""
    pasts = {"few": given.few, "many": given.many}
    took: dict[str, dict[str, list[float]]] = {past: {subject: [] for subject in SUBJECTS} for past in pasts}
    async with contextlib.AsyncExitStack() as stack:
        sites = {}
        for past, requests in pasts.items():
            # The disk would be most of the time, and hide what is asked here.
            settings = stack.enter_context(own_broker(fsync="everysec"))
            broker = await stack.enter_async_context(Broker.opened(settings))
            await broker.settle_layout()
            sites[past] = Site(broker)
            begun = time.monotonic()
            await sites[past].live_through(requests)
            print(f"{requests:,} requests have come and gone in {time.monotonic() - begun:.0f} s", file=sys.stderr)
        for number in range(given.completions):
            # Who comes first has it easier on a busy machine: they change places.
            in_turn = list(sites.items())[:: 1 if number % 2 else -1]
            for subject, host in SUBJECTS.items():
                for past, site in in_turn:
                    took[past][subject].append(await site.complete(host, await site.ready(host, 1)))
        setting = machine(settings)
    results = {past: {subject: times(took[past][subject]) for subject in SUBJECTS} for past in pasts}
    ratio = {
        subject: {share: results["many"][subject][share] / results["few"][subject][share] for share in SHARES}
        for subject in SUBJECTS
    }
    return {"machine": setting, "past": pasts, "completions": given.completions, **results, "ratio": ratio}


def times(seconds: Sequence[float]) -> dict[str, float]:
    """Shares of the times, in ms."""
    ordered = sorted(seconds)
    return {name: 1000 * ordered[min(len(ordered) - 1, int(share * len(ordered)))] for name, share in SHARES.items()}


def table(measured: dict[str, Any]) -> str:
    """For people."""
    past = measured["past"]
    lines = [*told(measured["machine"]), f"{measured['completions']} completions of each, in turn", ""]
    lines.append(f"{'completion, ms':44}" + "".join(f"{share:>8}" for share in SHARES))
    for subject, words in (("host", "on a host"), ("service", "on a new host in a service")):
        for name in past:
            shares = "".join(f"{measured[name][subject][share]:>8.3f}" for share in SHARES)
            lines.append(f"{f'{words} with {past[name]:,} in the past':44}{shares}")
        ratios = "".join(f"{measured['ratio'][subject][share]:>8.2f}" for share in SHARES)
        lines.append(f"{'  ratio':44}{ratios}")
    return "\n".join(lines)


def options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--few", type=int, default=100, help="requests in the one past (default: %(default)s)")
    parser.add_argument("--many", type=int, default=100_000, help="requests in the other (default: %(default)s)")
    parser.add_argument("--completions", type=int, default=500, help="timed on each (default: %(default)s)")
    parser.add_argument("--json", action="store_true", help="one JSON object instead of a table")
    given = parser.parse_args(arguments)
    if min(given.few, given.many, given.completions) <= 0:
        parser.error("every number must be positive")
    return given


def main(arguments: Sequence[str] | None = None) -> int:
    given = options(arguments)
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    measured = asyncio.run(run(given))
    print(json.dumps(measured, indent=2) if given.json else table(measured))
    return 0


if __name__ == "__main__":
    sys.exit(main())
