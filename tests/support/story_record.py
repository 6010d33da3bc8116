"""What the server has told of each request and each command, read as it is told, and held to the laws of the record."""

from collections import defaultdict
from collections.abc import Mapping
from typing import Final

from broker import keys
from broker.connection import Broker
from broker.effective import OpenRequest
from broker.keys import Place
from broker.streams import Entry
from protocol.lifecycle import NEXT, OPEN, OUTCOMES, State

STEPS: Final = frozenset(
    {
        *((state, after) for (state, _), after in NEXT.items()),
        *((state, State.PENDING) for state in OPEN),  # it goes on in a newer command
        *((state, into) for state in (State.SUBMITTED, State.QUEUED) for into in OPEN),  # it joins one that is on
        (State.SUBMITTED, State.COMPLETED),  # a stop of what nobody profiles
    }
)
"""How a request may step: as the table has it for a command, and from one command into another."""


class StoryRecord:
    """The results of all partitions as far as they were read, and what is stored beside them."""

    def __init__(self, broker: Broker, places: list[Place]) -> None:
        self.told: dict[tuple[str, str], list[State]] = defaultdict(list)
        """(path, request id) -> the states told of it, in order."""
        self.reasons: dict[tuple[str, str], str] = {}
        self.outcomes: dict[tuple[str, str], State] = {}
        """(path, command id) -> how the command itself ended, as the host's history has it."""
        self.open: dict[str, set[str]] = {}
        self.commands: dict[str, dict[str, str]] = {}
        self.waiting: dict[str, bool] = {}
        """Whether something of the host is still to be taken up."""
        self.deadlines: dict[str, float] = {}
        self.entries: list[Entry] = []
        self._broker = broker
        self._places = places
        self._pending: set[tuple[str, str, str]] = set()
        self._generations: dict[str, int] = defaultdict(int)
        self._read_to = dict.fromkeys(range(broker.partitions), "-")

    async def read(self, wishes: Mapping[str, OpenRequest], targets: Mapping[str, set[str]]) -> None:
        """Read what is new, and check it."""
        partitions = range(self._broker.partitions)
        async with self._broker.guarded() as redis, redis.pipeline(transaction=False) as pipe:
            for partition in partitions:
                pipe.xrange(keys.results(partition), self._read_to[partition], "+")
                pipe.xrange(keys.doorbell(partition))
                pipe.zrange(keys.deadlines(partition), 0, -1, withscores=True)
            for at in self._places:
                pipe.hkeys(keys.open_requests(at))
                pipe.xrange(keys.requests(at))
                pipe.hgetall(keys.command(at))
                pipe.xrange(keys.history(at))
            rows = iter(await pipe.execute())
        rung: set[str] = set()
        self.deadlines = {}
        for partition in partitions:
            for entry_id, fields in next(rows):
                self._read_to[partition] = f"({entry_id}"
                self.entries.append(Entry(keys.results(partition), entry_id, fields))
                self._hear(fields)
            rung |= {path for _, fields in next(rows) for path in fields["hosts"].split()}
            self.deadlines |= dict(next(rows))
        for at in self._places:
            self.open[at.path] = set(next(rows))
            new = [fields for _, fields in next(rows)]
            command = next(rows)
            history = [fields for _, fields in next(rows)]
            self.waiting[at.path] = bool(new) or at.path in rung
            self._check_command(at.path, command, history)
            self._check_nothing_is_forgotten(at, new, wishes, targets)

    def _hear(self, fields: Mapping[str, str]) -> None:
        if fields["state"] == "late_completion":
            return
        path = f"{fields['tenant']}/{fields['service']}/{fields['hostname']}"
        state = State(fields["state"])
        for request_id in fields["request_ids"].split():
            told = self.told[path, request_id]
            if told:
                assert told[-1] not in OUTCOMES, f"{request_id} ended twice: {told} {state}"
                assert (told[-1], state) in STEPS, f"{request_id}: {told} {state} {fields.get('reason')}"
            else:
                assert state is State.SUBMITTED, f"{request_id} was told of before it was submitted"
            told.append(state)
            if state is State.PENDING:
                step = (path, request_id, fields["generation"])
                assert step not in self._pending, f"{request_id} was put into generation {step[2]} twice"
                self._pending.add(step)

    def _check_command(self, path: str, command: dict[str, str], history: list[dict[str, str]]) -> None:
        generation = int(command.get("generation", 0))
        assert generation >= self._generations[path], "a generation fell"
        self._generations[path] = generation
        self.commands[path] = command
        generations = [int(past["generation"]) for past in history]
        assert generations == sorted(set(generations)), f"a command ended twice: {history}"
        self.outcomes |= {(path, past["command_id"]): State(past["outcome"]) for past in history}

    def _check_nothing_is_forgotten(
        self, at: Place, new: list[dict[str, str]], wishes: Mapping[str, OpenRequest], targets: Mapping[str, set[str]]
    ) -> None:
        arrived = " ".join(fields.get("request", "") for fields in new)
        for request_id in wishes:
            if at.path not in targets[request_id]:
                continue
            is_open = request_id in self.open[at.path] or f'"{request_id}"' in arrived
            assert is_open != self.has_ended(at.path, request_id), (
                f"{request_id} is open {is_open}, and not ended or both"
            )

    def has_ended(self, path: str, request_id: str) -> bool:
        """Whether an outcome was told."""
        told = self.told.get((path, request_id), [])
        return bool(told) and told[-1] in OUTCOMES

    def has_applied(self, path: str, stop_id: str) -> bool:
        """Whether compaction has taken a stop up, before anything ended it."""
        told = self.told.get((path, stop_id), [])
        return len(told) > 1 and told[1] not in OUTCOMES - {State.COMPLETED}

    def shown(self) -> dict[str, dict[str, str]]:
        """Request id -> path -> state: what the projector must come to show."""
        states: dict[str, dict[str, str]] = defaultdict(dict)
        for (path, request_id), told in self.told.items():
            states[request_id][path] = told[-1].value
        return states
