"""The server's half of a story on a real server: operators ask and cancel, two mergers take up what they asked.

A merger's pass is taken apart: reading the doorbell, loading, storing and acking are steps of their own, others act in
between, and it may die after any of them.
"""

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any, Final, TypeVar

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from broker import keys
from broker.command_store import CommandStore
from broker.connection import Broker
from broker.effective import OpenRequest
from broker.keys import Place
from broker.request_log import RequestLog, Ring
from broker.request_store import RequestStore
from broker.results import Results
from broker.scripts import Settled
from broker.streams import Entry, GroupReader
from protocol.names import HostKey
from tests.support.builders import NOW, a_host
from tests.support.played_host import PlayedHost
from tests.support.story_agent import StoryAgent
from tests.support.story_record import StoryRecord
from tests.support.wishes import starts, stops
from workers.merger import decide

Given = TypeVar("Given")
HOSTS: Final = tuple(a_host(f"web-{number}") for number in range(3))
AT_ONCE: Final = timedelta(0)
MODES: Final = ("cpu", "cpu", "cpu", "wall")

which_host = st.integers(0, len(HOSTS) - 1)
some_hosts = st.sets(which_host, min_size=1)
coin = st.booleans()


@dataclass
class Scene:
    """The server of a story, and the loop on which it is spoken to. By number of partitions."""

    loop: asyncio.AbstractEventLoop
    brokers: dict[int, Broker]

    def do(self, work: Coroutine[Any, Any, Given]) -> Given:
        """Wait for it."""
        return self.loop.run_until_complete(work)


@dataclass
class Hand:
    """What a merger has in hand: entries, then what was loaded and decided, then what is done."""

    reader: GroupReader
    rings: list[Ring] = field(default_factory=list)
    settled: list[Settled] = field(default_factory=list)
    read_at: float = 0.0
    done: list[Place] = field(default_factory=list)


