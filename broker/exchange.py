"""Heartbeats on their way to the broker: those that come together are one script call for each partition.

What is to be remembered of a host goes along only where it is new: the broker keeps a digest of it, and asks for the
rest where that is another one, as after it lost its data, or another process was told something else meanwhile.
"""

import asyncio
from collections.abc import Sequence
from functools import partial
from typing import Any, Final, NamedTuple

from redis.exceptions import ResponseError

from broker import scripts
from broker.codec import ms
from broker.connection import Broker
from broker.keys import Place
from broker.scripts import Beat, Contested, Delivered, Heard, Idle, Tell
from protocol.names import HostKey

BEATS_PER_CALL: Final = 20
"""While a script runs the server does nothing else; this many take it less than a millisecond."""
REMEMBERED_HOSTS: Final = 131_072
"""Hosts of which a process knows what it has sent; some 300 bytes each. Of others it sends everything, always."""


class Sent(NamedTuple):
    """What the broker was told of a host last: a hash of the facts for this process, the digest for all."""

    at: Place
    facts: int
    digest: str


class Asked(NamedTuple):
    """A heartbeat that waits to be sent, and who waits for its answer."""

    heard: Heard
    now: float
    answer: "asyncio.Future[Idle | Delivered | Contested]"


class Exchange:
    """Takes heartbeats one by one, and sends them together. Of one event loop."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._waiting: dict[int, list[Asked]] = {}
        self._under_way: set[int] = set()
        self._is_called = False
        # Two generations: when the younger is full it becomes the older, and what that has is forgotten.
        self._sent: dict[HostKey, Sent] = {}
        self._sent_before: dict[HostKey, Sent] = {}

    def ask(self, beat: Beat, *, now: float) -> "asyncio.Future[Idle | Delivered | Contested]":
        """Send a heartbeat with the next call. `now` is in seconds since the epoch.

        Who waits may be cancelled: the beat is sent all the same, and nobody else's answer changes.

        Raises (from the future):
            BrokerUnavailable: the server cannot be reached; the beat may or may not have been taken.
        """
        answer: asyncio.Future[Idle | Delivered | Contested] = asyncio.get_running_loop().create_future()
        self._add(Asked(self._heard(beat), now, answer))
        return answer

    def _heard(self, beat: Beat) -> Heard:
        facts = hash(tuple(beat.facts.items()))
        sent = self._sent.get(beat.host) or self._sent_before.get(beat.host)
        if sent is not None and sent.facts == facts:
            return Heard(sent.at, beat, sent.digest, with_facts=False)
        at = sent.at if sent is not None else self._broker.place(beat.host)
        return Heard(at, beat, scripts.digest_of(beat.facts))

    def _add(self, asked: Asked) -> None:
        self._waiting.setdefault(asked.heard.at.partition, []).append(asked)
        if not self._is_called:
            self._is_called = True
            asyncio.get_running_loop().call_soon(self._flush)

    def _flush(self) -> None:
        """One call for each partition that has something to send. One that has a call under way gathers more."""
        self._is_called = False
        calls = []
        for partition in self._waiting.keys() - self._under_way:
            waiting = self._waiting.pop(partition)
            if len(waiting) > BEATS_PER_CALL:
                self._waiting[partition] = waiting[BEATS_PER_CALL:]
                waiting = waiting[:BEATS_PER_CALL]
            self._under_way.add(partition)
            now = ms(max(asked.now for asked in waiting))
            call = scripts.beat(partition, [asked.heard for asked in waiting], now=now)
            calls.append((call, partial(self._answered, partition, waiting)))
        self._broker.lines.send(calls)

    def _answered(self, partition: int, asked: Sequence[Asked], answers: Any) -> None:
        self._under_way.discard(partition)
        each = [answers] * len(asked) if isinstance(answers, Exception) else answers
        for one, answer in zip(asked, each, strict=True):
            self._tell(one, answer)
        if partition in self._waiting and not self._is_called:
            self._is_called = True
            asyncio.get_running_loop().call_soon(self._flush)

    def _tell(self, asked: Asked, answer: Any) -> None:
        try:
            outcome = answer if isinstance(answer, Exception) else scripts.read_beat(answer)
        except ValueError as error:
            outcome = ResponseError(str(error))
        if type(outcome) is Idle and not asked.heard.with_facts:  # nearly always
            if not asked.answer.done():
                asked.answer.set_result(outcome)
            return
        match outcome:
            case Tell():  # asked for only where they were not sent, so this ends
                self._add(asked._replace(heard=asked.heard._replace(with_facts=True)))
            case Exception():
                if not asked.answer.done():
                    asked.answer.set_exception(outcome)
            case _:
                if asked.heard.with_facts and not isinstance(outcome, Contested):
                    self._remember(asked.heard)
                if not asked.answer.done():
                    asked.answer.set_result(outcome)

    def _remember(self, heard: Heard) -> None:
        beat = heard.beat
        self._sent[beat.host] = Sent(heard.at, hash(tuple(beat.facts.items())), heard.digest)
        if len(self._sent) > REMEMBERED_HOSTS // 2:
            self._sent, self._sent_before = {}, self._sent
