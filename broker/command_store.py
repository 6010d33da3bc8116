"""The effective command of each host: delivered and completed by the API, loaded and settled by the merger."""

from collections.abc import Mapping, Sequence

import structlog

from broker import codec, keys, scripts
from broker.codec import Decision, Loaded
from broker.connection import Broker
from broker.keys import Place
from broker.request_store import KEPT_FOR
from broker.scripts import Beat, Delivered, Idle, Recorded
from protocol.completions import Completion
from protocol.names import HostKey

log = structlog.get_logger(__name__)


class CommandStore:
    """The commands of the fleet."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker

    async def exchange(self, heard: Beat, *, now: float) -> Idle | Delivered:
        """One heartbeat, in one atomic step. `now` is in seconds since the epoch.

        Raises:
            BrokerUnavailable: the server cannot be reached.
        """
        at = self._broker.place(heard.host)
        return scripts.read_beat(await self._broker.run(scripts.beat(at, heard, now=codec.ms(now))))

    async def complete(self, host: HostKey, completion: Completion, *, now: float) -> Recorded:
        """Record how a command ended on a host. `now` is in seconds since the epoch.

        Raises:
            BrokerUnavailable: the server cannot be reached.
        """
        call = scripts.complete(
            self._broker.place(host), host, command_id=completion.command_id, outcome=completion.status,
            only_started=completion.only_says_started, facts=_facts(completion), now=codec.ms(now),
        )  # fmt: skip
        return Recorded(await self._broker.run(call))

    async def load_all(self, places: Sequence[Place]) -> dict[Place, Loaded]:
        """What compaction needs of these hosts, in their order. One that cannot be read is logged and left out.

        Raises:
            BrokerUnavailable: the server cannot be reached.
        """
        answers = await self._broker.run_all([scripts.load(at) for at in places])
        loaded = {}
        for at, answer in zip(places, answers, strict=True):
            if isinstance(answer, Exception):
                log.error("host cannot be read", host=at.path, error=str(answer))
            else:
                loaded[at] = scripts.read_load(answer)
        return loaded

    async def settle_all(self, decisions: Mapping[Place, tuple[Loaded, Decision]], *, now: float) -> dict[Place, bool]:
        """Store decisions; False for a host that has changed since it was loaded, or whose script failed (logged).

        Raises:
            BrokerUnavailable: the server cannot be reached; each may or may not be stored, and may be repeated.
        """
        await self._tell_owners(decisions)
        calls = [
            scripts.settle(at, at.host_key, revision=loaded.revision, decision=decision, now=codec.ms(now))
            for at, (loaded, decision) in decisions.items()
        ]
        answers = await self._broker.run_all(calls)
        stored = {}
        for at, answer in zip(decisions, answers, strict=True):
            if isinstance(answer, Exception):
                log.error("decision cannot be stored", host=at.path, error=str(answer))
            stored[at] = answer == "stored"
        return stored

    async def _tell_owners(self, decisions: Mapping[Place, tuple[Loaded, Decision]]) -> None:
        """Before a derived command id can be handed out, say whose it is, as is said of every request's own."""
        for at, (_, decision) in decisions.items():
            if decision.derived_id is not None:
                owner = at.host_key._replace(host="").path
                async with self._broker.guarded() as redis:
                    await redis.set(keys.command_owner(decision.derived_id), owner, ex=int(KEPT_FOR.total_seconds()))


def _facts(completion: Completion) -> dict[str, str]:
    """What a completion adds to the record, absent parts left out."""
    facts = {
        "execution_time": completion.execution_time,
        "samples": completion.samples,
        "results_path": completion.results_path,
        "reason": completion.error_message,
        "started_at": completion.started_at and completion.started_at.isoformat(),
        "finished_at": completion.finished_at and completion.finished_at.isoformat(),
    }
    return {name: str(value) for name, value in facts.items() if value is not None}
