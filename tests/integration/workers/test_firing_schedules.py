"""A schedule fires at its moment, with the rights of that moment, once, whoever fires it."""

import asyncio
import time
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from broker.audit import AuditTrail
from broker.connection import Broker
from broker.errors import BrokerUnavailable
from broker.request_store import RequestStore
from broker.results import Change, Results
from broker.schedule_store import KEPT_FIRINGS, Schedule, ScheduleStore, ids_of, new_schedule
from broker.submission import Intake
from broker.token_store import ANYBODY_ID, Token, TokenKind, TokenStore, new_secret
from protocol import cron
from protocol.names import DEFAULT_TENANT
from protocol.schedules import ScheduleWish
from tests.support.builders import a_host
from tests.support.played_host import PlayedHost
from tests.support.schedules import DUE, a_schedule, an_owner, entries_of
from workers.jobs import fire_schedule
from workers.jobs.fire_schedule import Parts, fire

HOUR = 3_600


def parts_of(broker: Broker, **given: Any) -> Parts:
    intake = Intake.of(
        broker, heartbeat_interval=timedelta(seconds=30), fan_out_above=given.pop("fan_out_above", 1_000)
    )
    return Parts(ScheduleStore(broker), TokenStore(broker), intake, AuditTrail(broker), **given)


async def outcomes(broker: Broker, schedule: Schedule) -> list[str]:
    """Newest first."""
    return [fired.outcome for fired in await ScheduleStore(broker).firings(schedule.schedule_id)]


async def reread(broker: Broker, schedule: Schedule) -> Schedule:
    stored = await ScheduleStore(broker).get(schedule.schedule_id)
    assert stored is not None
    return stored


async def test_a_firing_submits_its_request_and_goes_on_to_the_next_one(broker: Broker) -> None:
    schedule = await a_schedule(broker)
    assert await fire(schedule.schedule_id, DUE, parts_of(broker), now=DUE + 0.5) == "submitted"
    ids = ids_of(schedule.schedule_id, DUE)
    record = await RequestStore(broker).get(ids.request_id)
    assert record is not None
    assert (record.submitted_by, record.accepted_at, record.hosts_appended) == (schedule.owner, DUE + 0.5, 1)
    assert await entries_of(broker) == [(ids.request_id, "web-01")]
    stored = await reread(broker, schedule)
    assert (stored.next_fire_at, stored.last_request_id) == (DUE + HOUR, ids.request_id)


async def test_a_firing_that_is_repeated_appends_nothing_twice(broker: Broker) -> None:
    schedule = await a_schedule(broker)
    for number in range(3):
        await fire(schedule.schedule_id, DUE, parts_of(broker), now=DUE + number)
    assert len(await entries_of(broker)) == 1
    assert await outcomes(broker, schedule) == ["submitted"]


async def test_many_at_once_fire_once(broker: Broker) -> None:
    schedule = await a_schedule(broker)
    parts = parts_of(broker)
    await asyncio.gather(*(fire(schedule.schedule_id, DUE, parts, now=DUE + n / 10) for n in range(8)))
    assert len(await entries_of(broker)) == 1
    assert await outcomes(broker, schedule) == ["submitted"]


async def test_a_firing_that_died_before_its_request_was_stored_is_repeated(broker: Broker) -> None:
    schedule = await a_schedule(broker)
    store = ScheduleStore(broker)
    assert await store.take(schedule.schedule_id, DUE, now=DUE) is not None
    assert await store.under_way(since=DUE, most=10) == [(schedule.schedule_id, DUE)]
    assert await fire(schedule.schedule_id, DUE, parts_of(broker), now=DUE + 40) == "submitted"
    assert len(await entries_of(broker)) == 1
    assert await store.under_way(since=DUE + 60, most=10) == []


async def test_a_request_that_was_stored_and_not_appended_is_finished_whatever_happened_since(broker: Broker) -> None:
    """Its owner's token is revoked, its moment is long over, and the schedule itself is deleted: it was accepted."""
    schedule = await a_schedule(broker, catch_up=0)
    store, parts = ScheduleStore(broker), parts_of(broker)
    with pytest.MonkeyPatch.context() as patch:

        async def dies(*_: object) -> None:
            raise ConnectionAbortedError

        patch.setattr(type(parts.intake.request_log), "append", dies)
        with pytest.raises(ConnectionAbortedError):
            await fire(schedule.schedule_id, DUE, parts, now=DUE)
    assert await entries_of(broker) == []
    await TokenStore(broker).revoke(schedule.owner, tenant=DEFAULT_TENANT)
    await store.delete(schedule)
    assert await store.under_way(since=DUE + HOUR, most=10) == [(schedule.schedule_id, DUE)]
    await fire(schedule.schedule_id, DUE, parts, now=DUE + HOUR)
    assert await entries_of(broker) == [(ids_of(schedule.schedule_id, DUE).request_id, "web-01")]
    assert await store.under_way(since=DUE + HOUR, most=10) == []


