import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from agent.books import Books
from agent.conductor import Conductor
from agent.courier import Courier
from agent.heartbeater import Heartbeater, Identity, Pace
from agent.inventory import Inventory, PodName
from agent.ledger import Ledger
from agent.lookout import Lookout
from agent.replies import Defaults, Reply
from agent.reports import Reporter
from agent.transport import Refused, TransportError, Unreachable
from protocol.completions import Completion
from protocol.heartbeats import Heartbeat
from protocol.inventory import Container, RunningProcess
from tests.support.agents import soon
from tests.support.fake_capture import FakeCapture, FakeSave, tools
from tests.support.fake_server import start

REPORTER = Reporter(hostname="web-01", service_name="web")
IDENTITY = Identity(hostname="web-01", service_name="web", agent_version="1", ip_address="10.0.0.1")
Answer = Callable[[Heartbeat, timedelta], Awaitable[Reply]]


class FakeWire:
    """A transport that answers by a function, and remembers."""

    def __init__(self) -> None:
        self.beats: list[tuple[float, Heartbeat, timedelta]] = []
        self.completions: list[str] = []
        self.refusals: dict[str, list[TransportError]] = {}
        self.answer: Answer = self.hold

    async def hold(self, _beat: Heartbeat, wait: timedelta) -> Reply:
        await asyncio.sleep(wait.total_seconds())
        return Reply(held=True)

    async def heartbeat(self, beat: Heartbeat, *, wait: timedelta) -> Reply:
        self.beats.append((time.monotonic(), beat, wait))
        return await self.answer(beat, wait)

    async def complete(self, completion: Completion) -> None:
        self.completions.append(completion.command_id)
        if refusals := self.refusals.get(completion.command_id):
            raise refusals.pop(0)


def inventory_of(*pids: int) -> Inventory:
    """A host on which one container runs, with these processes."""
    container = Container(container_id="c", container_name="", processes=tuple(RunningProcess(pid=pid) for pid in pids))
    return Inventory((container,), own=PodName("profiler-x", "ops"))


class Case:
    """A heartbeater and a courier on a fake wire, with a real ledger."""

    def __init__(self, path: Path, *, interval: float = 30, wait: float = 25) -> None:
        self.wire = FakeWire()
        self.capture = FakeCapture()
        self.changed, self.stopping = asyncio.Event(), asyncio.Event()
        self.recoveries = 0
        self.capabilities: dict[str, Any] = {"profilers": {}}
        self.ledger = Ledger(path / "ledger")
        self.books = Books(self.ledger, REPORTER, announce=self.changed.set, report=self._report)
        self.conductor = Conductor(
            self.books, tools=tools(self.capture, FakeSave()), reporter=REPORTER, defaults=Defaults()
        )
        self.courier = Courier(self.wire, self.books, cap=timedelta(seconds=30), stopping=self.stopping)
        self.inventory = inventory_of(41)
        self.lookout = Lookout(
            lambda: self.inventory,
            announce=self.changed.set,
            stopping=self.stopping,
            every=timedelta(seconds=0.01),
        )
        self.heartbeater = Heartbeater(
            self.wire,
            self.books,
            self.conductor,
            self.lookout,
            pace=Pace(interval=timedelta(seconds=interval), wait=timedelta(seconds=wait)),
            identify=self._identify,
            probe=self._probe,
            on_recovery=self._recover,
            changed=self.changed,
            stopping=self.stopping,
        )

    def _report(self) -> None:
        self.courier.wake()

    async def _identify(self) -> Identity:
        return IDENTITY

    async def _probe(self) -> dict[str, Any]:
        return self.capabilities

    def _recover(self) -> None:
        self.recoveries += 1
        self.courier.retry_now()

    async def beats(self, count: int) -> None:
        await soon(lambda: len(self.wire.beats) >= count, within=20)


@pytest.fixture
def case(tmp_path: Path) -> Case:
    return Case(tmp_path)


@asynccontextmanager
async def running(case: Case) -> AsyncIterator[None]:
    roles = [asyncio.create_task(role) for role in (case.heartbeater.run(), case.courier.run(), case.conductor.work())]
    try:
        yield
        case.stopping.set()
        await asyncio.wait_for(case.conductor.drain(), 5)
        await asyncio.wait_for(asyncio.gather(*roles), 5)
    finally:
        for role in roles:
            role.cancel()
        await asyncio.gather(*roles, return_exceptions=True)
        case.ledger.close()


async def test_a_change_of_state_ends_a_held_beat_and_the_next_one_tells(case: Case) -> None:
    async with running(case):
        await case.beats(1)
        case.books.receive("c1", "start")
        await case.beats(2)
        (_, first, _), (_, second, _) = case.wire.beats[:2]
        assert first.received_command_ids == []
        assert (second.received_command_ids, second.last_command_id) == (["c1"], "c1")


