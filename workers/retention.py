"""What is too old goes, of what is old the detail, and the audit trail says so before."""

import asyncio
import time
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any, Final

from broker.audit import Act, AuditTrail
from broker.connection import Broker
from broker.errors import BrokerUnavailable
from profiles.keeping import Expiry, Keeping, Loss, NotTold, Thinning
from profiles.objects import Objects
from profiles.questions import Engine
from profiles.shelves import HOUR
from protocol.audit import AuditOutcome
from workers.tending import Tended, Tender, end_of

EXPIRED: Final = "profile.expire"
FOLDED: Final = "profile.fold"
ACTOR: Final = "retention"
"""Nobody calls: the settings say it."""


def act_of(loss: Loss, *, now: float) -> Act:
    """What goes of a service, as the trail has it. `now`: seconds since the epoch."""
    action, before, after = _of_days(loss) if isinstance(loss, Expiry) else _of_hours(loss)
    return Act(
        at=now, action=action, outcome=AuditOutcome.ACCEPTED, tenant=loss.tenant, actor=ACTOR, actor_kind=ACTOR,
        service=loss.service, before=before, after=after,
    )  # fmt: skip


def _of_days(loss: Expiry) -> tuple[str, dict[str, Any], dict[str, Any]]:
    days = sorted(loss.days)
    before = {"first_day": days[0], "last_day": days[-1], "days": len(days)}
    return EXPIRED, before, {"first_day_kept": loss.first_kept}


def _of_hours(loss: Thinning) -> tuple[str, dict[str, Any], dict[str, Any]]:
    hours = sorted(f"{end_of(place) - HOUR:%Y-%m-%dT%HZ}" for place in loss.uploads)
    uploads = sum(map(len, loss.uploads.values()))
    before = {"first_hour": hours[0], "last_hour": hours[-1], "hours": len(hours), "uploads": uploads}
    return FOLDED, before, {"folded_below": loss.below}


async def tended(
    broker: Broker, objects: Objects, engine: Engine, keeping: Keeping,
    *, now: datetime, patience: timedelta, since: datetime | None = None,
    gives_way: Callable[[], bool] = lambda: False,
) -> Tended:  # fmt: skip
    """A pass over a store as `Tender.tend` does it, off this loop; what goes is audited by it.

    Raises:
        OSError: the store does not answer.
    """
    trail, loop = AuditTrail(broker), asyncio.get_running_loop()

    def tell(losses: Sequence[Loss]) -> None:
        acts = [act_of(each, now=time.time()) for each in losses]
        try:
            asyncio.run_coroutine_threadsafe(trail.write(*acts), loop).result()
        except BrokerUnavailable as error:
            raise NotTold(str(error)) from error

    tender = Tender(objects, engine, keeping, tell)
    return await asyncio.to_thread(tender.tend, now=now, patience=patience, since=since, gives_way=gives_way)
