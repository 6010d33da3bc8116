"""Dead letters: what was given up on, with the reason, and how each is tried anew, once."""

import json
from collections.abc import AsyncIterator, Mapping
from dataclasses import asdict, dataclass, replace
from datetime import timedelta
from enum import StrEnum
from typing import Any, Final
from uuid import uuid4

from broker import keys, scripts
from broker.connection import Broker
from broker.request_log import RequestLog
from broker.request_record import RequestRecord
from broker.request_store import RequestStore
from protocol.commands import CommandReader, StartConfig
from protocol.names import HostKey
from protocol.requests import ProfileRequest

REMEMBERED_FOR: Final = timedelta(days=7)
PAGE: Final = 500


class Kind(StrEnum):
    """What was given up on."""

    DOORBELL = "doorbell"  # a host that could not be compacted
    COMMAND = "command"  # a command that an agent took again and again and never acked
    NOTIFICATION = "notification"  # what a webhook did not take


@dataclass(frozen=True, slots=True)
class LetterId:
    """Where a letter is: its partition and its entry there."""

    partition: int
    entry_id: str

    @classmethod
    def read(cls, text: str) -> "LetterId":
        """Read what `str` wrote.

        Raises:
            ValueError: the text is no such id.
        """
        partition, _, entry_id = text.partition("-")
        return cls(int(partition), entry_id)

    @classmethod
    def at(cls, partition: int, moment: int, number: int) -> "LetterId":
        """Put together what `numbers` took apart."""
        return cls(partition, f"{moment}-{number}")

    @property
    def numbers(self) -> tuple[int, int, int]:
        """Its partition, and its entry's moment (ms) and number: they sort as the stream does, a text does not."""
        moment, _, number = self.entry_id.partition("-")
        return self.partition, int(moment), int(number)

    def __str__(self) -> str:
        return f"{self.partition}-{self.entry_id}"


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """One letter. `at` is in ms; `path` is the host as the entry named it, which may be no host at all."""

    letter_id: LetterId
    kind: Kind
    path: str
    reason: str
    attempts: int
    at: int
    command_id: str = ""
    request_ids: tuple[str, ...] = ()
    command: str = ""

    @property
    def host(self) -> HostKey | None:
        """The host it is about; None where the entry named none."""
        return host_of(self.path)


@dataclass(frozen=True, slots=True)
class Replay:
    """What a replay did: a doorbell was rung, or a request was made. Kept, so that it is done once."""

    kind: Kind
    path: str
    request_id: str = ""
    command_id: str = ""
    accepted_at: float = 0.0

    @property
    def host(self) -> HostKey | None:
        """The host it is about."""
        return host_of(self.path)


def host_of(path: str) -> HostKey | None:
    """The host that a path names, if it names one."""
    try:
        return HostKey.from_path(path)
    except ValueError:
        return None