async def test_an_ack_is_repeated_until_a_beat_is_answered(case: Case) -> None:
    async with running(case):
        await case.beats(1)
        case.books.receive("c1", "start")
        await case.beats(2)
        case.books.receive("c2", "start")
        await case.beats(3)
        assert case.wire.beats[2][1].received_command_ids == ["c1", "c2"]
        case.wire.answer = at_once(Reply(held=True))
        case.changed.set()
        await case.beats(5)
        assert case.wire.beats[4][1].received_command_ids == []


async def test_a_run_is_told_as_running_only_while_it_is_the_newest_command(case: Case) -> None:
    case.capture.hold_start = asyncio.Event()
    async with running(case):
        await case.beats(1)
        case.conductor.obey(Reply(command_id="c1", command=start()))
        await case.beats(2)
        assert case.wire.beats[1][1].status == "active"
        case.capture.hold_start.set()
        await case.beats(3)
        assert (case.wire.beats[2][1].status, case.wire.beats[2][1].last_command_id) == ("running", "c1")


def pauses(case: Case) -> list[float]:
    """The seconds between each two beats."""
    return [later - earlier for (earlier, _, _), (later, _, _) in pairwise(case.wire.beats)]


def at_once(reply: Reply) -> Answer:
    async def answer(_beat: Heartbeat, _wait: timedelta) -> Reply:
        return reply

    return answer


async def test_a_server_that_lets_go_at_once_is_not_hammered(case: Case) -> None:
    case.wire.answer = at_once(Reply(held=True))
    async with running(case):
        await case.beats(3)
        assert min(pauses(case)) > 0.9


async def test_a_command_offered_over_and_over_does_not_hasten_the_beats(case: Case) -> None:
    case.wire.answer = at_once(Reply(command_id="c1", command={"command_type": "dance"}, held=True))
    async with running(case):
        await asyncio.sleep(1.5)
        assert len(case.wire.beats) <= 6
        assert len(case.wire.completions) <= len(case.wire.beats)
        assert case.capture.requests == []


async def test_the_server_sets_the_pace_where_it_does_not_hold(tmp_path: Path) -> None:
    case = Case(tmp_path, interval=30, wait=0)
    case.wire.answer = at_once(Reply(interval=timedelta(seconds=1)))
    async with running(case):
        await case.beats(4)
        assert all(0.85 < pause < 1.5 for pause in pauses(case))


async def test_a_change_does_not_cut_short_what_a_busy_server_asked_for(case: Case) -> None:
    async def busy(_beat: Heartbeat, _wait: timedelta) -> Reply:
        raise Refused(503, retry_after=timedelta(seconds=60), detail="")

    case.wire.answer = busy
    async with running(case):
        await case.beats(1)
        case.changed.set()
        await asyncio.sleep(0.3)
        assert len(case.wire.beats) == 1


async def test_after_an_outage_the_first_beat_is_not_held_and_completions_follow(case: Case) -> None:
    outage = [Unreachable("down"), Unreachable("down")]

    async def answer(beat: Heartbeat, wait: timedelta) -> Reply:
        if outage:
            raise outage.pop()
        return await case.wire.hold(beat, wait)

    case.wire.answer = answer
    case.wire.refusals["c1"] = [Refused(503, retry_after=timedelta(seconds=60), detail="")]
    case.books.fail("c1", "x")
    async with running(case):
        await case.beats(3)
        assert [wait.total_seconds() for _, _, wait in case.wire.beats[:3]] == [25, 0, 0]
        await case.beats(4)
        assert case.wire.beats[3][2].total_seconds() == 25
        assert case.recoveries == 1
        await soon(lambda: case.wire.completions == ["c1", "c1"])


async def test_a_held_beat_that_something_cut_is_no_outage(case: Case) -> None:
    cuts = [Unreachable("cut", after=timedelta(seconds=15))]

    async def answer(beat: Heartbeat, wait: timedelta) -> Reply:
        if cuts:
            raise cuts.pop()
        return await case.wire.hold(beat, wait)

    case.wire.answer = answer
    async with running(case):
        await case.beats(2)
        assert case.wire.beats[1][2].total_seconds() == 25
        assert case.recoveries == 0


async def test_capabilities_go_out_when_they_change_and_after_an_outage(case: Case) -> None:
    case.wire.answer = at_once(Reply(held=True))
    assert await case.heartbeater.beat(timedelta(0)) is not None
    await case.heartbeater.beat(timedelta(0))
    told = [beat.capabilities is not None for _, beat, _ in case.wire.beats]
    assert told == [True, False]
    case.ledger.close()


