"""What the agent knows of the commands it was given: a fold over the ledger's records. Pure."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import IntEnum
from types import MappingProxyType
from typing import Annotated, Final, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, TypeAdapter

from protocol.commands import StartConfig
from protocol.completions import Completion
from protocol.heartbeats import MAX_IDS, CommandId

Kind = Literal["start", "stop", "unreadable"]


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")

    command_id: CommandId


class Received(_Record):
    """Written before anything is done about the command."""

    event: Literal["received"] = "received"
    kind: Kind
    at: AwareDatetime
    awaits: StartConfig | None = None
    """What to do at its `start_at`: a restart before that does not end the wait."""


class Started(_Record):
    """The run has really begun."""

    event: Literal["started"] = "started"
    at: AwareDatetime


class Finished(_Record):
    """The command has ended; the server is still to be told."""

    event: Literal["finished"] = "finished"
    completion: Completion


class Settled(_Record):
    """Nothing is left to do: the server took the completion, or refused it for good, and `dropped` says why."""

    event: Literal["settled"] = "settled"
    dropped: str | None = None


Record = Annotated[Received | Started | Finished | Settled, Field(discriminator="event")]
RecordReader: Final[TypeAdapter[Received | Started | Finished | Settled]] = TypeAdapter(Record)


class Stage(IntEnum):
    """How far a command has come on this host. It only grows."""

    RECEIVED = 1
    STARTED = 2
    FINISHED = 3
    SETTLED = 4


@dataclass(frozen=True)
class Held:
    """One command of the ledger. `completion` is there from `FINISHED` on, `awaits` until it has begun."""

    command_id: str
    kind: Kind
    stage: Stage
    completion: Completion | None = None
    awaits: StartConfig | None = None

    def still_awaits(self, now: datetime) -> bool:
        """Whether its moment has not come, so that it cannot have begun."""
        moment = self.awaits.start_at if self.awaits is not None else None
        return self.stage is Stage.RECEIVED and moment is not None and moment > now


@dataclass(frozen=True)
class History:
    """Every command the ledger holds, oldest first."""

    commands: Mapping[str, Held] = field(default_factory=lambda: MappingProxyType({}))

    @classmethod
    def of(cls, records: Iterable[Record], *, limit: int = MAX_IDS) -> "History":
        """Fold records, in the order they were written, and keep the newest `limit` commands."""
        commands: dict[str, Held] = {}
        for record in records:
            commands[record.command_id] = _advance(commands.get(record.command_id), record)
        return cls(MappingProxyType(commands)).trimmed(limit)

    def having(self, record: Record, *, limit: int = MAX_IDS) -> "History":
        """This history and one more record."""
        held = _advance(self.commands.get(record.command_id), record)
        return History(MappingProxyType({**self.commands, record.command_id: held})).trimmed(limit)

    def trimmed(self, limit: int) -> "History":
        """The newest `limit` commands; what is settled goes before what the server is still to be told of."""
        excess = len(self.commands) - limit
        if excess <= 0:
            return self
        settled_first = sorted(self.commands.values(), key=lambda held: held.stage is not Stage.SETTLED)
        dropped = {held.command_id for held in settled_first[:excess]}
        return History(
            MappingProxyType({key: held for key, held in self.commands.items() if key not in dropped}),
        )

    def __contains__(self, command_id: object) -> bool:
        return command_id in self.commands

    def __iter__(self) -> Iterator[Held]:
        return iter(self.commands.values())

    def get(self, command_id: str) -> Held | None:
        """The command, if the ledger holds it."""
        return self.commands.get(command_id)

    @property
    def last_command_id(self) -> str | None:
        """The newest command held; a stop counts once it has been carried out."""
        newest_first: list[Held] = [*self][::-1]
        for held in newest_first:
            if held.kind != "stop" or held.stage >= Stage.FINISHED:
                return held.command_id
        return None

    def unfinished(self) -> list[Held]:
        """What was begun, or may have been, and has no end on record."""
        return [held for held in self if held.stage < Stage.FINISHED]

    def records(self, *, at: AwareDatetime) -> list[Record]:
        """The fewest records that fold into this history: what a compacted ledger holds."""
        return [record for held in self for record in _records_of(held, at)]


def _advance(held: Held | None, record: Record) -> Held:
    """The command after one more record. A record whose forerunner is lost still says that the command is known."""
    before = held or Held(command_id=record.command_id, kind="start", stage=Stage.RECEIVED)
    match record:
        case Received():
            return before if held else replace(before, kind=record.kind, awaits=record.awaits)
        case Started():
            return replace(before, stage=max(before.stage, Stage.STARTED), awaits=None)
        case Finished():
            first = before.completion is None
            completion = record.completion if first else before.completion
            return replace(before, stage=max(before.stage, Stage.FINISHED), completion=completion, awaits=None)
        case Settled():
            return replace(before, stage=Stage.SETTLED)


def _records_of(held: Held, at: AwareDatetime) -> Iterator[Record]:
    yield Received(command_id=held.command_id, kind=held.kind, at=at, awaits=held.awaits)
    if held.stage is Stage.STARTED:
        yield Started(command_id=held.command_id, at=at)
    if held.completion is not None:
        yield Finished(command_id=held.command_id, completion=held.completion)
    if held.stage is Stage.SETTLED:
        yield Settled(command_id=held.command_id)