STEPS = ((Broker, "run"), (Broker, "run_all"), (RequestStore, "put"), (RequestStore, "note_appended"))


class Faults:
    """Lets the broker be lost at one step of many, before or after the step has had its effect."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *, step: int, effect: bool) -> None:
        self.left = step
        self.effect = effect
        for owner, name in STEPS:
            monkeypatch.setattr(owner, name, self._losing(getattr(owner, name)))

    def _losing(self, real: Any) -> Any:
        async def call(*given: Any, **named: Any) -> Any:
            self.left -= 1
            if self.left != 0:
                return await real(*given, **named)
            if self.effect:
                await real(*given, **named)
            raise BrokerUnavailable("lost")

        return call


@pytest.mark.parametrize("effect", [True, False], ids=["executed", "not executed"])
@pytest.mark.parametrize("step", range(1, 6))
async def test_wherever_the_broker_is_lost_the_next_attempt_finishes_the_firing_once(
    broker: Broker, monkeypatch: pytest.MonkeyPatch, step: int, effect: bool
) -> None:
    schedule = await a_schedule(broker)
    with monkeypatch.context() as patch:
        faults = Faults(patch, step=step, effect=effect)
        with pytest.raises(BrokerUnavailable):
            await fire(schedule.schedule_id, DUE, parts_of(broker), now=DUE)
        assert faults.left == 0, "the step was reached"
    await fire(schedule.schedule_id, DUE, parts_of(broker), now=DUE + 5)
    record = await RequestStore(broker).get(ids_of(schedule.schedule_id, DUE).request_id)
    assert record is not None
    assert record.hosts_appended == 1
    assert len(await entries_of(broker)) == 1
    assert await outcomes(broker, schedule) == ["submitted"]
    assert (await reread(broker, schedule)).next_fire_at == DUE + HOUR
    assert await ScheduleStore(broker).under_way(since=DUE + HOUR, most=10) == []


async def test_hosts_that_joined_between_two_attempts_do_not_make_two_requests_of_one(broker: Broker) -> None:
    request = {"service_name": "web", "target_scope": "service"}
    schedule = await a_schedule(broker, request=request)
    parts = parts_of(broker)
    played = PlayedHost(broker)
    played.now = time.time()
    await played.beat()
    with pytest.MonkeyPatch.context() as patch:
        Faults(patch, step=4, effect=False)  # the request is stored, nothing is appended
        with pytest.raises(BrokerUnavailable):
            await fire(schedule.schedule_id, DUE, parts, now=DUE)
    other = PlayedHost(broker, a_host("web-02"))
    other.now = played.now
    await other.beat()
    assert await fire(schedule.schedule_id, DUE, parts, now=DUE + 5) == "submitted"
    assert await entries_of(broker) == [(ids_of(schedule.schedule_id, DUE).request_id, "web-01")]


async def test_a_schedule_paused_before_its_request_was_stored_does_not_fire(broker: Broker) -> None:
    schedule = await a_schedule(broker)
    store = ScheduleStore(broker)
    await store.take(schedule.schedule_id, DUE, now=DUE)
    wish = ScheduleWish.model_validate({**schedule.wish(), "enabled": False})
    assert await store.save((await reread(broker, schedule)).wishing(wish, by=schedule.owner, now=DUE))
    assert await fire(schedule.schedule_id, DUE, parts_of(broker), now=DUE + 5) == "skipped"
    assert await entries_of(broker) == []


async def test_what_raises_every_time_is_given_up_on(broker: Broker, monkeypatch: pytest.MonkeyPatch) -> None:
    schedule = await a_schedule(broker)

    async def breaks(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(fire_schedule, "targets_of", breaks)
    for _ in range(fire_schedule.MOST_ATTEMPTS):
        with pytest.raises(ZeroDivisionError):
            await fire(schedule.schedule_id, DUE, parts_of(broker), now=DUE)
    assert await fire(schedule.schedule_id, DUE, parts_of(broker), now=DUE) == "failed"
    assert (await reread(broker, schedule)).next_fire_at == DUE + HOUR


@pytest.mark.parametrize("of", ["another moment", "a paused schedule", "no schedule"])
async def test_a_job_that_is_out_of_date_does_nothing(broker: Broker, of: str) -> None:
    schedule = await a_schedule(broker, enabled=of != "a paused schedule")
    schedule_id = schedule.schedule_id if of != "no schedule" else "nobody"
    due = DUE + 1 if of == "another moment" else DUE
    assert await fire(schedule_id, due, parts_of(broker), now=DUE + 2) is None
    assert await entries_of(broker) == []
    assert await outcomes(broker, schedule) == []


async def test_a_schedule_in_a_time_zone_that_was_given_up_fails_and_says_so(
    broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    schedule = await a_schedule(broker, timezone="Europe/Berlin")
    monkeypatch.setattr(cron, "is_there", lambda _: False)
    assert await fire(schedule.schedule_id, DUE, parts_of(broker), now=DUE) == "failed"
    assert (await reread(broker, schedule)).next_fire_at == DUE + 24 * HOUR


# --- overlap ----------------------------------------------------------------------------------------------------------


async def test_a_firing_is_skipped_while_the_request_of_the_one_before_is_open(broker: Broker) -> None:
    schedule = await a_schedule(broker)
    await fire(schedule.schedule_id, DUE, parts_of(broker), now=DUE)
    assert await fire(schedule.schedule_id, DUE + HOUR, parts_of(broker), now=DUE + HOUR) == "skipped"
    assert len(await entries_of(broker)) == 1
    skipped = (await ScheduleStore(broker).firings(schedule.schedule_id))[0]
    assert skipped.reason is not None
    assert ids_of(schedule.schedule_id, DUE).request_id in skipped.reason
    stored = await reread(broker, schedule)
    assert (stored.failures, stored.next_fire_at) == (0, DUE + 2 * HOUR)


async def test_a_firing_is_not_skipped_once_the_request_of_the_one_before_has_ended(broker: Broker) -> None:
    schedule = await a_schedule(broker)
    await fire(schedule.schedule_id, DUE, parts_of(broker), now=DUE)
    request_id = ids_of(schedule.schedule_id, DUE).request_id
    await Results(broker).project([Change("1-1", a_host(), "completed", (request_id,), "0", {})])
    assert await fire(schedule.schedule_id, DUE + HOUR, parts_of(broker), now=DUE + HOUR) == "submitted"


async def test_overlap_allow_submits_all_the_same(broker: Broker) -> None:
    schedule = await a_schedule(broker, overlap="allow")
    await fire(schedule.schedule_id, DUE, parts_of(broker), now=DUE)
    assert await fire(schedule.schedule_id, DUE + HOUR, parts_of(broker), now=DUE + HOUR) == "submitted"
    assert len(await entries_of(broker)) == 2


# --- late -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("late", "outcome"), [(9, "submitted"), (590, "submitted"), (610, "missed")])
async def test_a_late_firing_is_made_up_within_its_window(broker: Broker, late: int, outcome: str) -> None:
    schedule = await a_schedule(broker, catch_up=600)
    assert await fire(schedule.schedule_id, DUE, parts_of(broker), now=DUE + late) == outcome
    assert (await reread(broker, schedule)).next_fire_at == DUE + HOUR


async def test_of_many_that_nobody_fired_one_is_made_up(broker: Broker) -> None:
    schedule = await a_schedule(broker, catch_up=600)
    back = DUE + 5 * HOUR + 300
    assert await fire(schedule.schedule_id, DUE, parts_of(broker), now=back) == "missed"
    assert (await reread(broker, schedule)).next_fire_at == DUE + 5 * HOUR
    assert await fire(schedule.schedule_id, DUE + 5 * HOUR, parts_of(broker), now=back) == "submitted"
    assert (await reread(broker, schedule)).next_fire_at == DUE + 6 * HOUR
    assert await outcomes(broker, schedule) == ["submitted", "missed"]


async def test_the_history_is_capped(broker: Broker) -> None:
    schedule = await a_schedule(broker, overlap="allow", catch_up=0)
    for number in range(KEPT_FIRINGS + 5):
        due = DUE + number * HOUR
        await fire(schedule.schedule_id, due, parts_of(broker), now=due + 30)
    fired = await ScheduleStore(broker).firings(schedule.schedule_id)
    assert [one.due for one in fired] == [DUE + number * HOUR for number in range(KEPT_FIRINGS + 4, 4, -1)]


# --- rights -----------------------------------------------------------------------------------------------------------


async def unknown(_: Broker) -> Token:
    return Token("never-made", TokenKind.ADMIN, DEFAULT_TENANT, ("*",), datetime.now(UTC))


async def revoked(broker: Broker) -> Token:
    token = await an_owner(broker)
    await TokenStore(broker).revoke(token.token_id, tenant=DEFAULT_TENANT)
    return token


async def expired(broker: Broker) -> Token:
    at = datetime.fromtimestamp(DUE, UTC)
    return await TokenStore(broker).add(
        new_secret(), kind=TokenKind.OPERATOR, tenant=DEFAULT_TENANT, services=("web",), expires_at=at
    )


async def of_another_service(broker: Broker) -> Token:
    return await an_owner(broker, services=("db",))


async def of_another_tenant(broker: Broker) -> Token:
    return await an_owner(broker, tenant="others")


async def a_viewer(broker: Broker) -> Token:
    return await an_owner(broker, kind=TokenKind.VIEWER)


async def anybody(_: Broker) -> Token:
    return Token(ANYBODY_ID, TokenKind.ADMIN, DEFAULT_TENANT, ("*",), datetime.now(UTC))


OWNERS = (unknown, revoked, expired, of_another_service, of_another_tenant, a_viewer, anybody)


@pytest.mark.parametrize("owner", OWNERS, ids=lambda owner: owner.__name__)
async def test_rights_are_checked_when_it_fires(broker: Broker, owner: Any) -> None:
    schedule = await a_schedule(broker, owner=(await owner(broker)).token_id)
    assert await fire(schedule.schedule_id, DUE, parts_of(broker), now=DUE) == "refused"
    assert await entries_of(broker) == []
    assert (await reread(broker, schedule)).failures == 1


async def test_schedules_made_without_authentication_fire_where_it_is_still_off(broker: Broker) -> None:
    schedule = await a_schedule(broker, owner=ANYBODY_ID)
    assert await fire(schedule.schedule_id, DUE, parts_of(broker, anybody_may=True), now=DUE) == "submitted"


# --- pause ------------------------------------------------------------------------------------------------------------


async def test_failures_in_a_row_pause_a_schedule(broker: Broker) -> None:
    """No host of the service is live: nothing can be submitted."""
    request = {"service_name": "web", "target_scope": "service"}
    schedule = await a_schedule(broker, request=request, pause_after=3)
    for number in range(5):
        due = DUE + number * HOUR
        await fire(schedule.schedule_id, due, parts_of(broker), now=due)
    stored = await reread(broker, schedule)
    assert (stored.active, stored.next_fire_at, stored.failures) == (False, None, 3)
    assert stored.reason.startswith("3 firings in a row failed; the last: The service has no live host.")
    assert await outcomes(broker, schedule) == ["failed"] * 3
    assert await ScheduleStore(broker).due(until=DUE * 2, most=10) == []


async def test_a_firing_that_succeeds_forgets_the_failures_before_it(broker: Broker) -> None:
    schedule = await a_schedule(broker, pause_after=2, owner="nobody")
    await fire(schedule.schedule_id, DUE, parts_of(broker), now=DUE)
    mended = (await reread(broker, schedule)).wishing(
        ScheduleWish.model_validate(schedule.wish()), by=(await an_owner(broker)).token_id, now=DUE
    )
    assert await ScheduleStore(broker).save(mended)
    assert (await reread(broker, schedule)).failures == 1
    await fire(schedule.schedule_id, DUE + HOUR, parts_of(broker), now=DUE + HOUR)
    assert (await reread(broker, schedule)).failures == 0


async def test_a_schedule_that_never_pauses_does_not(broker: Broker) -> None:
    schedule = await a_schedule(broker, pause_after=0, owner="nobody")
    for number in range(12):
        due = DUE + number * HOUR
        await fire(schedule.schedule_id, due, parts_of(broker), now=due)
    assert (await reread(broker, schedule)).active


async def test_a_schedule_changed_by_two_at_once_keeps_the_first_change(broker: Broker) -> None:
    schedule = await a_schedule(broker)
    store = ScheduleStore(broker)
    first, second = await reread(broker, schedule), await reread(broker, schedule)
    assert await store.save(first)
    assert not await store.save(second)


def test_a_new_schedule_fires_at_the_next_full_hour() -> None:
    wish = ScheduleWish.model_validate(
        {"name": "n", "cron": "0 * * * *", "request": {"service_name": "web", "target_hostnames": ["a"]}}
    )
    made = new_schedule(wish, schedule_id="s", tenant="t", by="o", digest="", now=DUE - 1)
    assert made.next_fire_at == DUE
