"""Where a host's keys are: one partition, one hash tag."""

import binascii
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker import keys
from broker.keys import Place
from protocol.names import HostKey
from tests.support.builders import a_host

NAMES = st.text(st.characters(exclude_categories=["Cc", "Cs"]), min_size=1, max_size=40)
OF_A_HOST = (keys.requests, keys.open_requests, keys.command, keys.history, keys.late, keys.host)
OF_A_PARTITION = (
    keys.beats, keys.deadlines, keys.doorbell, keys.results, keys.events, keys.audit, keys.audit_chain,
    keys.dead_letters, keys.nudge,
)  # fmt: skip


def test_the_checksum_is_the_one_redis_cluster_uses_for_slots() -> None:
    assert binascii.crc_hqx(b"123456789", 0) == 0x31C3


@given(st.builds(HostKey, NAMES, NAMES, NAMES), st.integers(1, 4096))
def test_a_host_has_one_place_and_its_keys_say_where(host: HostKey, partitions: int) -> None:
    at = keys.place(host, partitions)
    assert 0 <= at.partition < partitions
    assert at == keys.place(HostKey(*host), partitions)
    assert at.host_key == host
    for key in [*(builder(at) for builder in OF_A_HOST), *(builder(at.partition) for builder in OF_A_PARTITION)]:
        tag = re.search(r"\{(.*?)\}", key)
        assert tag is not None
        assert tag[1] == str(at.partition), "a host's keys and its partition's share one slot"


def test_hosts_are_spread_over_the_partitions() -> None:
    counts = [0] * 16
    for number in range(4_000):
        counts[keys.place(a_host(f"web-{number:04}"), 16).partition] += 1
    assert min(counts) > 150
    assert max(counts) < 350


def test_no_two_builders_share_a_key() -> None:
    at = Place(3, a_host().path)
    built = [*(builder(at) for builder in OF_A_HOST), *(builder(3) for builder in OF_A_PARTITION)]
    built += [keys.submitted(3, "r", "0.0"), keys.request("r"), keys.request_hosts("r"), keys.command_owner("r")]
    built += [keys.idempotency("t", "i", "k"), keys.token("d"), keys.token_ids(), keys.asked_jobs()]
    built += [keys.roles(), keys.layout(), keys.rollout("r"), keys.turns("r"), keys.joined("r"), keys.unsent("r")]
    built += [keys.open_rollouts(), keys.standing_requests(), keys.sampled("t", "s"), keys.withdrawn(3, "r")]
    built += [keys.schedule("s"), keys.schedule_firings("s"), keys.schedules_of("t"), keys.schedules_due()]
    built += [keys.firings_taken(), keys.tokens_of("t"), keys.token_changes(), keys.tokens_used()]
    built += [keys.tenants(), keys.enrolments(), keys.bound_tokens(), keys.conflict(at)]
    built += [keys.role_facts(), keys.archive_heads(), keys.lease("archiver"), keys.replayed(3, "1-1")]
    built += [keys.request_ended("r"), keys.request_notified("r"), keys.outbox("h"), keys.request_rebuilt("r")]
    built += [keys.window("l/t"), keys.window_before("l/t")]
    assert len(set(built)) == len(built)
    assert all(key.startswith(keys.PREFIX) for key in built)


@pytest.mark.parametrize("other", [("t2", "id", "key"), ("t", "id2", "key"), ("t", "id", "key2"), ("t", "i", "dkey")])
def test_an_idempotency_key_belongs_to_one_token_of_one_tenant(other: tuple[str, str, str]) -> None:
    assert keys.idempotency("t", "id", "key") != keys.idempotency(*other)


def test_an_idempotency_key_is_stored_as_a_digest() -> None:
    assert "my-secret-key" not in keys.idempotency("t", "id", "my-secret-key")
