"""Whether a Redis deployment fits: what was found out about it, and what to do where it does not. Pure.

What a server can do is tried out, never read from its version: Valkey answers with the version of a Redis.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any, Final

ALL_SLOTS: Final = 16_384
SKEW_WARNS_S: Final = 1.0
SKEW_FAILS_S: Final = 30.0
LATENCY_WARNS_MS: Final = 5.0
LATENCY_FAILS_MS: Final = 100.0


class Verdict(StrEnum):
    """What a row comes to."""

    OK = "ok"
    WARNING = "warning"  # it works, and there is something to know
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Row:
    """One thing that was checked; `advice` is empty where all is well."""

    name: str
    verdict: Verdict
    found: str
    advice: str = ""

    def as_dict(self) -> dict[str, Any]:
        """For programs."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class NodeFacts:
    """One server that takes writes. None: it does not say (managed services refuse `CONFIG`)."""

    address: str
    skew_s: float
    maxmemory_policy: str
    keeps_a_log: bool
    fsync: str | None
    replicas: int
    needs_full_coverage: str | None
    missing: Sequence[str]
    latency_ms: float
    partitions: int


@dataclass(frozen=True, slots=True)
class Facts:
    """A deployment."""

    is_cluster: bool
    nodes: Sequence[NodeFacts]
    silent: Sequence[str]
    slots_covered: int
    is_ok: bool
    partitions_set: int
    partitions_stored: int | None
    has_queue_of_its_own: bool


def judge(facts: Facts) -> list[Row]:
    """Every row, in the order in which to read them."""
    rows = [_reachable(facts)]
    if facts.is_cluster:
        rows += [_slots(facts), _coverage(facts), _queue(facts)]
    rows += [_replicas(facts), _policy(facts), _log(facts), _fsync(facts)]
    rows += [_features(facts), _latency(facts), _clock(facts), _layout(facts), _spread(facts)]
    return rows


def fits(rows: Iterable[Row]) -> bool:
    """Whether nothing failed."""
    return all(row.verdict is not Verdict.FAILED for row in rows)


def _reachable(facts: Facts) -> Row:
    if facts.silent:
        advice = "bring them back, or let a replica take over: the hosts of their slots cannot be served"
        return Row("reachable", Verdict.FAILED, f"{_some(facts.silent)} does not answer", advice)
    kind = f"a cluster of {len(facts.nodes)} primaries" if facts.is_cluster else "one server"
    return Row("reachable", Verdict.OK, kind)


def _slots(facts: Facts) -> Row:
    found = f"{facts.slots_covered} of {ALL_SLOTS} slots have an owner"
    if facts.slots_covered == ALL_SLOTS and facts.is_ok:
        return Row("slots", Verdict.OK, found)
    found += "" if facts.is_ok else ", and the cluster says it is down"
    return Row(
        "slots", Verdict.FAILED, found, "give every slot an owner that is up: CLUSTER NODES shows who is missing"
    )


def _coverage(facts: Facts) -> Row:
    return _each(
        "full coverage", facts, lambda node: node.needs_full_coverage, good={"no"}, verdict=Verdict.WARNING,
        advice="set cluster-require-full-coverage no: else one lost shard stops the hosts of all",
    )  # fmt: skip


def _queue(facts: Facts) -> Row:
    if facts.has_queue_of_its_own:
        return Row("job queue", Verdict.OK, "PCS_RQ_URL leads elsewhere")
    advice = "set PCS_RQ_URL to a single Redis or Valkey: rq does not run on a cluster, and workers refuse to start"
    return Row("job queue", Verdict.FAILED, "PCS_RQ_URL names no single server", advice)


def _replicas(facts: Facts) -> Row:
    alone = [node.address for node in facts.nodes if node.replicas == 0]
    if not alone:
        return Row("replicas", Verdict.OK, f"at least {min(node.replicas for node in facts.nodes)} for each primary")
    advice = "give each primary a replica: submissions wait for one, and a lost machine then loses none of them"
    return Row("replicas", Verdict.WARNING, f"none follows {_some(alone)}", advice)


