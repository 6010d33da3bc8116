"""Heartbeats on their way to the broker: those that come together are one script call, on a cluster one a partition.

What is to be remembered of a host goes along only where the broker asks for it: it keeps a digest, and asks where that
is another one, as for a new host, or after it lost its data.
"""

import asyncio
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Final, NamedTuple, TypeAlias

from redis.exceptions import ResponseError

from broker import scripts
from broker.codec import ms
from broker.connection import Broker
from broker.keys import Place
from broker.scripts import Beat, Heard, Outcome, Tell
from protocol.names import HostKey

SENT_AT_ONCE: Final = 16
"""So many do not wait for the end of the event loop's turn: the server works on them while the process reads on."""
BEATS_PER_CALL: Final = 32
"""While a script runs the server does nothing else; this many take it one and a half milliseconds."""
CALLS_UNDER_WAY: Final = 4
"""To one server, or of one partition of a cluster. Without others the server would wait while the answers to the first
are read and given to agents; with more of them each has fewer beats, and costs as much."""
_ALL: Final = -1
REMEMBERED_HOSTS: Final = 131_072
"""Hosts of which a process knows place and digest; some 300 bytes each. Of others it works them out at each beat."""


Answered: TypeAlias = Callable[[Outcome | Exception], None]
"""Takes what became of a heartbeat, or `BrokerUnavailable` in its place. Never raises, and is called once."""


class Heeded(NamedTuple):
    """Where a host is kept, and the digest of its facts; by a hash of them for this process."""

    at: Place
    facts: int
    digest: str


class Asked(NamedTuple):
    """A heartbeat that waits to be sent, and who waits for its answer."""

    heard: Heard
    now: float
    answered: Answered


class Exchange:
    """Takes heartbeats one by one, and sends them together. Of one event loop."""

    def __init__(self, broker: Broker) -> None:
        self._broker = broker
        self._is_cluster = broker.is_cluster
        # By partition, or under one number where a call may have hosts of all.
        self._waiting: dict[int, list[Asked]] = {}
        self._under_way: dict[int, int] = {}
        self._is_called = False
        # Two generations: when the younger is full it becomes the older, and what that has is forgotten.
        self._known: dict[HostKey, Heeded] = {}
        self._known_before: dict[HostKey, Heeded] = {}

    def send(self, beat: Beat, *, now: float, answered: Answered) -> None:
        """Send a heartbeat with the next call; `answered` hears what became of it. `now` is in seconds since the epoch.

        Where it hears that the server cannot be reached, the beat may or may not have been taken.
        """
        self._add(Asked(self._heard(beat), now, answered))

    def ask(self, beat: Beat, *, now: float) -> "asyncio.Future[Outcome]":
        """Send a heartbeat with the next call. `now` is in seconds since the epoch.

        Who waits may be cancelled: the beat is sent all the same, and nobody else's answer changes.

        Raises (from the future):
            BrokerUnavailable: the server cannot be reached; the beat may or may not have been taken.
        """
        answer: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        self.send(beat, now=now, answered=partial(_settle, answer))
        return answer

    def _heard(self, beat: Beat) -> Heard:
        facts = hash(tuple(beat.facts.items()))
        known = self._known.get(beat.host) or self._known_before.get(beat.host)
        if known is None or known.facts != facts:
            at = known.at if known is not None else self._broker.place(beat.host)
            known = self._known[beat.host] = Heeded(at, facts, scripts.digest_of(beat.facts))
            if len(self._known) > REMEMBERED_HOSTS // 2:
                self._known, self._known_before = {}, self._known
        return Heard(known.at, beat, known.digest, with_facts=False)

    def _add(self, asked: Asked) -> None:
        together = asked.heard.at.partition if self._is_cluster else _ALL
        waiting = self._waiting.setdefault(together, [])
        waiting.append(asked)
        if len(waiting) == SENT_AT_ONCE:
            self._flush()
        else:
            self._flush_soon()

    def _flush_soon(self) -> None:
        if not self._is_called:
            self._is_called = True
            asyncio.get_running_loop().call_soon(self._flush)

    def _flush(self) -> None:
        """A call for what may go together and waits. Where calls enough are under way, more is gathered."""
        self._is_called = False
        calls = []
        for together, waiting in list(self._waiting.items()):
            at = 0
            while at < len(waiting) and self._under_way.get(together, 0) < CALLS_UNDER_WAY:
                going = waiting[at : at + BEATS_PER_CALL]
                at += len(going)
                self._under_way[together] = self._under_way.get(together, 0) + 1
                now = ms(max(asked.now for asked in going))
                call = scripts.beat([asked.heard for asked in going], now=now)
                calls.append((call, partial(self._answered, together, going)))
            if at < len(waiting):
                self._waiting[together] = waiting[at:]
            else:
                del self._waiting[together]
        if calls:
            self._broker.lines.send(calls)

    def _answered(self, together: int, asked: Sequence[Asked], answers: Any) -> None:
        self._under_way[together] -= 1
        each = [answers] * len(asked) if isinstance(answers, Exception) else answers
        for one, answer in zip(asked, each, strict=True):
            self._tell(one, answer)
        if together in self._waiting:
            self._flush_soon()

    def _tell(self, asked: Asked, answer: Any) -> None:
        try:
            outcome = answer if isinstance(answer, Exception) else scripts.read_beat(answer)
        except ValueError as error:
            outcome = ResponseError(str(error))
        if isinstance(outcome, Tell):  # asked for only where they were not sent, so this ends
            self._add(asked._replace(heard=asked.heard._replace(with_facts=True)))
        else:
            asked.answered(outcome)


def _settle(answer: "asyncio.Future[Outcome]", outcome: Outcome | Exception) -> None:
    if answer.done():
        return  # nobody waits any more
    if isinstance(outcome, Exception):
        answer.set_exception(outcome)
    else:
        answer.set_result(outcome)
