"""The scripts of schedules: save one, take and settle a firing."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from broker import keys
from broker.connection import Call
from broker.scripts._load import load_script

SAVE_SCHEDULE: Final = load_script("save_schedule")
TAKE_FIRING: Final = load_script("take_firing")
SETTLE_FIRING: Final = load_script("settle_firing")


def save_schedule(
    schedule_id: str, *, tenant: str, member: str, revision: int, most: int, facts: str, active: bool, reason: str,
    next_fire_at: str, forget_failures: bool,
) -> Call:  # fmt: skip
    """Store a schedule changed from `revision` (0: new). The answer: 1, 0 when changed meanwhile, -1 too many."""
    return Call(
        SAVE_SCHEDULE,
        [keys.schedule(schedule_id), keys.schedules_due(), keys.schedules_of(tenant)],
        [revision, most, schedule_id, member, facts, int(active), reason, next_fire_at, int(forget_failures)],
    )


@dataclass(frozen=True, slots=True)
class Taken:
    """A firing of a schedule, in our hands or settled already; `schedule` is its hash."""

    is_settled: bool
    attempt: int
    schedule: Mapping[str, str]


def take_firing(schedule_id: str, due: int, *, now: int) -> Call:
    """Take a firing that is due (s), whoever had it before. `now` is in ms."""
    return Call(
        TAKE_FIRING,
        [keys.schedule(schedule_id), keys.schedule_firings(schedule_id), keys.firings_taken()],
        [schedule_id, due, now],
    )


def read_taken(answer: Any) -> Taken | None:
    """What `take_firing` gives; None when the schedule does not fire then."""
    match answer:
        case ["gone"]:
            return None
        case ["settled" | "taken" as word, attempt, [*flat]]:
            return Taken(word == "settled", int(attempt), dict(zip(flat[::2], flat[1::2], strict=True)))
        case _:
            raise TypeError(f"take_firing.lua answered {answer!r}")


def settle_firing(
    schedule_id: str, due: int, *, revision: int, next_fire_at: int, keep: int, firing: str = "", outcome: str = "",
    is_failure: bool = False, request_id: str = "",
) -> Call:  # fmt: skip
    """Record a firing (JSON; empty: none) and set the next one (s). The answer is 1 when it was recorded."""
    return Call(
        SETTLE_FIRING,
        [
            keys.schedule(schedule_id), keys.schedule_firings(schedule_id), keys.schedules_due(), keys.firings_taken(),
        ],
        [schedule_id, due, revision, next_fire_at, keep, firing, outcome, int(is_failure), request_id],
    )  # fmt: skip
