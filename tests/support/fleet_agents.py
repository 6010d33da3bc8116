"""Simulated agents of many hosts in one process that can be killed: `python -m tests.support.fleet_agents`.

They speak the protocol over HTTP as the real one does: ledger before acting, ack, running, completion until it is
taken, a settled command that is offered again is reported again, what a crash interrupted is reported as failed. They
profile nothing: a run is a pause of 0.2 to 1 s. The token is in GPROFILER_TOKEN.
"""

import argparse
import asyncio
import contextlib
import os
import random
import signal
import time
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final

import httpx

from protocol.heartbeats import RUNNING
from tests.support.fleet_journal import Held, Journal, ledgers

LONGEST_RUN: Final = 1.0
MAY_PASS: Final = (401, 403, 408, 429)


class Agent:
    """One host's agent."""

    def __init__(
        self, host: str, service: str, ledger: dict[str, Held], journal: Journal, api: httpx.AsyncClient
    ) -> None:
        self._host = host
        self._service = service
        self._ledger = ledger
        self._journal = journal
        self._api = api
        self._dice = random.Random(host)
        self._changed = asyncio.Event()
        self._ended = asyncio.Event()
        self._begun: str | None = None
        self._run: asyncio.Task[None] | None = None
        self._stopped = asyncio.Event()
        self._pids: set[int] | None = None

    async def live(self) -> None:
        """Take up what an earlier life left, then beat and report until the process dies."""
        for held in self._ledger.values():
            if held.stage in {"received", "begun"}:
                self._note_end(held, "failed" if held.kind == "start" else "completed")
        async with asyncio.TaskGroup() as group:
            group.create_task(self._report())
            while True:
                await self._beat(group)

    # --- heartbeats ---

    async def _beat(self, group: asyncio.TaskGroup) -> None:
        self._changed.clear()
        unacked = [held for held in self._ledger.values() if not held.is_acked]
        last = next(reversed(self._ledger), None)
        body = {
            "ip_address": "127.0.0.1", "hostname": self._host, "service_name": self._service,
            "status": RUNNING if last is not None and self._begun == last else "active", "last_command_id": last,
            "received_command_ids": [held.command_id for held in unacked],
            "executed_command_ids": [held.command_id for held in unacked if held.kind == "stop"],
        }  # fmt: skip
        wait = 0 if unacked and self._dice.random() < 0.7 else self._dice.randint(1, 4)
        sent_at = time.time()
        call = asyncio.create_task(
            self._api.post(
                "/api/metrics/heartbeat", json=body, headers={"Prefer": f"wait={wait}"}, timeout=httpx.Timeout(wait + 5)
            )
        )
        news = asyncio.create_task(self._changed.wait())
        await asyncio.wait({call, news}, return_when=asyncio.FIRST_COMPLETED)
        news.cancel()
        if not call.done():
            call.cancel()  # there is something to say at once: the held call is let go
            with contextlib.suppress(asyncio.CancelledError, httpx.HTTPError):
                await call
            return
        try:
            answer = call.result()
        except httpx.HTTPError:
            answer = None
        if answer is None or answer.status_code != HTTPStatus.OK:
            if answer is not None and answer.status_code != HTTPStatus.SERVICE_UNAVAILABLE:
                self._journal.write(self._host, "refused", code=answer.status_code, said=answer.text[:500])
            await asyncio.sleep(self._dice.uniform(0.2, 0.6))
            return
        for held in unacked:
            held.is_acked = True
            self._journal.write(self._host, "acked", held.command_id)
        reply = answer.json()
        if reply["command_id"] is not None:
            await self._obey(reply["command_id"], reply["profiling_command"], sent_at, group)
        elif wait == 0:
            await asyncio.sleep(0.05)

    async def _obey(self, command_id: str, command: dict[str, Any], sent_at: float, group: asyncio.TaskGroup) -> None:
        self._journal.write(self._host, "offered", command_id, sent_at=sent_at)
        known = self._ledger.get(command_id)
        if known is not None:
            known.is_acked = False
            if known.stage == "settled":
                known.stage = "finished"
                self._ended.set()
            await asyncio.sleep(0.1)
            return
        kind = command["command_type"]
        self._journal.write(self._host, "received", command_id, kind=kind)  # first of all: the ledger
        held = self._ledger[command_id] = Held(command_id, kind)
        config = command["combined_config"]
        if kind == "stop":
            self._journal.write(self._host, "begun", command_id)
            if config["stop_level"] == "host" or self._is_left_nothing(set(config["pids"])):
                await self._end_run()
            self._note_end(held, "completed")
        else:
            await self._end_run()
            self._pids = set(config["pids"]) if config.get("pids") else None
            self._run = group.create_task(self._profile(held, float(config["duration"])))
        self._changed.set()

    def _is_left_nothing(self, stopped: set[int]) -> bool:
        if self._pids is None:
            return False
        self._pids -= stopped
        return not self._pids

    # --- runs ---

    async def _profile(self, held: Held, duration: float) -> None:
        self._stopped.clear()
        await asyncio.sleep(self._dice.uniform(0, 0.05))
        self._journal.write(self._host, "begun", held.command_id)
        held.stage = "begun"
        self._begun = held.command_id
        self._changed.set()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._dice.uniform(0.2, min(duration, LONGEST_RUN))):
                await self._stopped.wait()
        self._begun = None
        self._note_end(held, "failed" if self._dice.random() < 0.05 else "completed")

    async def _end_run(self) -> None:
        if self._run is not None:
            self._stopped.set()
            await self._run
            self._run = None

    def _note_end(self, held: Held, status: str) -> None:
        self._journal.write(self._host, "finished", held.command_id, status=status)
        held.stage, held.status = "finished", status
        self._ended.set()

    # --- completions ---

    async def _report(self) -> None:
        while True:
            await self._ended.wait()
            self._ended.clear()
            for held in [held for held in self._ledger.values() if held.stage == "finished"]:
                if held.kind == "stop":
                    continue  # the heartbeat says so
                if not await self._is_taken(held):
                    self._ended.set()
                    await asyncio.sleep(self._dice.uniform(0.2, 0.6))

    async def _is_taken(self, held: Held) -> bool:
        body = {
            "command_id": held.command_id, "hostname": self._host, "service_name": self._service,
            "status": held.status, "execution_time": 0.5, "samples": 1,
        }  # fmt: skip
        try:
            answer = await self._api.post("/api/metrics/command_completion", json=body, timeout=8)
        except httpx.HTTPError:
            return False
        if answer.status_code >= HTTPStatus.INTERNAL_SERVER_ERROR or answer.status_code in MAY_PASS:
            return False
        self._journal.write(self._host, "settled", held.command_id, code=answer.status_code)
        held.stage = "settled"
        return True


async def _live(given: argparse.Namespace) -> None:
    journal, known = Journal(given.journal), ledgers(given.journal)
    headers = {"Authorization": f"Bearer {os.environ['GPROFILER_TOKEN']}"}
    limits = httpx.Limits(max_connections=None)
    async with (
        httpx.AsyncClient(base_url=given.url, headers=headers, limits=limits, trust_env=False, verify=False) as api,
        asyncio.TaskGroup() as group,
    ):
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, os._exit, 0)  # a crash, told politely
        journal.write("", "up")
        for host in given.hosts:
            group.create_task(Agent(host, given.service, known.get(host, {}), journal, api).live())


def main() -> None:
    """Beat for the hosts until the process dies."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--url", required=True)
    parser.add_argument("--service", required=True)
    parser.add_argument("--journal", required=True, type=Path)
    parser.add_argument("hosts", nargs="+")
    asyncio.run(_live(parser.parse_args()))


if __name__ == "__main__":
    main()
