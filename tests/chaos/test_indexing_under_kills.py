"""Kill who indexes and who packs at any moment, hundreds of times if asked: no profile is lost, none is counted twice.

`PCS_CHAOS_ROUNDS` says how often, `PCS_CHAOS_SEED` repeats what was drawn; the moments are the machine's.
"""

import asyncio
import json
import os
import random
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from broker.connection import Broker
from broker.settings import BrokerSettings
from broker.uploads import Uploads
from profiles.embedded import Embedded
from profiles.objects import Objects
from profiles.questions import LOST, Selection
from profiles.shelves import Envelope, RawUploads
from profiles.upload import read_json
from tests.support.mortal_indexers import at_work, index_without_end, tend_without_end

ROUNDS = int(os.environ.get("PCS_CHAOS_ROUNDS", "5"))
SEED = int(os.environ.get("PCS_CHAOS_SEED", str(random.SystemRandom().randrange(10**6))))
EACH = 30
"""Uploads a round: some become packs, the last few of them files of their own."""
START = datetime(2026, 5, 4, 10, 15, tzinfo=UTC)
HERE = "t/s/2026-05-04/10"
WHOLE = Selection("t", "s", START - timedelta(hours=1), START + timedelta(hours=1))


class Site:
    """A store, and what is announced in it."""

    def __init__(self, broker: Broker, folder: str) -> None:
        self._uploads = Uploads(broker)
        self._objects = Objects(folder)
        self._raw = RawUploads(self._objects)
        self.sent: set[str] = set()

    async def upload(self, number: int) -> None:
        """Stored and announced, as the API does it."""
        host = f"h{number}"
        stacks = "\n".join([f"main;shared;f{line} 1" for line in range(20)] + [f"main;own;{host} 5"])
        body = {"hostname": host, "start_time": START.isoformat(), "end_time": START.isoformat(), "profile": stacks}
        content = json.dumps(body).encode()
        facts = read_json(content, tenant="t", service="s", now=START).facts
        when = START.isoformat()
        path = self._raw.keep(facts.profile_id, Envelope("t", "s", host, "agent", False, when, when, when), content)
        await self._uploads.announce(facts.host, path)
        self.sent.add(host)

    def check(self) -> list[str]:
        """Nothing is counted twice, and what is there is there whole. Gives whose profiles there are."""
        engine = Embedded(self._objects)
        found = engine.profiles(WHOLE, after="", most=100_000)
        hosts = [each.host for each in found]
        assert sorted(hosts) == sorted(set(hosts))
        assert {each.samples for each in found} <= {25}
        merged = engine.merged(WHOLE)
        assert merged.profiles == len(hosts)
        assert sum(merged.stacks.values()) == 25 * len(hosts)
        assert LOST not in merged.stacks
        assert {stack for stack in merged.stacks if ";own;" in stack} == {f"main;own;{host}" for host in hosts}
        return hosts

    async def are_all_there(self) -> bool:
        return (await self._uploads.lag()).behind == 0 and set(self.check()) == self.sent


@pytest.mark.chaos
@pytest.mark.timeout(120 + 10 * ROUNDS)
async def test_whoever_is_killed_while_indexing_and_packing_each_profile_is_there_once(
    broker: Broker, broker_settings: BrokerSettings, tmp_path: Path
) -> None:
    dice = random.Random(SEED)
    site = Site(broker, str(tmp_path))
    works = (index_without_end, (broker_settings, str(tmp_path))), (tend_without_end, (HERE, str(tmp_path)))
    story = [f"PCS_CHAOS_SEED={SEED}"]
    for turn in range(ROUNDS):
        for number in range(EACH):
            await site.upload(turn * EACH + number)
            if dice.random() < 0.2:
                await site.upload(dice.randrange(turn * EACH + number + 1))  # an answer was lost
        with at_work(*works, works[0]):
            await asyncio.sleep(dice.uniform(0, 0.8))
        story.append(f"round {turn}: {len(site.check())} of {len(site.sent)}")
    print("\n".join(story))
    with at_work(*works):
        for _ in range(900):
            await asyncio.sleep(0.1)
            if (await Uploads(broker).lag()).behind == 0:
                break
    story.append(f"at the end: {await Uploads(broker).lag()}, not there: {site.sent.difference(site.check())}")
    assert await site.are_all_there(), "\n".join(story)
    with at_work(works[1]):
        await asyncio.sleep(1)
    assert await site.are_all_there(), "\n".join(story)
