"""The table of a command's life, driven pair by pair on the real server: what is in it happens, nothing else does."""

import itertools
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final

import pytest

from broker.connection import Broker
from broker.scripts import MOST_ATTEMPTS
from protocol.lifecycle import NEXT, Event, State
from tests.support.played_host import PlayedHost

INSTALLING: Final = frozenset({State.SUBMITTED, State.QUEUED})
"""Settling takes these up. An event that comes by settling is one of them, or it is an installation."""


@dataclass
class Story:
    """One request (`mine`) on one host, its command id, and the clocks that suit the event."""

    host: PlayedHost
    event: Event
    request_id: str = ""
    command_id: str = ""

    async def submit(self) -> None:
        clocks: dict[str, Any] = {"duration": 3_600, "expires_in": 900}
        if self.event is Event.RAN_TOO_LONG:
            clocks = {"duration": 60, "expires_in": 80_000}
        if self.event is Event.NOT_STARTED_IN_TIME:
            clocks = {"duration": 80_000, "expires_in": 900}
        if self.event is Event.FOLDED:
            clocks["priority"] = "low"
        record = await self.host.submit(**clocks)
        self.request_id, self.command_id = record.request_id, record.command_id

    async def told(self) -> list[str]:
        """The states told of the request, a late word aside."""
        return [state for state in await self.host.states_of(self.request_id) if state != "late_completion"]

    async def told_of_command(self) -> list[str]:
        """The states told of the command itself: what is told of requests alone has no generation."""
        return [
            event["state"]
            for event in await self.host.results()
            if event["command_id"] == self.command_id and event["generation"] != "0"
            if event["state"] != "late_completion"
        ]


# --- how each state is reached ----------------------------------------------------------------------------------------


async def submitted(story: Story) -> None:
    await story.submit()


async def queued(story: Story) -> None:
    await story.host.submit(profiling_mode="wall", duration=80_000)
    await story.host.settle()
    await story.host.begin()
    await story.submit()
    await story.host.settle()


async def pending(story: Story) -> None:
    await story.submit()
    await story.host.settle()


async def delivered(story: Story) -> None:
    await pending(story)
    for _ in range(MOST_ATTEMPTS if story.event is Event.NEVER_ACKED else 1):
        await story.host.take()


async def received(story: Story) -> None:
    await delivered(story)
    await story.host.beat(received=[story.command_id])


async def running(story: Story) -> None:
    await delivered(story)
    await story.host.beat(last=story.command_id, begun=True)


async def completed(story: Story) -> None:
    await running(story)
    await story.host.complete(story.command_id)


async def failed(story: Story) -> None:
    await running(story)
    await story.host.complete(story.command_id, status="failed")


async def stopped(story: Story) -> None:
    await running(story)
    await story.host.submit(command_type="stop")
    await story.host.settle()


async def superseded(story: Story) -> None:
    await running(story)
    await story.host.submit(frequency=99)
    await story.host.settle()


async def expired(story: Story) -> None:
    await delivered(story)
    story.host.now += 80_000
    await story.host.settle()


async def timed_out(story: Story) -> None:
    await running(story)
    story.host.now += 90_000
    await story.host.settle()


async def undeliverable(story: Story) -> None:
    await pending(story)
    for _ in range(MOST_ATTEMPTS + 1):
        await story.host.beat()


async def cancelled(story: Story) -> None:
    await running(story)
    await was_cancelled(story)


async def lost(story: Story) -> None:
    await running(story)
    await fell_silent(story)


REACHED: Final[dict[State, Callable[[Story], Awaitable[None]]]] = {
    State.SUBMITTED: submitted,
    State.QUEUED: queued,
    State.PENDING: pending,
    State.DELIVERED: delivered,
    State.RECEIVED: received,
    State.RUNNING: running,
    State.COMPLETED: completed,
    State.FAILED: failed,
    State.STOPPED: stopped,
    State.SUPERSEDED: superseded,
    State.EXPIRED: expired,
    State.TIMED_OUT: timed_out,
    State.UNDELIVERABLE: undeliverable,
    State.CANCELLED: cancelled,
    State.LOST: lost,
}


