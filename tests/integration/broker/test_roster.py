"""Who is at work."""

from broker import keys
from broker.connection import Broker
from broker.roster import ABSENT_AFTER, Roster
from tests.support.builders import NOW


async def test_who_has_made_a_pass_lately_is_present(broker: Broker) -> None:
    roster = Roster(broker)
    assert await roster.present(now=NOW) == {}
    await roster.sign("merger", "a", now=NOW)
    await roster.sign("merger", "b/c", now=NOW)
    await roster.sign("jobs", "a", now=NOW - 5)
    assert await roster.present(now=NOW) == {"merger": 2, "jobs": 1}


async def test_who_is_silent_is_absent(broker: Broker) -> None:
    roster = Roster(broker)
    await roster.sign("merger", "a", now=NOW)
    patience = ABSENT_AFTER.total_seconds()
    assert await roster.present(now=NOW + patience) == {"merger": 1}
    assert await roster.present(now=NOW + patience + 0.001) == {}
    await roster.sign("merger", "a", now=NOW + patience + 1)
    assert await roster.present(now=NOW + patience + 1) == {"merger": 1}


async def test_who_is_long_gone_leaves_no_name_behind(broker: Broker) -> None:
    roster = Roster(broker)
    for number in range(20):
        await roster.sign("merger", f"old-{number}", now=NOW, facts={"passes": number})
    await roster.sign("merger", "new", now=NOW + 3601)
    async with broker.guarded() as redis:
        assert await redis.zrange(keys.roles(), 0, -1) == ["merger/new"]
        assert await redis.hkeys(keys.role_facts()) == []


async def test_each_instance_is_listed_with_its_facts(broker: Broker) -> None:
    roster = Roster(broker)
    await roster.sign("projector", "b", now=NOW, facts={"behind": 3})
    await roster.sign("merger", "b", now=NOW - 60, facts={"behind": 1})
    await roster.sign("merger", "a/1", now=NOW, facts={"behind": 1, "passes": 9})
    await roster.sign("jobs", "x", now=NOW)
    listed = await roster.instances()
    assert [(each.role, each.name, each.is_present(now=NOW), each.facts) for each in listed] == [
        ("jobs", "x", True, {}),
        ("merger", "a/1", True, {"behind": 1, "passes": 9}),
        ("merger", "b", False, {"behind": 1}),
        ("projector", "b", True, {"behind": 3}),
    ]
