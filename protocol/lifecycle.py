"""The life of a command on one host, as one table. The Lua scripts are tested against it."""

from enum import StrEnum
from typing import Final


class State(StrEnum):
    """Where a command, or a request on one host, stands."""

    SUBMITTED = "submitted"
    QUEUED = "queued"
    PENDING = "pending"
    DELIVERED = "delivered"
    RECEIVED = "received"
    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    STOPPED = "stopped"
    SUPERSEDED = "superseded"
    EXPIRED = "expired"
    TIMED_OUT = "timed_out"
    LOST = "lost"
    UNDELIVERABLE = "undeliverable"
    CANCELLED = "cancelled"


class Event(StrEnum):
    """What can happen to it."""

    FOLDED = "folded"  # compaction took the request up, another mode runs first
    PUT_OFF = "put_off"  # an urgent request of another mode took the host; it resumes with what remains
    INSTALLED = "installed"  # compaction made it the effective command
    OFFERED = "offered"  # it went into a heartbeat's reply
    ACKED = "acked"  # a heartbeat names it
    STARTED = "started"  # the agent says the run has begun
    FINISHED = "finished"  # completion: completed
    BROKE = "broke"  # completion: failed
    WAS_STOPPED = "was_stopped"  # a stop request closed it
    WAS_SUPERSEDED = "was_superseded"  # a newer generation voided it
    NOT_STARTED_IN_TIME = "not_started_in_time"  # first clock: expires_in
    RAN_TOO_LONG = "ran_too_long"  # second clock: duration and grace
    FELL_SILENT = "fell_silent"  # the host stopped beating while it held it; what it never took may still expire
    NEVER_ACKED = "never_acked"  # ten deliveries without an ack
    WAS_CANCELLED = "was_cancelled"


OUTCOMES: Final = frozenset({
    State.COMPLETED, State.FAILED, State.STOPPED, State.SUPERSEDED, State.EXPIRED,
    State.TIMED_OUT, State.LOST, State.UNDELIVERABLE, State.CANCELLED,
})  # fmt: skip
"""Every accepted request ends in exactly one of these, on every host."""

OFFERABLE: Final = (State.PENDING, State.DELIVERED)
OPEN: Final = (State.PENDING, State.DELIVERED, State.RECEIVED, State.RUNNING)

NEXT: Final[dict[tuple[State, Event], State]] = {
    (State.SUBMITTED, Event.FOLDED): State.QUEUED,
    (State.SUBMITTED, Event.INSTALLED): State.PENDING,
    (State.QUEUED, Event.INSTALLED): State.PENDING,
    **{(state, Event.PUT_OFF): State.QUEUED for state in (State.SUBMITTED, *OPEN)},
    (State.PENDING, Event.OFFERED): State.DELIVERED,
    (State.DELIVERED, Event.OFFERED): State.DELIVERED,
    (State.PENDING, Event.ACKED): State.RECEIVED,  # the ack overtook the record of an offer
    (State.DELIVERED, Event.ACKED): State.RECEIVED,
    (State.RECEIVED, Event.ACKED): State.RECEIVED,
    (State.RUNNING, Event.ACKED): State.RUNNING,
    (State.PENDING, Event.STARTED): State.RUNNING,
    (State.DELIVERED, Event.STARTED): State.RUNNING,
    (State.RECEIVED, Event.STARTED): State.RUNNING,
    (State.RUNNING, Event.STARTED): State.RUNNING,
    (State.DELIVERED, Event.NEVER_ACKED): State.UNDELIVERABLE,
    (State.RUNNING, Event.RAN_TOO_LONG): State.TIMED_OUT,
    **{(state, Event.FINISHED): State.COMPLETED for state in OPEN},
    **{(state, Event.BROKE): State.FAILED for state in OPEN},
    **{(state, Event.WAS_SUPERSEDED): State.SUPERSEDED for state in OPEN},
    **{(state, Event.FELL_SILENT): State.LOST for state in (State.DELIVERED, State.RECEIVED, State.RUNNING)},
    **{
        (state, event): outcome
        for state in (State.SUBMITTED, State.QUEUED, *OPEN)
        for event, outcome in (
            (Event.WAS_STOPPED, State.STOPPED),
            (Event.WAS_CANCELLED, State.CANCELLED),
        )
    },
    **{
        (state, Event.NOT_STARTED_IN_TIME): State.EXPIRED
        for state in (State.SUBMITTED, State.QUEUED, State.PENDING, State.DELIVERED, State.RECEIVED)
    },
}
"""What is not in this table cannot happen: an outcome has no way out, and a queued request cannot run."""


class NoSuchStep(ValueError):
    """The table has no row for this state and event."""

    def __init__(self, state: State, event: Event) -> None:
        super().__init__(f"a {state} command cannot be {event}")
        self.state = state
        self.event = event


def advance(state: State, event: Event) -> State:
    """The state after an event.

    Raises:
        NoSuchStep: the table does not allow it.
    """
    try:
        return NEXT[state, event]
    except KeyError:
        raise NoSuchStep(state, event) from None
