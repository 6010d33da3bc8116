"""Kill -9 at each change of the disk that packing, folding and retention make: no profile is lost or counted twice."""

import json
import shutil
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path

import pytest

from profiles.embedded import Embedded
from profiles.folding import FOLDED
from profiles.gathering import gathered
from profiles.objects import Objects
from profiles.questions import Selection
from profiles.shelves import RAW, SAMPLES, Envelope, RawUploads
from profiles.upload import Upload, read_json
from tests.support.mortal_indexers import expire_and_pack, fold_what_is_old, killed_at

START = datetime(2026, 5, 4, 10, 15, tzinfo=UTC)
NOW = START + timedelta(hours=2)
OLD = START - timedelta(days=9)
KEEP = timedelta(days=7)
HERE = "t/s/2026-05-04/10"
PACKED, LOOSE = "abcd", "efgh"
HOSTS = PACKED + LOOSE
"""Both become packs, and then one."""


def store_in(folder: Path) -> None:
    """An hour with a pack and profiles of their own beside it, and one that is too old."""
    engine = Embedded(Objects(str(folder)))
    for at, hosts in ((START, PACKED), *((START, host) for host in LOOSE), (OLD, "x"), (OLD, "y")):
        engine.add(gathered(*(upload(host, at) for host in hosts)))


def upload(host: str, at: datetime) -> Upload:
    when = at.isoformat()
    body = {"hostname": host, "start_time": when, "end_time": when, "profile": f"main;shared 5\nmain;own;{host} 2"}
    return read_json(json.dumps(body).encode(), tenant="t", service="s", now=at)


def check(folder: Path) -> None:
    """Each of the young is there once and whole."""
    many = len(HOSTS)
    found = Embedded(Objects(str(folder))).merged(hour(START))
    assert (found.profiles, found.hosts) == (many, many)
    assert found.stacks == {"main;shared": 5 * many} | {f"main;own;{host}": 2 for host in HOSTS}


def check_old(folder: Path) -> None:
    """Those that are too old are there once, or no more."""
    found = Embedded(Objects(str(folder))).merged(hour(OLD))
    assert found.profiles == found.hosts <= 2
    assert sum(found.stacks.values()) == 7 * found.profiles


def check_old_counts(folder: Path, many: int) -> None:
    """Each of the old is there once, with all its samples, folded or not."""
    objects = Objects(str(folder))
    engine = Embedded(objects)
    assert [each.samples for each in engine.profiles(hour(OLD), after="", most=99)] == [7] * many
    merged = engine.merged(hour(OLD))
    assert (merged.profiles, sum(merged.stacks.values())) == (many, 7 * many)
    assert sum(count for stack, count in merged.stacks.items() if stack.startswith("main;")) == 7 * many


def hour(at: datetime) -> Selection:
    return Selection("t", "s", at - timedelta(hours=1), at + timedelta(hours=1))


@pytest.mark.chaos
@pytest.mark.timeout(300)
def test_whoever_packs_and_removes_is_killed_at_each_change_of_the_disk_and_nothing_is_lost_or_twice(
    tmp_path: Path,
) -> None:
    store_in(tmp_path / "as it was")
    for at in count():
        folder = tmp_path / str(at)
        shutil.copytree(tmp_path / "as it was", folder)
        was_killed = killed_at(at, expire_and_pack, HERE, str(folder), KEEP, NOW)
        check(folder)
        check_old(folder)
        expire_and_pack(HERE, str(folder), KEEP, NOW)  # the next pass
        check(folder)
        assert not [*folder.glob(f"*/t/s/{OLD:%Y-%m-%d}")], "what is too old is gone"
        assert len([*Objects(str(folder)).names(f"{SAMPLES}/{HERE}")]) == 1, "one pack has all"
        if not was_killed:
            break
    assert at > 12, "there are more changes than that: nobody was killed"


@pytest.mark.chaos
@pytest.mark.timeout(300)
def test_whoever_folds_is_killed_at_each_change_of_the_disk_and_every_sample_counts(tmp_path: Path) -> None:
    store_in(tmp_path / "as it was")
    objects = Objects(str(tmp_path / "as it was"))
    when = OLD.isoformat()
    for host in "xy":
        made = upload(host, OLD)
        RawUploads(objects).keep(
            made.facts.profile_id, Envelope("t", "s", host, "agent", False, when, when, when), b"{}"
        )
    raw = f"{RAW}/t/s/{OLD:%Y-%m-%d/%H}"
    folding = (timedelta(days=8), 0.3, NOW)
    for at in count():
        folder = tmp_path / str(at)
        shutil.copytree(tmp_path / "as it was", folder)
        was_killed = killed_at(at, fold_what_is_old, str(folder), *folding)
        check(folder)
        check_old_counts(folder, 2)
        fold_what_is_old(str(folder), *folding)  # the next pass
        check(folder)
        check_old_counts(folder, 2)
        assert set(Embedded(Objects(str(folder))).merged(hour(OLD)).stacks) == {"main;shared", f"main;{FOLDED}"}
        assert not [*Objects(str(folder)).names(raw)]
        if not was_killed:
            break
    assert at > 8, "there are more changes than that: nobody was killed"