def _policy(facts: Facts) -> Row:
    return _each(
        "eviction", facts, lambda node: node.maxmemory_policy, good={"noeviction"}, verdict=Verdict.FAILED,
        advice="set maxmemory-policy noeviction: any other throws accepted requests away for want of memory",
    )  # fmt: skip


def _log(facts: Facts) -> Row:
    return _each(
        "append-only file", facts, lambda node: "on" if node.keeps_a_log else "off", good={"on"},
        verdict=Verdict.FAILED, advice="set appendonly yes: without it a restart forgets what was accepted",
    )  # fmt: skip


def _fsync(facts: Facts) -> Row:
    return _each(
        "fsync", facts, lambda node: node.fsync, good={"always"}, verdict=Verdict.WARNING,
        advice="set appendfsync always: any other loses the last moments of a crash, after they were answered",
    )  # fmt: skip


def _features(facts: Facts) -> Row:
    missing = sorted({f"{name} ({node.address})" for node in facts.nodes for name in node.missing})
    if not missing:
        return Row("features", Verdict.OK, "every command and script that we use works")
    advice = "use Redis 7.0 or Valkey 8.0 or newer, and let this user run these commands (ACL)"
    return Row("features", Verdict.FAILED, f"refused: {'; '.join(missing)}", advice)


def _latency(facts: Facts) -> Row:
    slowest = max(facts.nodes, key=lambda node: node.latency_ms)
    found = f"a script takes {slowest.latency_ms:.1f} ms at {slowest.address}, half of them less"
    advice = "bring API, workers and broker closer together: every heartbeat waits for one such call"
    return _graded("latency", found, slowest.latency_ms, LATENCY_WARNS_MS, LATENCY_FAILS_MS, advice)


def _clock(facts: Facts) -> Row:
    worst = max(facts.nodes, key=lambda node: abs(node.skew_s))
    found = f"{worst.address} is {abs(worst.skew_s):.1f} s {'ahead of' if worst.skew_s > 0 else 'behind'} this machine"
    advice = "keep the clocks of all servers in step (NTP): expiry and order of events are told by them"
    return _graded("clock", found, abs(worst.skew_s), SKEW_WARNS_S, SKEW_FAILS_S, advice)


def _layout(facts: Facts) -> Row:
    if facts.partitions_stored is None:
        return Row("partitions", Verdict.OK, f"no data yet; the first start lays out {facts.partitions_set}")
    if facts.partitions_stored == facts.partitions_set:
        return Row("partitions", Verdict.OK, f"laid out in {facts.partitions_stored}, as set")
    found = f"laid out in {facts.partitions_stored}, set to {facts.partitions_set}"
    return Row("partitions", Verdict.FAILED, found, f"set PCS_PARTITIONS={facts.partitions_stored}")


def _spread(facts: Facts) -> Row:
    found = ", ".join(f"{node.address}: {node.partitions}" for node in facts.nodes)
    if all(node.partitions for node in facts.nodes):
        return Row("spread", Verdict.OK, f"partitions by node: {found}")
    advice = "more partitions use every node, but their number is fixed at the first start"
    return Row("spread", Verdict.WARNING, f"a node has no partition: {found}", advice)


def _each(
    name: str,
    facts: Facts,
    value_of: Callable[[NodeFacts], str | None],
    *,
    good: set[str],
    verdict: Verdict,
    advice: str,
) -> Row:
    """A setting that every node ought to have."""
    values = {node.address: value_of(node) for node in facts.nodes}
    bad = [f"{value} ({address})" for address, value in values.items() if value is not None and value not in good]
    if bad:
        return Row(name, verdict, _some(bad), advice)
    if silent := [address for address, value in values.items() if value is None]:
        return Row(name, Verdict.WARNING, f"{_some(silent)} does not say", f"make sure yourself: {advice}")
    return Row(name, Verdict.OK, ", ".join(sorted(good)))


def _graded(name: str, found: str, value: float, warns: float, fails: float, advice: str) -> Row:
    if value < warns:
        return Row(name, Verdict.OK, found)
    return Row(name, Verdict.FAILED if value >= fails else Verdict.WARNING, found, advice)


def _some(names: Sequence[str], most: int = 4) -> str:
    further = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + further
