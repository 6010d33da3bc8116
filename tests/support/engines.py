"""Both engines for profiles, and profiles to put into them."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any, Final

from profiles.clickhouse import ClickHouse
from profiles.gathering import gathered
from profiles.questions import Engine, Selection
from profiles.upload import Upload, read_json

START: Final = datetime(2026, 5, 4, 10, 15, tzinfo=UTC)
HOUR: Final = timedelta(hours=1)


@cache
def clickhouse_in_this_process() -> ClickHouse:
    """ClickHouse itself, without a server: the same client runs the same SQL. A process can have but one of it."""
    return ClickHouse("chdb://memory")


@dataclass
class Shelf:
    """An engine and a tenant that no other test has."""

    engine: Engine
    tenant: str

    def add(
        self, host: str, profile: str, *, service: str = "s", at: datetime = START, tenant: str = "", **header: Any
    ) -> str:
        """Index a profile as the job does. Gives its id."""
        upload = self.upload(host, profile, service=service, at=at, tenant=tenant, **header)
        self.engine.add(gathered(upload))
        return upload.facts.profile_id

    def add_together(self, profiles: Iterable[Mapping[str, Any]]) -> None:
        """Index several at once; each is what `upload` takes."""
        self.engine.add(gathered(*(self.upload(**each) for each in profiles)))

    def upload(
        self, host: str, profile: str, *, service: str = "s", at: datetime = START, tenant: str = "", **header: Any
    ) -> Upload:
        """An upload, read."""
        body = {
            "hostname": host, "start_time": at.isoformat(), "end_time": (at + timedelta(minutes=1)).isoformat(),
            "profile": f"# {json.dumps({'format': 'collapsed', **header})}\n{profile}",
        }  # fmt: skip
        return read_json(json.dumps(body).encode(), tenant=tenant or self.tenant, service=service, now=START)

    def chosen(
        self,
        where: Mapping[str, list[str]] | None = None,
        *,
        start: datetime = START - HOUR,
        end: datetime = START + HOUR,
    ) -> Selection:
        return Selection(self.tenant, "s", start, end, where or {})

    def merged(
        self,
        where: Mapping[str, list[str]] | None = None,
        *,
        start: datetime = START - HOUR,
        end: datetime = START + HOUR,
    ) -> dict[str, int]:
        return {**self.engine.merged(self.chosen(where, start=start, end=end)).stacks}
