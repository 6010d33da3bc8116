"""What is said of a deployment: every row, good and bad, with advice wherever something is to be done."""

from dataclasses import replace
from typing import Any

import pytest

from broker.fitness import ALL_SLOTS, Facts, NodeFacts, Verdict, fits, judge

NODE = NodeFacts(
    address="a:7000", skew_s=0.1, maxmemory_policy="noeviction", keeps_a_log=True, fsync="always", replicas=1,
    needs_full_coverage="no", missing=(), latency_ms=0.5, partitions=6,
)  # fmt: skip
GOOD = Facts(
    is_cluster=True, nodes=(NODE, replace(NODE, address="b:7000")), silent=(), slots_covered=ALL_SLOTS, is_ok=True,
    partitions_set=16, partitions_stored=16, has_queue_of_its_own=True,
)  # fmt: skip


def test_a_good_cluster_fits_and_nothing_is_advised() -> None:
    rows = judge(GOOD)
    assert fits(rows)
    assert {(row.verdict, row.advice) for row in rows} == {(Verdict.OK, "")}
    assert len({row.name for row in rows}) == len(rows) == 13


def test_one_server_is_not_asked_about_slots() -> None:
    rows = judge(replace(GOOD, is_cluster=False, has_queue_of_its_own=False))
    assert fits(rows)
    assert not {"slots", "full coverage", "job queue"} & {row.name for row in rows}


@pytest.mark.parametrize(
    ("name", "of_a_node", "advice"),
    [
        ("eviction", {"maxmemory_policy": "allkeys-lru"}, "noeviction"),
        ("append-only file", {"keeps_a_log": False}, "appendonly yes"),
        ("features", {"missing": ("Lua scripts: NOPERM",)}, "Redis 7.0"),
        ("latency", {"latency_ms": 250.0}, "closer"),
        ("clock", {"skew_s": -31.0}, "NTP"),
    ],
)
def test_what_one_node_fails_in_fails_the_deployment(name: str, of_a_node: dict[str, Any], advice: str) -> None:
    rows = judge(replace(GOOD, nodes=(NODE, replace(NODE, address="bad:1", **of_a_node))))
    failed = [row for row in rows if row.verdict is Verdict.FAILED]
    assert [row.name for row in failed] == [name]
    assert "bad:1" in failed[0].found
    assert advice in failed[0].advice
    assert not fits(rows)


@pytest.mark.parametrize(
    ("name", "of_a_node", "advice"),
    [
        ("replicas", {"replicas": 0}, "replica"),
        ("fsync", {"fsync": "everysec"}, "always"),
        ("fsync", {"fsync": None}, "make sure yourself"),
        ("full coverage", {"needs_full_coverage": "yes"}, "cluster-require-full-coverage no"),
        ("latency", {"latency_ms": 9.0}, "closer"),
        ("clock", {"skew_s": 2.0}, "NTP"),
        ("spread", {"partitions": 0}, "first start"),
    ],
)
def test_what_is_worth_knowing_is_a_warning_and_fits(name: str, of_a_node: dict[str, Any], advice: str) -> None:
    rows = judge(replace(GOOD, nodes=(NODE, replace(NODE, address="odd:1", **of_a_node))))
    warned = [row for row in rows if row.verdict is not Verdict.OK]
    assert [(row.name, row.verdict) for row in warned] == [(name, Verdict.WARNING)]
    assert advice in warned[0].advice
    assert fits(rows)


@pytest.mark.parametrize(
    ("name", "of_all", "advice"),
    [
        ("slots", {"slots_covered": ALL_SLOTS - 1}, "CLUSTER NODES"),
        ("slots", {"is_ok": False}, "CLUSTER NODES"),
        ("reachable", {"silent": ("c:7000",)}, "bring them back"),
        ("job queue", {"has_queue_of_its_own": False}, "PCS_RQ_URL"),
        ("partitions", {"partitions_stored": 32}, "PCS_PARTITIONS=32"),
    ],
)
def test_what_the_deployment_fails_in_is_told(name: str, of_all: dict[str, Any], advice: str) -> None:
    rows = judge(replace(GOOD, **of_all))
    failed = [row for row in rows if row.verdict is Verdict.FAILED]
    assert [row.name for row in failed] == [name]
    assert advice in failed[0].advice


def test_a_long_list_of_nodes_is_cut() -> None:
    nodes = [replace(NODE, address=f"n{number}:1", replicas=0) for number in range(9)]
    found = next(row.found for row in judge(replace(GOOD, nodes=nodes)) if row.name == "replicas")
    assert found == "none follows n0:1, n1:1, n2:1, n3:1 and 5 more"