class ServerSideStory(RuleBasedStateMachine):
    """Two partitions or one, three hosts that wait for somebody to play them, and those who have them profiled."""

    def __init__(self, scene: Scene) -> None:
        super().__init__()
        self.scene = scene
        self.now = NOW
        self.wishes: dict[str, OpenRequest] = {}
        self.targets: dict[str, set[str]] = {}
        self.names = 0
        self.is_lawful = False
        """Whether the last look found nothing wrong."""

    @initialize(partitions=st.sampled_from([1, 2]), old=st.sets(which_host, max_size=1))
    def begin(self, partitions: int, old: set[int]) -> None:
        self.broker = self.scene.brokers[partitions]
        self.log, self.store = RequestLog(self.broker), CommandStore(self.broker)
        self.results, self.requests = Results(self.broker), RequestStore(self.broker)
        self.agents = [
            StoryAgent(PlayedHost(self.broker, key), is_old=number in old) for number, key in enumerate(HOSTS)
        ]
        self.places = [agent.host.at for agent in self.agents]
        self.record = StoryRecord(self.broker, self.places)
        self.projecting: list[Entry] = []
        self.scene.do(self._empty())
        self.mergers = [Hand(self._reader()) for _ in range(2)]
        self.projector = self.results.reader(consumer="projector")

    async def _empty(self) -> None:
        async with self.broker.guarded() as redis:
            await redis.flushall()
        for reader in (self.log.reader(), self.results.reader()):
            await reader.prepare()

    def _reader(self) -> GroupReader:
        self.names += 1
        return self.log.reader(f"merger-{self.names}")

    def _read(self, reader: GroupReader, key: Callable[[int], str], count: int) -> list[Entry]:
        """As `reader.read` does, but for the wait: a server notices only every 100 ms that a wait is over."""
        streams = {key(partition): ">" for partition in range(self.broker.partitions)}

        async def read() -> list[Entry]:
            async with self.broker.guarded() as redis:
                answer = await redis.xreadgroup(reader.group, reader.consumer, streams, count=count)
            return [Entry(stream, entry_id, fields) for stream, entries in answer for entry_id, fields in entries]

        return self.scene.do(read())

    # --- operators ---

    @rule(
        wish=starts(
            modes=MODES, expires_in=st.sampled_from([5.0, 900.0, 900.0]), waits=(None, None, None, None, 2.0, 100.0)
        ),
        hosts=some_hosts,
    )  # fmt: skip
    def submit_a_start(self, wish: OpenRequest, hosts: set[int]) -> None:
        self._submit(wish, hosts, lasts=wish.expires_at - NOW)

    @rule(wish=stops(), hosts=some_hosts)
    def submit_a_stop(self, wish: OpenRequest, hosts: set[int]) -> None:
        self._submit(wish, hosts, lasts=900.0)

    def _submit(self, wish: OpenRequest, hosts: set[int], *, lasts: float) -> None:
        number = len(self.wishes)
        starts_at = None if wish.not_before is None else self.now + (wish.not_before - NOW)
        wish = replace(
            wish, request_id=f"r{number}.", command_id=f"c{number}.", accepted_at=self.now, start_within=lasts,
            expires_at=(starts_at or self.now) + lasts, not_before=starts_at,
        )  # fmt: skip
        self.wishes[wish.request_id] = wish
        self.targets[wish.request_id] = {self.places[host].path for host in hosts}
        appended = self.scene.do(self.log.append({HOSTS[host]: wish for host in sorted(hosts)}))
        assert appended == len(hosts)

    @precondition(lambda self: self.wishes)
    @rule(which=st.integers(0, 5))
    def the_last_call_is_repeated(self, which: int) -> None:
        """Its answer was lost."""
        wish = self._some_wish(which)
        assert self.scene.do(self.log.append(dict.fromkeys(self._hosts_of(wish), wish))) == 0

    @precondition(lambda self: self.wishes)
    @rule(which=st.integers(0, 5))
    def cancel_a_request(self, which: int) -> None:
        wish = self._some_wish(which)
        self.scene.do(self.log.cancel(wish.request_id, self._hosts_of(wish), reason="cancelled by test"))

    def _some_wish(self, which: int) -> OpenRequest:
        newest_first = list(reversed(self.wishes.values()))
        return newest_first[which % len(newest_first)]

    def _hosts_of(self, wish: OpenRequest) -> list[HostKey]:
        return sorted(HostKey.from_path(path) for path in self.targets[wish.request_id])

    # --- two mergers, step by step ---

    @rule(which=coin, count=st.sampled_from([1, 2, 100]))
    def a_merger_reads(self, which: bool, count: int) -> None:
        hand = self.mergers[which]
        if not hand.rings:
            hand.rings = self.log.rings(self._read(hand.reader, keys.doorbell, count))

    @rule(which=coin)
    def a_merger_takes_over(self, which: bool) -> None:
        """The other one is dead, or slow: both may be at work on the same entries now."""
        hand = self.mergers[which]
        if not hand.rings:
            hand.rings = self.log.rings(self.scene.do(hand.reader.claim(idle=AT_ONCE)))

    @rule(which=coin)
    def a_merger_loads(self, which: bool) -> None:
        """Again, if it has loaded before: some hosts had changed."""
        hand = self.mergers[which]
        waiting = list(dict.fromkeys(at for ring in hand.rings for at in ring.places if at not in hand.done))
        if waiting:
            hand.read_at = self.now
            hand.settled = decide(self.scene.do(self.store.load_all(waiting)), self.now)

    @rule(which=coin)
    def a_merger_stores(self, which: bool) -> None:
        """May come twice: the answer was lost."""
        hand = self.mergers[which]
        if hand.settled:
            stored = self.scene.do(self.store.settle_all(hand.settled, now=hand.read_at))
            hand.done = list(dict.fromkeys([*hand.done, *(at for at, is_stored in stored.items() if is_stored)]))

    @rule(which=coin)
    def a_merger_acks(self, which: bool) -> None:
        """What it could not store stays pending."""
        hand = self.mergers[which]
        if hand.done:
            entries = [ring.entry for ring in hand.rings if set(hand.done).issuperset(ring.places)]
            if entries:
                self.scene.do(hand.reader.ack(entries, delete=True))
            self.mergers[which] = Hand(hand.reader)

    @rule(which=coin)
    def a_merger_dies(self, which: bool) -> None:
        if self.mergers[which].rings:
            self.mergers[which] = Hand(self._reader())

    @rule(which=coin)
    def a_merger_makes_a_whole_pass(self, which: bool) -> None:
        for step in (self.a_merger_reads, self.a_merger_loads, self.a_merger_stores, self.a_merger_acks):
            step(which, 100) if step == self.a_merger_reads else step(which)
