"""Tending stored profiles: packed, folded, gone when too old."""

from datetime import UTC, datetime, timedelta
from typing import Final

from profiles.engines import engine_of
from profiles.keeping import Keeping
from profiles.objects import Objects
from workers.settings import WorkerSettings
from workers.tending import Tender

PATIENCE: Final = timedelta(seconds=10)
"""Uploads wait behind it where there is one worker: what is not done is done at the next pass."""


def run(_turn: str) -> int:
    """The rq job. Gives how many profiles were packed."""
    settings = WorkerSettings()
    objects = Objects(settings.profiles_at)
    tender = Tender(objects, engine_of(settings, objects), Keeping.of(settings))
    return tender.tend(now=datetime.now(UTC), patience=PATIENCE).packed