async def test_an_answer_that_trips_the_agent_up_does_not_end_the_beating(
    case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    def trip(reply: Reply) -> bool:
        raise ZeroDivisionError

    monkeypatch.setattr(case.conductor, "obey", trip)
    case.wire.answer = at_once(Reply(command_id="c1", command=start(), held=True))
    async with running(case):
        await case.beats(2)


async def test_one_completion_that_the_server_chokes_on_does_not_hold_up_the_others(case: Case) -> None:
    case.wire.refusals["c1"] = [Refused(500, retry_after=None, detail="oops")]
    for command_id in ("c1", "c2"):
        case.books.fail(command_id, "x")
    with pytest.raises(Refused):
        await case.courier.deliver()
    assert [completion.command_id for completion in case.books.unsent] == ["c1"]
    await case.courier.deliver()
    assert case.wire.completions == ["c1", "c2", "c1"]
    assert case.books.unsent == []
    case.ledger.close()


async def test_a_refused_token_keeps_completions_for_later(case: Case) -> None:
    case.wire.refusals["c1"] = [Refused(401, retry_after=None, detail="")]
    for command_id in ("c1", "c2"):
        case.books.fail(command_id, "x")
    with pytest.raises(Refused):
        await case.courier.deliver()
    assert case.wire.completions == ["c1"]
    assert len(case.books.unsent) == 2
    case.ledger.close()


@asynccontextmanager
async def looking(case: Case) -> AsyncIterator[None]:
    """A running case whose lookout looks, too: the others beat by what they test alone."""
    looks = asyncio.create_task(case.lookout.run())
    try:
        async with running(case):
            yield
        await asyncio.wait_for(looks, 5)
    finally:
        looks.cancel()
        await asyncio.gather(looks, return_exceptions=True)


def told_pids(case: Case) -> list[list[int] | None]:
    """The processes that each beat tells of; None for a beat without an inventory."""
    return [
        None if beat.containers is None else [process.pid for each in beat.containers for process in each.processes]
        for _, beat, _ in case.wire.beats
    ]


async def test_an_inventory_goes_out_at_once_and_again_only_when_it_changes(case: Case) -> None:
    async with looking(case):
        await soon(lambda: [41] in told_pids(case))
        case.wire.answer = at_once(Reply(interval=timedelta(seconds=1)))
        case.changed.set()
        await soon(lambda: told_pids(case)[-1] is None)
        case.inventory = inventory_of(41, 42)
        await soon(lambda: [41, 42] in told_pids(case))
        await soon(lambda: told_pids(case)[-1] is None, within=10)
    with_it = [beat for _, beat, _ in case.wire.beats if beat.containers is not None]
    assert {(beat.namespace, beat.pod_name) for beat in with_it} == {("ops", "profiler-x")}
    assert {beat.pod_name for _, beat, _ in case.wire.beats if beat.containers is None} <= {None}


async def test_an_inventory_that_the_server_wants_goes_out_again(case: Case) -> None:
    case.lookout.note(case.inventory)
    replies = [Reply(), Reply(inventory_wanted=True), Reply(), Reply()]

    async def answer(_beat: Heartbeat, _wait: timedelta) -> Reply:
        return replies.pop(0)

    case.wire.answer = answer
    while replies:
        await case.heartbeater.beat(timedelta(0))
    assert told_pids(case) == [[41], None, [41], None]
    case.ledger.close()


async def test_a_server_that_refuses_the_inventory_gets_beats_without_it(case: Case) -> None:
    async def answer(beat: Heartbeat, _wait: timedelta) -> Reply:
        if beat.containers is not None:
            raise Refused(422, retry_after=None, detail="containers: no")
        return Reply(inventory_wanted=True)

    case.lookout.note(case.inventory)
    case.wire.answer = answer
    with pytest.raises(Refused):
        await case.heartbeater.beat(timedelta(0))
    await case.heartbeater.beat(timedelta(0))
    await case.heartbeater.beat(timedelta(0))
    assert told_pids(case) == [[41], None, None]
    case.ledger.close()


@pytest.mark.parametrize("status", [401, 503])
async def test_a_refusal_of_the_whole_beat_keeps_the_inventory_for_the_next(case: Case, status: int) -> None:
    async def answer(_beat: Heartbeat, _wait: timedelta) -> Reply:
        raise Refused(status, retry_after=None, detail="")

    case.lookout.note(case.inventory)
    case.wire.answer = answer
    for _ in range(2):
        with pytest.raises(Refused):
            await case.heartbeater.beat(timedelta(0))
    assert told_pids(case) == [[41], [41]]
    case.ledger.close()


async def test_the_last_beat_says_how_things_stand_and_no_inventory(case: Case) -> None:
    case.wire.answer = at_once(Reply())
    await case.heartbeater.beat(timedelta(0))
    case.lookout.note(case.inventory)
    await case.heartbeater.last_beat()
    assert told_pids(case) == [None, None]
    case.ledger.close()
