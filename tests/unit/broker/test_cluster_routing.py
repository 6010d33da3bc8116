"""Where a command goes on a cluster, and how a URL names one."""

import binascii
import traceback

import pytest
from pydantic import SecretStr

from broker.cluster import key_of
from broker.errors import BadClusterUrl, NoQueueOnCluster
from broker.settings import BrokerSettings, node_urls
from broker.slot_map import Node, slot_of, view
from workers.settings import WorkerSettings

ASKED = Node("asked", 7000)


@pytest.mark.parametrize(
    ("command", "key"),
    [
        (("HSET", "k", "a", "STREAMS"), "k"),
        (("EVALSHA", "sha", 2, "k", "l", "arg"), "k"),
        (("EVAL", "return 1", 0, "arg"), None),
        (("XGROUP CREATE", "k", "STREAMS", "0"), "k"),
        (("XREADGROUP", b"GROUP", "STREAMS", "STREAMS", b"COUNT", 5, b"STREAMS", "k", ">"), "k"),
        (("XREAD", b"STREAMS", "k", "0"), "k"),
        (("GET", b"k"), b"k"),
        (("INFO", "replication"), None),
    ],
)
def test_a_command_goes_where_its_first_key_is(command: tuple[object, ...], key: str | bytes | None) -> None:
    assert key_of(command) == key


def test_a_command_without_a_key_is_not_sent_just_anywhere() -> None:
    with pytest.raises(ValueError, match="FLUSHALL names no key"):
        key_of(("FLUSHALL",))


@pytest.mark.parametrize(
    ("key", "hashed"),
    [("pcs:{7}:beats", "7"), ("plain", "plain"), ("{}x", "{}x"), ("a{b}{c}", "b"), ("open{x", "open{x"), (b"{7}", "7")],
)
def test_what_stands_in_the_first_braces_decides_the_slot(key: str | bytes, hashed: str) -> None:
    assert slot_of(key) == binascii.crc_hqx(hashed.encode(), 0) % 16_384


def test_the_specified_example_has_the_specified_checksum() -> None:
    assert slot_of("123456789") == 0x31C3 % 16_384


def test_a_node_that_does_not_know_its_own_address_is_reached_where_it_was_asked() -> None:
    rows = [[0, 2, [None, 7000, "id"], ["", 7001, "id"]], [3, 3, ["?", 7002, "id"]], [4, 4, ["named", 7003, "id", []]]]
    seen = view({"cluster_state": "ok", "cluster_current_epoch": "9"}, rows, asked=ASKED)
    owners = [seen.owners[slot] for slot in range(5)]
    assert owners == [ASKED, ASKED, ASKED, Node("asked", 7002), Node("named", 7003)]
    assert seen.replicas[ASKED] == (Node("asked", 7001),)
    assert (seen.is_ok, seen.epoch) == (True, 9)


def test_a_url_may_name_several_nodes_and_keeps_its_options_for_each() -> None:
    assert node_urls("rediss+cluster://me:s%40c@a:7000,b,[::1]:7002/0?ssl_cert_reqs=none") == (
        "rediss://me:s%40c@a:7000?ssl_cert_reqs=none",
        "rediss://me:s%40c@b?ssl_cert_reqs=none",
        "rediss://me:s%40c@[::1]:7002?ssl_cert_reqs=none",
    )


@pytest.mark.parametrize(
    "url",
    [
        "redis+cluster://:s3cret@",
        "redis+cluster://:s3cret@a:7000,",
        "redis+cluster://:s3cret@a:port",
        "redis+cluster://:s3cret@a:0",
        "redis+cluster://:s3cret@a:70000",
        "redis+cluster://:s3cret@a/3",
    ],
)
def test_a_url_that_names_no_cluster_is_refused_without_its_secrets(url: str) -> None:
    with pytest.raises(BadClusterUrl) as caught:
        node_urls(url)
    assert "s3cret" not in "".join(traceback.format_exception_only(caught.value))


def test_a_cluster_is_told_by_the_scheme_alone() -> None:
    assert BrokerSettings(redis_url=SecretStr("redis+cluster://a")).is_cluster
    assert not BrokerSettings(redis_url=SecretStr("redis://a/0")).is_cluster
    assert not BrokerSettings().is_cluster


def test_rq_on_a_cluster_needs_a_server_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PCS_REDIS_URL", "redis+cluster://:s3cret@a:7000")
    with pytest.raises(NoQueueOnCluster, match="PCS_RQ_URL") as caught:
        _ = WorkerSettings().job_queue_url
    assert "s3cret" not in str(caught.value)
    monkeypatch.setenv("PCS_RQ_URL", "redis+cluster://a:7000")
    with pytest.raises(NoQueueOnCluster):
        _ = WorkerSettings().job_queue_url
    monkeypatch.setenv("PCS_RQ_URL", "redis://jobs/0")
    assert WorkerSettings().job_queue_url == "redis://jobs/0"
