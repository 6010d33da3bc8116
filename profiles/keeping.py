"""How long profiles are kept."""

from collections.abc import Mapping
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


def expire(objects: Objects, engine: Engine, keeping: Keeping, *, now: datetime) -> int:
    """Remove whole days that are too old. Gives how many days of services.

    Raises:
        OSError: the store does not answer.
    """
    gone = 0
    for tenant in {name for kind in IN_ORDER for name in objects.names(kind)}:
        first = keeping.first_day(unquote(tenant), now=now)
        if not first:
            continue
        old = {
            f"{service}/{day}"
            for kind in IN_ORDER
            for service in objects.names(f"{kind}/{tenant}")
            for day in objects.names(f"{kind}/{tenant}/{service}")
            if day < first
        }
        for place in sorted(old):
            for kind in IN_ORDER:
                objects.remove_below(f"{kind}/{tenant}/{place}")
            log.info("profiles are too old and gone", tenant=unquote(tenant), day=place)
        if old:
            engine.expire(unquote(tenant), before=datetime.strptime(first, "%Y-%m-%d").replace(tzinfo=UTC))
        gone += len(old)
    return gone
