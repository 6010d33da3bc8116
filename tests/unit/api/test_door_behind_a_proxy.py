"""Through a proxy, calls are met at the door for whom they are: the client, where the proxy is believed."""

from collections import Counter
from collections.abc import Sequence

import pytest

from api import problems
from api.accompany import Accompany
from api.buckets import Buckets
from api.door import REFUSED_AT_ONCE
from broker.quotas import Quota
from tests.support.doors import AUTHORIZATION, WAITING, Site, call, codes, opened
from tests.support.serving import served
from tests.support.two_ways import PATH


def from_(address: str, token: bytes = b"pcs_1") -> bytes:
    return call(AUTHORIZATION % token + b"X-Forwarded-For: %b\r\n" % address.encode())


@pytest.mark.parametrize(
    ("proxies", "of_two_addresses", "addresses"),
    [("127.0.0.0/8", [401, 401, 401, 401, 429, 401], 5), ("10.0.0.1", [401, 401, 429, 429, 429, 429], 1)],
    ids=["one that is believed", "one that is not"],
)
async def test_calls_through_a_proxy_are_told_at_the_door_as_inside(
    site: Site, monkeypatch: pytest.MonkeyPatch, proxies: str, of_two_addresses: Sequence[int], addresses: int
) -> None:
    calls = [
        from_("192.0.2.1", b"agent"), from_("192.0.2.1"), from_("192.0.2.1, 127.0.0.3"), from_("192.0.2.2"),
        *(from_(address, b"pcs_%d" % number) for number in (2, 3, 4) for address in ("192.0.2.3", "192.0.2.4")),
        from_(""), from_("192.0.2.2", b"agent"),
    ]  # fmt: skip
    async with opened(has_door=False) as other:
        told = []
        for one in (site, other):
            monkeypatch.setattr(problems, "_lines", Buckets(Quota(100, 10)))
            monkeypatch.setattr(problems, "_unsaid", Counter())
            async with served(Accompany(one, [PATH]), door=one.door, trusted_proxies=proxies) as one.port:
                answers = await one.talk(*calls, answers=len(calls))
            await one.way.refusals.write()
            acts = [(act.code, act.address, act.count) for act in one.way.trail.acts]
            told.append(([WAITING.sub(b"", each) for each in answers], acts, len(one.way.store.beats)))
    assert told[0] == told[1]
    assert codes(told[0][0]) == [200, *[401] * 3, *of_two_addresses, 401, 200]
    assert len({address for _, address, _ in told[0][1]}) == addresses
    assert len(site.inside) < len(other.inside), "most were met at the door"


async def test_nobody_waits_behind_a_proxy_for_the_refusals_of_others(
    site: Site, parsed: list[bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("api.door.LATER_SECONDS", 60.0)
    async with served(Accompany(site, [PATH]), door=site.door, trusted_proxies="127.0.0.1") as site.port:
        await site.talk(from_("192.0.2.1", b"agent"))
        site.inside.clear()
        parsed.clear()
        flood = [from_("192.0.2.1").replace(b"X-Request-Id: mine\r\n", b"")] * (REFUSED_AT_ONCE + 3)
        answers = await site.talk(*flood, from_("192.0.2.2", b"agent"), answers=len(flood) + 1)
    assert codes(answers) == [401] * len(flood) + [200]
    assert site.inside == [PATH], "the first was looked up"
    assert len(parsed) == len(flood) + 1, "whose call it is stands in its head"
