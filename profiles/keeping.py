"""How long profiles are kept."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final
from urllib.parse import unquote

import structlog

from profiles.objects import Objects
from profiles.questions import Engine
from profiles.settings import ProfileSettings
from profiles.shelves import GONE, RAW, SAMPLES, STACKS

log = structlog.get_logger(__name__)

IN_ORDER: Final = (RAW, SAMPLES, STACKS, GONE)
"""Uploads first: nothing is to be made of them again. That a profile was deleted is forgotten last."""


@dataclass(frozen=True)
class Keeping:
    """How long.

    Attributes:
        of_all: whole days after which profiles go; None: never.
        of_tenant: the same for some tenants, in place of it.
        fold_after: age from which light stacks are folded, and uploads go; None: never.
        fold_below: share of an hour's samples below which a stack is light.
    """

    of_all: timedelta | None = None
    of_tenant: Mapping[str, timedelta | None] = field(default_factory=dict)
    fold_after: timedelta | None = None
    fold_below: float = 0.0001

    @classmethod
    def of(cls, settings: ProfileSettings) -> "Keeping":
        """As the settings say; 0 days is for ever."""
        return cls(
            _days(settings.profiles_keep_days),
            {tenant: _days(days) for tenant, days in settings.profiles_keep_days_of.items()},
            _days(settings.profiles_fold_after_days), settings.profiles_fold_below,
        )  # fmt: skip

    def first_day(self, tenant: str, *, now: datetime) -> str:
        """The first UTC day of a tenant that is kept; empty: every day is."""
        age = self.of_tenant.get(tenant, self.of_all)
        return f"{(now - age).astimezone(UTC):%Y-%m-%d}" if age is not None else ""


def _days(days: int) -> timedelta | None:
    return timedelta(days=days) if days else None


@dataclass(frozen=True)
class Expiry:
    """What is too old of one service.

    Attributes:
        tenant: whose.
        service: of which service; a very long name as its folder has it.
        days: UTC days that go, as `2026-05-04`.
        first_kept: the first that stays.
        folder: of the service, below each kind of files.
    """

    tenant: str
    service: str
    days: frozenset[str]
    first_kept: str
    folder: str


@dataclass(frozen=True)
class Thinning:
    """What is folded of one service, and whose uploads go with that.

    Attributes:
        tenant: whose.
        service: of which service; a very long name as its folder has it.
        uploads: those that go, by their hour as parts of a path.
        below: the share of an hour's samples below which a stack is light.
    """

    tenant: str
    service: str
    uploads: Mapping[str, frozenset[str]]
    below: float


Loss = Expiry | Thinning
"""What is told before it goes."""


class NotTold(Exception):
    """Whoever is to know of it before it is done cannot be told."""


def too_old(objects: Objects, keeping: Keeping, *, now: datetime) -> list[Expiry]:
    """What goes by its age, by tenant and service.

    Raises:
        OSError: the store does not answer.
    """
    found: list[Expiry] = []
    for tenant in sorted({name for kind in IN_ORDER for name in objects.names(kind)}):
        first = keeping.first_day(unquote(tenant), now=now)
        if not first:
            continue
        for service in sorted({name for kind in IN_ORDER for name in objects.names(f"{kind}/{tenant}")}):
            folder = f"{tenant}/{service}"
            days = {day for kind in IN_ORDER for day in objects.names(f"{kind}/{folder}") if day < first}
            if days:
                found.append(Expiry(unquote(tenant), unquote(service), frozenset(days), first, folder))
    return found


def expire(
    objects: Objects, engine: Engine, keeping: Keeping, *, now: datetime, tell: Callable[[Sequence[Loss]], None]
) -> int:
    """Remove whole days that are too old. Gives how many days of services.

    Args:
        objects: the store.
        engine: has an index of it.
        keeping: how long.
        now: UTC.
        tell: is told of what goes, before any of it does; what is left by who was killed is told again.

    Raises:
        OSError: the store does not answer.
        NotTold: as `tell` says; nothing was removed.
    """
    expiries = too_old(objects, keeping, now=now)
    if expiries:
        tell(expiries)
    for each in expiries:
        for day in sorted(each.days):
            for kind in IN_ORDER:
                objects.remove_below(f"{kind}/{each.folder}/{day}")
            log.info("profiles are too old and gone", tenant=each.tenant, service=each.service, day=day)
    for tenant, first in {each.tenant: each.first_kept for each in expiries}.items():
        engine.expire(tenant, before=datetime.strptime(first, "%Y-%m-%d").replace(tzinfo=UTC))
    return sum(len(each.days) for each in expiries)