class DeadLetters:
    """The letters of all partitions."""

    def __init__(self, broker: Broker, store: RequestStore, log: RequestLog) -> None:
        self._broker = broker
        self._store = store
        self._log = log

    async def all_of(self, *, after: LetterId | None = None) -> AsyncIterator[DeadLetter]:
        """Every letter behind `after`, by partition and age.

        Raises:
            BrokerUnavailable: the server cannot be reached.
        """
        first = after.partition if after else 0
        for partition in range(first, self._broker.partitions):
            last = after.entry_id if after and partition == first else "0-0"
            while True:
                async with self._broker.guarded() as redis:
                    entries = await redis.xrange(keys.dead_letters(partition), f"({last}", "+", count=PAGE)
                for entry_id, fields in entries:
                    yield _letter(LetterId(partition, entry_id), fields)
                if len(entries) < PAGE:
                    break
                last = entries[-1][0]

    async def get(self, letter_id: LetterId) -> DeadLetter | None:
        """One letter, unless it was replayed or never was.

        Raises:
            BrokerUnavailable: the server cannot be reached.
        """
        if letter_id.partition >= self._broker.partitions:
            return None
        async with self._broker.guarded() as redis:
            stream = keys.dead_letters(letter_id.partition)
            entries = await redis.xrange(stream, letter_id.entry_id, letter_id.entry_id)
        return _letter(letter_id, entries[0][1]) if entries else None

    async def replayed(self, letter_id: LetterId) -> Replay | None:
        """What a replay of this letter did within the last seven days.

        Raises:
            BrokerUnavailable: the server cannot be reached.
        """
        async with self._broker.guarded() as redis:
            text: str | None = await redis.get(keys.replayed(letter_id.partition, letter_id.entry_id))
        return _replay(text) if text else None

    async def replay(self, letter: DeadLetter, *, by: str, now: float) -> Replay | None:
        """Try it anew: ring for the host, make a new request with the command's wish, send the notification.

        Repeating it, also after a crash in between, does nothing twice and gives what the first call gave.

        Args:
            letter: the letter.
            by: who submits the new request: the id of a token.
            now: seconds since the epoch.

        Returns:
            What was done, or None when somebody else's replay was forgotten already.

        Raises:
            BrokerUnavailable: the server cannot be reached; may be repeated.
        """
        if letter.kind is Kind.DOORBELL:
            return await self._remember(letter, Replay(Kind.DOORBELL, letter.path), "ring")
        if letter.kind is Kind.NOTIFICATION:
            done = await self._remember(letter, Replay(Kind.NOTIFICATION, letter.path), "claim")
            if done is not None and await self.get(letter.letter_id) is not None:
                await self._send_again(letter)
                await self._remember(letter, done, "done")
            return done
        fresh = Replay(Kind.COMMAND, letter.path, str(uuid4()), str(uuid4()), now)
        claimed = await self._remember(letter, fresh, "claim")
        if claimed is not None and await self.get(letter.letter_id) is not None:
            await self._submit(letter, claimed, by=by)
            # Last: a crash before this leaves the letter, and whoever replays it again goes on with the same request.
            await self._remember(letter, claimed, "done")
        return claimed

    async def _send_again(self, letter: DeadLetter) -> None:
        lost = json.loads(letter.command)
        async with self._broker.guarded() as redis, redis.pipeline(transaction=False) as pipe:
            pipe.xadd(keys.outbox(lost["hook"]), {"notification": lost["notification"]})
            pipe.expire(keys.outbox(lost["hook"]), int(REMEMBERED_FOR.total_seconds()))
            await pipe.execute()

    async def _remember(self, letter: DeadLetter, replay: Replay, how: str) -> Replay | None:
        call = scripts.replay(
            letter.letter_id.partition, letter.letter_id.entry_id, how=how, remember=json.dumps(asdict(replay)),
            ttl_s=int(REMEMBERED_FOR.total_seconds()),
        )  # fmt: skip
        text = await self._broker.run(call)
        return _replay(text) if text else None

    async def _submit(self, letter: DeadLetter, replay: Replay, *, by: str) -> None:
        host = HostKey.from_path(letter.path)
        asked, excluded = wish_of(letter.command, host)
        record = RequestRecord(
            replay.request_id, replay.command_id, host.tenant, by, replay.accepted_at, asked, {host.host: asked.pids}
        )
        await self._store.put(record)
        wishes = {key: replace(wish, exclude_pids=excluded) for key, wish in record.wishes().items()}
        await self._log.append(wishes)
        await self._store.note_appended(record.request_id, len(wishes))


def lost_notification(hook: str, notification: str) -> str:
    """What the letter of a notification keeps, to be sent again."""
    return json.dumps({"hook": hook, "notification": notification})


def wish_of(command: str, host: HostKey) -> tuple[ProfileRequest, frozenset[int]]:
    """What a command, as it was offered to its host, asks for; and the pids that it leaves out.

    It is a fold of requests and may be larger than one may be, so it is not held against a request's bounds.
    """
    told = CommandReader.validate_json(command)
    config = told.combined_config
    given: dict[str, Any] = {
        "service_name": host.service,
        "target_hostnames": [host.host],
        "command_type": told.command_type,
    }
    if not isinstance(config, StartConfig):
        return ProfileRequest.model_construct(**given, stop_level=config.stop_level, pids=config.pids), frozenset()
    asked = ProfileRequest.model_construct(
        **given, duration=config.duration, frequency=config.frequency, continuous=config.continuous,
        profiling_mode=config.profiling_mode, pids=config.pids, additional_args=dict(config.model_extra or {}),
    )  # fmt: skip
    return asked, frozenset(config.exclude_pids or ())


def _letter(letter_id: LetterId, fields: Mapping[str, str]) -> DeadLetter:
    return DeadLetter(
        letter_id,
        Kind(fields.get("kind", Kind.DOORBELL)),
        fields.get("host", ""),
        fields["reason"],
        int(fields.get("attempts") or fields.get("deliveries") or 0),
        int(fields["at"]),
        fields.get("command_id", ""),
        tuple(fields.get("request_ids", "").split()),
        fields.get("command", ""),
    )


def _replay(text: str) -> Replay:
    facts = json.loads(text)
    return Replay(**{**facts, "kind": Kind(facts["kind"])})