# --- how each event is made to happen ---------------------------------------------------------------------------------


async def folded(story: Story) -> None:
    """Another mode wants the host as well, and more than this one does, but not urgently."""
    await story.host.submit(profiling_mode="wall", priority="normal")
    await story.host.settle()


async def put_off(story: Story) -> None:
    await story.host.submit(profiling_mode="wall", priority="urgent")
    await story.host.settle()


async def installed(story: Story) -> None:
    """Compaction looks while the host is free."""
    if await story.told() == ["submitted", "queued"]:
        other = await story.host.command()
        await story.host.complete(other["id"])
    await story.host.settle()


async def a_heartbeat_comes(story: Story) -> None:
    await story.host.beat()


async def acked(story: Story) -> None:
    await story.host.beat(received=[story.command_id])


async def started(story: Story) -> None:
    await story.host.beat(last=story.command_id, begun=True)


async def finished(story: Story) -> None:
    await story.host.complete(story.command_id)


async def broke(story: Story) -> None:
    await story.host.complete(story.command_id, status="failed")


async def was_stopped(story: Story) -> None:
    await story.host.submit(command_type="stop")
    await story.host.settle()


async def was_superseded(story: Story) -> None:
    await story.host.submit(frequency=99)
    await story.host.settle()


async def not_started_in_time(story: Story) -> None:
    story.host.now += 900
    await story.host.settle()


async def ran_too_long(story: Story) -> None:
    story.host.now += 90
    await story.host.settle()


async def was_cancelled(story: Story) -> None:
    await story.host.cancel(story.request_id)
    await story.host.settle()


async def fell_silent(story: Story) -> None:
    story.host.now += 300
    await story.host.lose()


HAPPENS: Final[dict[Event, Callable[[Story], Awaitable[None]]]] = {
    Event.FOLDED: folded,
    Event.INSTALLED: installed,
    Event.OFFERED: a_heartbeat_comes,
    Event.NEVER_ACKED: a_heartbeat_comes,
    Event.ACKED: acked,
    Event.STARTED: started,
    Event.FINISHED: finished,
    Event.BROKE: broke,
    Event.WAS_STOPPED: was_stopped,
    Event.WAS_SUPERSEDED: was_superseded,
    Event.NOT_STARTED_IN_TIME: not_started_in_time,
    Event.RAN_TOO_LONG: ran_too_long,
    Event.PUT_OFF: put_off,
    Event.WAS_CANCELLED: was_cancelled,
    Event.FELL_SILENT: fell_silent,
}
CANNOT_BE_DRIVEN: Final = {
    (State.SUBMITTED, Event.WAS_SUPERSEDED): "the same look at the host installs it",
    (State.SUBMITTED, Event.RAN_TOO_LONG): "the same look at the host installs it",
    (State.PENDING, Event.NEVER_ACKED): "it was never handed out, so the next heartbeat offers it",
}
PAIRS: Final = sorted(set(itertools.product(REACHED, HAPPENS)) - set(CANNOT_BE_DRIVEN))


def test_every_pair_of_the_table_is_driven() -> None:
    assert set(REACHED) == set(State)
    assert set(HAPPENS) == set(Event)
    assert set(NEXT) <= set(PAIRS)
    assert not set(CANNOT_BE_DRIVEN) & set(NEXT)


@pytest.mark.parametrize(("state", "event"), PAIRS)
async def test_the_server_steps_as_the_table_says(broker: Broker, state: State, event: Event) -> None:
    story = Story(PlayedHost(broker), event)
    await REACHED[state](story)
    # A command is superseded, not its request: that one goes on in the newer command.
    of_command = State.SUPERSEDED in {state, NEXT.get((state, event))}
    told = story.told_of_command if of_command else story.told
    before = await told()
    assert before[-1] == state or NEXT.get((state, event)) is State.SUPERSEDED

    await HAPPENS[event](story)

    after = await told()
    if (state, event) in NEXT:
        assert after[-1] == NEXT[state, event]
        assert after[: len(before)] == before, "what was told was told"
    else:
        assert after == before, f"a {state} command was {event}"
