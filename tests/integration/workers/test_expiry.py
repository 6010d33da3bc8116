"""Profiles that go for their age are in the audit trail of whose they are, and nobody else's, before they go."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

from broker.audit import AuditTrail
from broker.connection import Broker
from profiles.embedded import Embedded
from profiles.gathering import gathered
from profiles.keeping import Keeping
from profiles.objects import Objects
from profiles.questions import Selection
from profiles.shelves import Envelope, RawUploads
from profiles.upload import read_json
from workers.retention import EXPIRED, FOLDED, tended

START = datetime(2026, 5, 4, 10, 15, tzinfo=UTC)
NOW = START + timedelta(days=10)
OLD = ((("short", "web shop"), START), (("short", "web shop"), START + timedelta(days=1)), (("ever", "db"), START))


async def test_what_goes_for_its_age_is_audited_by_tenant_and_service(broker: Broker, tmp_path: Path) -> None:
    objects = Objects(str(tmp_path))
    engine = Embedded(objects)
    for (tenant, service), at in (*OLD, (("short", "web shop"), NOW)):
        when = at.isoformat()
        body = {"hostname": "a", "start_time": when, "end_time": when, "profile": "main 1"}
        engine.add(gathered(read_json(json.dumps(body).encode(), tenant=tenant, service=service, now=at)))
    keeping = Keeping(of_tenant={"short": timedelta(days=7)})
    for expired in (2, 0):
        done = await tended(broker, objects, engine, keeping, now=NOW, patience=timedelta(minutes=1))
        assert (done.expired_days, done.failed) == (expired, [])
    told = {tenant: [fields async for _, fields in AuditTrail(broker).records(tenant)] for tenant in ("short", "ever")}
    of_expiry = {tenant: [each for each in fields if each["action"] == EXPIRED] for tenant, fields in told.items()}
    ours = [each for each in of_expiry["short"] if each["tenant"] == "short"]
    assert [(each["service"], each["outcome"], each["actor"]) for each in ours] == [
        ("web shop", "accepted", "retention")
    ]
    assert json.loads(ours[0]["before"]) == {"days": 2, "first_day": "2026-05-04", "last_day": "2026-05-05"}
    assert json.loads(ours[0]["after"]) == {"first_day_kept": "2026-05-07"}
    assert not [each for each in of_expiry["ever"] if each["tenant"] == "ever"]

    def there(tenant: str, service: str, at: datetime) -> int:
        hour = Selection(tenant, service, at - timedelta(hours=1), at + timedelta(hours=1))
        return len(engine.profiles(hour, after="", most=9))

    assert [there(*whose, at) for whose, at in OLD] == [0, 0, 1]
    assert there("short", "web shop", NOW) == 1


async def test_what_is_folded_is_audited_by_tenant_and_service(broker: Broker, tmp_path: Path) -> None:
    objects = Objects(str(tmp_path))
    engine = Embedded(objects)
    for tenant, service, hour in (("one", "web shop", 0), ("one", "web shop", 1), ("two", "db", 0)):
        for host in ("a", "b"):
            at = START + timedelta(hours=hour)
            when = at.isoformat()
            body = {"hostname": host, "start_time": when, "end_time": when, "profile": "main;work 99\nmain;rare 1"}
            content = json.dumps(body).encode()
            upload = read_json(content, tenant=tenant, service=service, now=at)
            envelope = Envelope(tenant, service, host, "agent", False, when, when, when)
            RawUploads(objects).keep(upload.facts.profile_id, envelope, content)
            engine.add(gathered(upload))
    keeping = Keeping(fold_after=timedelta(days=7), fold_below=0.1)
    for folded in (3, 0):
        done = await tended(broker, objects, engine, keeping, now=NOW, patience=timedelta(minutes=1), since=START)
        assert (done.folded, done.failed) == (folded, [])
    found = {tenant: [fields async for _, fields in AuditTrail(broker).records(tenant)] for tenant in ("one", "two")}
    told = {
        tenant: [each for each in fields if (each["action"], each["tenant"]) == (FOLDED, tenant)]
        for tenant, fields in found.items()
    }
    assert {tenant: [(each["service"], each["actor"]) for each in fields] for tenant, fields in told.items()} == {
        "one": [("web shop", "retention")], "two": [("db", "retention")],
    }  # fmt: skip
    assert json.loads(told["one"][0]["before"]) == {
        "first_hour": "2026-05-04T10Z", "last_hour": "2026-05-04T11Z", "hours": 2, "uploads": 4,
    }  # fmt: skip
    assert json.loads(told["two"][0]["before"])["uploads"] == 2
    assert json.loads(told["one"][0]["after"]) == {"folded_below": 0.1}
