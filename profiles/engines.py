"""Which engine answers: files and what reads them, or a server of the user's."""

from profiles.clickhouse import ClickHouse
from profiles.embedded import Embedded
from profiles.objects import Objects
from profiles.questions import Engine
from profiles.settings import ProfileSettings


def engine_of(settings: ProfileSettings, objects: Objects) -> Engine:
    """The engine that the settings name. Nothing is connected before the first question."""
    if settings.profiles_engine is None:
        return Embedded(objects)
    return ClickHouse(settings.profiles_engine.get_secret_value())
