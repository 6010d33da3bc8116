"""Retention runs while an hour is packed, and an hour is packed while retention runs: at each change that either makes.

What is young is there once and whole at every moment; what is too old is there once or not, and in the end not.
"""

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from profiles.compacting import Compactor
from profiles.embedded import Embedded
from profiles.gathering import gathered
from profiles.keeping import Keeping, expire
from profiles.objects import Objects
from profiles.questions import Selection
from profiles.upload import read_json

YOUNG = datetime(2026, 5, 4, 0, 15, tzinfo=UTC)
OLD = YOUNG - timedelta(days=1)
"""The last day that goes."""
NOW = YOUNG + timedelta(days=7, hours=2)
KEEPING = Keeping(of_all=timedelta(days=7))
HOURS = {OLD: "t/s/2026-05-03/00", YOUNG: "t/s/2026-05-04/00"}
HOSTS = "abc"


class Site:
    """A store in which two hours wait to be packed, one of them too old."""

    def __init__(self, url: str) -> None:
        self.url = url
        for at in HOURS:
            for host in HOSTS:
                body = {"hostname": host, "start_time": at.isoformat(), "end_time": at.isoformat(), "profile": "m;w 3"}
                upload = read_json(json.dumps(body).encode(), tenant="t", service="s", now=at)
                Embedded(Objects(url)).add(gathered(upload))

    def pack(self, objects: Objects | None = None) -> None:
        """Both hours, and clear them as if nobody were reading."""
        for place in HOURS.values():
            for _ in range(2):
                compactor = Compactor(objects or Objects(self.url), still_read=timedelta(0))
                compactor.tend(place, now=datetime.now(UTC) + timedelta(seconds=1))

    def expire(self, objects: Objects | None = None) -> None:
        objects = objects or Objects(self.url)
        expire(objects, Embedded(objects), KEEPING, now=NOW, tell=lambda _: None)

    def check(self, *, old: int | None = None) -> None:
        """`old`: how many of the old profiles there must be."""
        for at in HOURS:
            merged = Embedded(Objects(self.url)).merged(Selection("t", "s", at, at + timedelta(hours=1)))
            assert sum(merged.stacks.values()) == 3 * merged.profiles
            assert merged.profiles == merged.hosts <= len(HOSTS)
            wanted = len(HOSTS) if at == YOUNG else old
            assert wanted in {None, merged.profiles}, at


def interrupted(objects: Objects, at: int, meanwhile: Callable[[], None], monkeypatch: pytest.MonkeyPatch) -> Any:
    """Have something else done before a change of the store. Gives whether it came to that."""
    numbers = count()
    done = []

    def changing(change: Callable[..., Any]) -> Callable[..., Any]:
        def called(*given: Any) -> Any:
            if next(numbers) == at:
                done.append(at)
                meanwhile()
            return change(*given)

        return called

    for name in ("write", "remove", "remove_below"):
        monkeypatch.setattr(objects, name, changing(getattr(objects, name)))
    return lambda: bool(done)


@pytest.mark.parametrize("first", ["pack", "expire"])
def test_at_any_change_of_the_one_the_other_may_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, first: str
) -> None:
    for at in count():
        site = Site(f"memory:/{tmp_path / first / str(at)}")
        one, other = (site.pack, site.expire) if first == "pack" else (site.expire, site.pack)

        def meanwhile(other: Callable[[], None] = other, site: Site = site) -> None:
            other()
            site.check()

        objects = Objects(site.url)
        came_to_it = interrupted(objects, at, meanwhile, monkeypatch)
        one(objects)
        site.expire()
        site.pack()
        site.check(old=0)
        if not came_to_it():
            break
    assert at >= 3
