"""What is too old goes, and the audit trail says so before."""

import asyncio
import time
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Final

from broker.audit import Act, AuditTrail
from broker.connection import Broker
from broker.errors import BrokerUnavailable
from profiles.keeping import Expiry, Keeping, NotTold
from profiles.objects import Objects
from profiles.questions import Engine
from protocol.audit import AuditOutcome
from workers.tending import Tended, Tender

ACTION: Final = "profile.expire"
ACTOR: Final = "retention"
"""Nobody calls: the settings say it."""


def act_of(expiry: Expiry, *, now: float) -> Act:
    """A service's days that go, as the trail has them. `now`: seconds since the epoch."""
    days = sorted(expiry.days)
    return Act(
        at=now, action=ACTION, outcome=AuditOutcome.ACCEPTED, tenant=expiry.tenant, actor=ACTOR, actor_kind=ACTOR,
        service=expiry.service, before={"first_day": days[0], "last_day": days[-1], "days": len(days)},
        after={"first_day_kept": expiry.first_kept},
    )  # fmt: skip


async def tended(
    broker: Broker, objects: Objects, engine: Engine, keeping: Keeping,
    *, now: datetime, patience: timedelta, since: datetime | None = None,
    gives_way: Callable[[], bool] = lambda: False,
) -> Tended:  # fmt: skip
    """A pass over a store as `Tender.tend` does it, off this loop; what goes for its age is audited by it.

    Raises:
        OSError: the store does not answer.
    """
    trail, loop = AuditTrail(broker), asyncio.get_running_loop()

    def tell(expiries: Sequence[Expiry]) -> None:
        acts = [act_of(each, now=time.time()) for each in expiries]
        try:
            asyncio.run_coroutine_threadsafe(trail.write(*acts), loop).result()
        except BrokerUnavailable as error:
            raise NotTold(str(error)) from error

    tender = Tender(objects, engine, keeping, tell)
    return await asyncio.to_thread(tender.tend, now=now, patience=patience, since=since, gives_way=gives_way)
