"""Fields that are wrong: each is refused by name, and not one key in the broker changes."""

import base64
import json
import math
from collections.abc import Iterable, Iterator
from typing import Any

import pytest

from protocol.requests import NOT_YET, OUR_CONFIG_KEYS
from tests.support.api import BULK, COMPLETION, HEARTBEAT, HOST_STATUS, REQUEST, TOKENS, WORKLOAD_STATUS, Api
from tests.support.refusals import MISSING, Bad, changed, check_refused

A_REQUEST = {"service_name": "web", "command_type": "start", "duration": 60, "target_hostnames": ["web-01"]}
A_STOP = {"service_name": "web", "command_type": "stop", "target_hostnames": ["web-01"]}
A_BEAT = {"ip_address": "10.0.0.1", "hostname": "web-01", "service_name": "web", "status": "active"}
A_COMPLETION = {"command_id": "c-1", "hostname": "web-01", "service_name": "web", "status": "completed"}
A_TOKEN = {"kind": "agent", "services": ["web"]}
LONG = "x" * 257
LISTS = (
    HOST_STATUS, WORKLOAD_STATUS, "/api/v1/commands", "/api/v1/hosts", "/api/v1/requests", "/api/v1/schedules",
    "/api/v1/dead_letters", "/api/v1/audit", "/api/v1/audit/chain", TOKENS,
)  # fmt: skip
OF_NO_SERVICE = ("/api/v1/audit/chain", TOKENS)


def a_cursor(*said: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(said).encode()).rstrip(b"=").decode()


NO_CURSORS: dict[str, str] = {
    "a text": "x",
    "as it used to be": "5:a",
    "no base64": "²",
    "no JSON": base64.urlsafe_b64encode(b"[1,").decode(),
    "no list": a_cursor()[:-2] + "fQ",
    "empty": a_cursor(),
    "of no order": a_cursor("x", 1, "a"),
    "without a position": a_cursor("partition"),
    "of texts for numbers": a_cursor("partition", "1", "a"),
    "negative": a_cursor("partition", -1, "a"),
    "beyond 64 bits": a_cursor("partition", 10**19, "a"),
    "true for a number": a_cursor("partition", True, "a"),
    "a lone surrogate": a_cursor("partition", 1, "\ud800"),
    "deeply nested": base64.urlsafe_b64encode(b"[" * 5_000).decode().rstrip("="),
    "17 KiB": "a" * 17 * 1024,
}

NO_NAMES: dict[str, Any] = {
    "missing": MISSING,
    "null": None,
    "empty": "",
    "blank": " \t ",
    "a number": 7,
    "a list": ["web"],
    "with NUL": "we\0b",
    "with a line feed": "web\n",
    "a lone surrogate": "we\ud800b",
    "257 characters": LONG,
}
NO_COUNTS: dict[str, Any] = {
    "zero": 0,
    "minus one": -1,
    "a text": "x",
    "digits in a text": "60",
    "10^9": 10**9,
    "10^30": 10**30,
    "true": True,
    "a fraction": 1.5,
    "a float": 60.0,
    "infinite": math.inf,
    "a list": [60],
    "an object": {},
}
NO_IDS: dict[str, Any] = {"empty": "", "a number": 7, "129 characters": "c" * 129, "a lone surrogate": "\udc00"}
NO_PIDS: dict[str, tuple[Any, str]] = {
    "none": ([], "pids"),
    "1,001 of them": (list(range(1, 1_002)), "pids"),
    "no list": (7, "pids"),
    "a text": ("7", "pids"),
    "zero": ([0], "pids.0"),
    "minus one": ([1, -1], "pids.1"),
    "10^18": ([10**18], "pids.0"),
    "a text in it": (["7"], "pids.0"),
    "true": ([True], "pids.0"),
    "a fraction": ([1.5], "pids.0"),
    "null in it": ([None], "pids.0"),
}


def infinite_is_no_json(values: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """`Infinity` does not parse: a test of bodies, not of fields."""
    return ((name, value) for name, value in values.items() if value is not math.inf)


def bad_request(name: str, *fields: str, good: dict[str, Any] = A_REQUEST, **changes: Any) -> Bad:
    return Bad(name, REQUEST, fields, content=changed(good, changes))


def bad_values_in_requests() -> Iterator[Bad]:
    row = bad_request
    for name, value in NO_NAMES.items():
        yield row(f"service {name}", "service_name", service_name=value)
        if value is not MISSING and value is not None and not isinstance(value, list):
            yield row(f"host {name}", "target_hostnames.1", target_hostnames=["web-01", value])
    for name, value in infinite_is_no_json(NO_COUNTS):
        yield row(f"duration {name}", "duration", duration=value)
        yield row(f"frequency {name}", "frequency", frequency=value)
        yield row(f"expires_in {name}", "expires_in", expires_in=value)
    yield row("a day and a second", "duration", duration=86_401)
    yield row("1,001 Hz", "frequency", frequency=1_001)
    for name, (pids, field) in NO_PIDS.items():
        yield row(f"pids {name}", field, pids=pids)
        if name != "none":
            stays = field.removeprefix("pids")
            yield row(
                f"pids of a host {name}", f"target_hosts.web-01{stays}",
                target_hostnames=MISSING, target_hosts={"web-01": pids},
            )  # fmt: skip
    yield row("pids of a host none", "target_hosts.a", target_hostnames=MISSING, target_hosts={"a": [], "b": None})
    for name, reserved in ((key, {key: 1}) for key in sorted(OUR_CONFIG_KEYS)):
        yield row(f"additional_args set {name}", "additional_args", additional_args=reserved)
    for field in NOT_YET:
        not_yet: dict[str, Any] = {field: 1}
        yield row(f"{field} is not supported", field, **not_yet)
    for field in ("continuous", "dry_run"):
        for value in (1, "true", "yes"):
            no_bool: dict[str, Any] = {field: value}
            yield row(f"{field} {value!r}", field, **no_bool)


def bad_fleet_wide_fields() -> Iterator[Bad]:
    row = bad_request
    for field in ("sample", "max_concurrency"):
        for value in (0, -1, 100_001, True, 1.5, "x", "0%", "101%", [1]):
            no_share: dict[str, Any] = {field: value}
            yield row(f"{field} {value!r}", field, **no_share)
    yield row("max_errors -1", "max_errors", max_concurrency=1, max_errors=-1)
    yield row("max_errors 101%", "max_errors", max_concurrency=1, max_errors="101%")
    for name, moment in {"past": "2020-01-01T00:00:00Z", "far": "2999-01-01T00:00:00Z", "a number": 1}.items():
        yield row(f"start_at {name}", "start_at", start_at=moment)
    yield row("sample of a stop", "sample", good=A_STOP, sample=1)
    yield row("max_concurrency of a stop", "max_concurrency", good=A_STOP, max_concurrency=1)
    yield row("start_at of a stop", "start_at", good=A_STOP, start_at="2020-01-01T00:00:00Z")
    yield row("max_errors alone", "max_errors", max_errors=1)
    yield row("max_concurrency of a continuous run", "max_concurrency", max_concurrency=1, continuous=True)


def bad_targets() -> Iterator[Bad]:
    row = bad_request
    yield row("no targets", "target_hostnames", target_hostnames=MISSING)
    yield row("targets null", "target_hostnames", target_hostnames=None)
    yield row("targets empty", "target_hostnames", target_hostnames=[])
    yield row("targets a text", "target_hostnames", target_hostnames="web-01")
    yield row("100,001 targets", "target_hostnames", target_hostnames=["a"] * 100_001)
    yield row("older targets empty", "target_hosts", target_hostnames=MISSING, target_hosts={})
    yield row("older targets a list", "target_hosts", target_hostnames=MISSING, target_hosts=["web-01"])
    yield row("older target blank", "target_hosts. .[key]", target_hostnames=MISSING, target_hosts={" ": None})
    yield row(
        "older target over-long",
        f"target_hosts.{LONG[:100]}….[key]",
        target_hostnames=MISSING,
        target_hosts={LONG: None},
    )
    yield row("two lists of hosts", "target_hostnames", target_hosts={"web-02": None})
    yield row("hosts and the whole service", "target_hostnames", target_scope="service")
    yield row(
        "a service with no live host",
        "target_scope",
        service_name="idle",
        target_hostnames=MISSING,
        target_scope="service",
    )
    yield row("scope unknown", "target_scope", target_scope="cluster")
    yield row("two kinds of pids", "pids", target_hosts={"web-01": [1]}, pids=[2])


def bad_entities() -> Iterator[Bad]:
    def row(name: str, *fields: str, scope: str = "pod", **changes: Any) -> Bad:
        good = {"service_name": "web", "target_scope": scope, "target_entities": [{"pod_name": "cart-0"}]}
        return bad_request(name, *fields, good=good, **changes)

    def of(name: str, field: str, entity: Any, **changes: Any) -> Bad:
        return row(f"entity {name}", field, target_entities=[{"pod_name": "a"}, entity], **changes)

    yield row("no entities", "target_entities", target_entities=MISSING)
    yield row("entities null", "target_entities", target_entities=None)
    yield row("entities empty", "target_entities", target_entities=[])
    yield row("entities an object", "target_entities", target_entities={"pod_name": "a"})
    yield row("1,001 entities", "target_entities", target_entities=[{"pod_name": "a"}] * 1_001)
    yield of("a text", "target_entities.1", "cart-0")
    yield of("null", "target_entities.1", None)
    yield of("without its name", "target_entities", {"namespace": "shop"})
    yield of("empty", "target_entities", {})
    yield of("with an unknown key", "target_entities.1.podname", {"podname": "a"})
    yield of("of another service", "target_entities", {"pod_name": "a", "service_name": "db"})
    for field in (
        "namespace",
        "hostname",
        "pod_name",
        "container_name",
        "container_id",
        "workload_name",
        "process_name",
    ):
        for name in ("empty", "blank", "a number", "a list", "with NUL", "a lone surrogate", "257 characters"):
            yield of(f"{field} {name}", f"target_entities.1.{field}", {field: NO_NAMES[name]})
    for name, (pids, _) in NO_PIDS.items():
        if name not in {"none", "1,001 of them", "no list", "a text", "null in it"}:
            yield of(f"pid {name}", "target_entities.1.pid", {"pid": pids[-1]})
    yield of("address empty", "target_entities.1.ip_address", {"ip_address": ""})
    yield of("id an object", "target_entities.1.id", {"id": {}})
    for scope, entity in {
        "namespace": {"pod_name": "a"}, "workload": {"pod_name": "a"}, "container": {"pod_name": "a"},
        "process": {"pod_name": "a"}, "host": {"ip_address": "::1"}, "service": {"hostname": "a"},
    }.items():  # fmt: skip
        yield row(f"scope {scope} and other names", "target_entities", scope=scope, target_entities=[entity])
    yield row("a host and a pid", "target_entities", scope="host", target_entities=[{"hostname": "a", "pid": 1}])
    yield row("a pid of no host", "target_entities", scope="process", target_entities=[{"pid": 1}])
    yield row("entities and hosts", "target_hostnames", target_hostnames=["a"])
    yield row("entities and older hosts", "target_hostnames", target_hosts={"a": None})
    yield row("entities and pids", "pids", pids=[1])
    yield row(
        "hosts twice", "target_hostnames", scope="host", target_entities=[{"hostname": "a"}], target_hostnames=["a"]
    )
    yield row("a host stop of a pod", "stop_level", command_type="stop", stop_level="host")
    yield row("a pod of a service with no live host", "target_scope", service_name="idle")


def bad_bulks() -> Iterator[Bad]:
    def row(name: str, *fields: str, **changes: Any) -> Bad:
        return Bad(name, BULK, fields, content=changed({"requests": [A_REQUEST]}, changes))

    yield row("requests missing", "requests", requests=MISSING)
    yield row("requests null", "requests", requests=None)
    yield row("requests empty", "requests", requests=[])
    yield row("requests an object", "requests", requests=A_REQUEST)
    yield row("101 requests", "requests", requests=[A_REQUEST] * 101)
    odd: tuple[Any, ...] = (1, "true", None, [])
    for value in odd:
        yield row(f"dry_run {value!r}", "dry_run", dry_run=value)
    yield row("both", "requests", "dry_run", requests=[], dry_run="no")


def bad_requests() -> Iterator[Bad]:
    row = bad_request
    yield row("mode unknown", "profiling_mode", profiling_mode="gpu")
    yield row("mode a number", "profiling_mode", profiling_mode=1)
    yield row("type unknown", "command_type", command_type="restart")
    yield row("two types", "request_type", request_type="stop")
    yield row("priority unknown", "priority", priority="asap")
    yield row("stop level unknown", "stop_level", good=A_STOP, stop_level="thread")
    yield row("process stop without pids", "stop_level", good=A_STOP, stop_level="process")
    yield row("host stop with pids", "stop_level", good=A_STOP, stop_level="host", pids=[7])
    yield row("a stop with a bad duration", "duration", good=A_STOP, duration=0)
    yield row("17 KiB of additional_args", "additional_args", additional_args={"a": "x" * 17 * 1024})
    yield row("17 KiB in UTF-8 alone", "additional_args", additional_args={"a": "ä" * 8_700})
    yield row("additional_args a list", "additional_args", additional_args=[])
    yield row("additional_args a lone surrogate", "additional_args", additional_args={"a": "\udfff"})
    yield row(
        "many at once",
        "service_name", "duration", "frequency", "continuous", "profiling_mode", "pids.0", "pids.2", "priority",
        "sample", "target_hostnames", "additional_args", "expires_in", "dry_run", "start_at",
        service_name="", duration=0, frequency="x", continuous="x", profiling_mode="gpu", pids=[0, 5, -1], priority="x",
        sample=0, target_hostnames=MISSING, additional_args={"pids": [1]}, expires_in=-1, dry_run="x",
        start_at="2020-01-01T00:00:00Z",
    )  # fmt: skip
    infinite = b'{"service_name":"web","target_hostnames":["a"],"additional_args":{"a":1e999},"duration":1e999}'
    yield Bad("numbers beyond a float", REQUEST, ["additional_args", "duration"], content=infinite)
    for name, key in {"empty": "", "257 characters": LONG, "a tab in it": "a\tb"}.items():
        headers = {"Idempotency-Key": key}
        yield Bad(
            f"Idempotency-Key {name}", REQUEST, ["Idempotency-Key"], content=changed(A_REQUEST, {}), headers=headers
        )


def bad_heartbeats() -> Iterator[Bad]:
    def row(name: str, *fields: str, **changes: Any) -> Bad:
        return Bad(name, HEARTBEAT, fields, content=changed(A_BEAT, changes), token="agent of web")

    for name, value in NO_NAMES.items():
        yield row(f"host {name}", "hostname", hostname=value)
        yield row(f"service {name}", "service_name", service_name=value)
    for name in ("missing", "null", "empty", "a number", "a lone surrogate", "257 characters"):
        yield row(f"address {name}", "ip_address", ip_address=NO_NAMES[name])
    for name, value in NO_IDS.items():
        yield row(f"last command {name}", "last_command_id", last_command_id=value)
        yield row(f"received id {name}", "received_command_ids.1", received_command_ids=["c", value])
        yield row(f"executed id {name}", "executed_command_ids.0", executed_command_ids=[value])
    ids = [f"c-{number}" for number in range(1_001)]
    yield row("1,001 received ids", "received_command_ids", received_command_ids=ids)
    yield row("1,001 executed ids", "executed_command_ids", executed_command_ids=ids)
    yield row("1,001 events", "perf_supported_events", perf_supported_events=ids)
    yield row("ids a text", "received_command_ids", received_command_ids="c-1")
    for field in ("status", "timestamp", "agent_version", "run_mode", "namespace", "pod_name"):
        yield row(f"{field} of 257 characters", field, **{field: LONG})
        yield row(f"{field} a number", field, **{field: 7})
    yield from bad_inventories()
    yield row("capabilities a list", "capabilities", capabilities=[])
    yield row("many at once", "hostname", "ip_address", "status", hostname="", ip_address=MISSING, status=7)


def bad_inventories() -> Iterator[Bad]:
    def row(name: str, field: str, containers: Any) -> Bad:
        return Bad(name, HEARTBEAT, [field], content=changed(A_BEAT, {"containers": containers}), token="agent of web")

    yield row("containers an object", "containers", {})
    yield row("containers a text", "containers", "c")
    yield row("a container a text", "containers.0", ["c"])
    yield row("2,001 containers", "containers", [{}] * 2_001)
    some = [{"processes": [{"pid": 1}] * 10_001}] * 2
    yield row("20,002 processes", "containers", some)
    for field in (
        "container_id", "container_name", "runtime", "namespace", "pod_name", "workload_name", "workload_kind"
    ):  # fmt: skip
        yield row(f"{field} a number", f"containers.1.{field}", [{}, {field: 7}])
        yield row(f"{field} of 257 characters", f"containers.0.{field}", [{field: LONG}])
        yield row(f"{field} a lone surrogate", f"containers.0.{field}", [{field: "\ud800"}])
    for name, (pids, field) in NO_PIDS.items():
        if name not in {"none", "1,001 of them", "no list", "a text"}:
            processes = [{"pid": pid} for pid in pids]
            at = field.removeprefix("pids.")
            yield row(f"pid {name}", f"containers.0.processes.{at}.pid", [{"processes": processes}])
    yield row("a process without pid", "containers.0.processes.0.pid", [{"processes": [{"process_name": "x"}]}])
    yield row("processes a number", "containers.0.processes", [{"processes": 7}])
    yield row("a process's name a list", "containers.0.processes.0.process_name",
              [{"processes": [{"pid": 1, "process_name": []}]}])  # fmt: skip


def bad_completions() -> Iterator[Bad]:
    def row(name: str, *fields: str, status: int = 422, code: str = "invalid", **changes: Any) -> Bad:
        body = changed(A_COMPLETION, changes)
        return Bad(name, COMPLETION, fields, status=status, code=code, content=body, token="agent of web")

    for name, value in NO_NAMES.items():
        yield row(f"host {name}", "hostname", hostname=value)
        if value is not None and value is not MISSING:
            yield row(f"service {name}", "service_name", service_name=value)
    for name, value in (NO_IDS | {"missing": MISSING, "null": None}).items():
        yield row(f"command {name}", "command_id", command_id=value)
    for name, value in {"missing": MISSING, "null": None, "empty": "", "unknown": "running", "a number": 1}.items():
        yield Bad(f"outcome {name}", COMPLETION, ["status"], content=changed(A_COMPLETION, {"status": value}))
    for name, value in {"negative": -1, "a text": "long", "three centuries": 10**10}.items():
        yield row(f"time {name}", "execution_time", execution_time=value)
    for name, value in {"negative": -1, "2^63": 2**63, "a text": "many", "a fraction": 1.5}.items():
        yield row(f"samples {name}", "samples", samples=value)
    yield row("error of 4,097 characters", "error_message", error_message="x" * 4_097)
    yield row("path of 4,097 characters", "results_path", results_path="x" * 4_097)
    yield row("start without a zone", "started_at", started_at="2025-01-08T11:00:00")
    yield row("end no moment", "finished_at", finished_at="yesterday")
    yield row("many at once", "command_id", "hostname", "samples", command_id="", hostname=None, samples=-1)
    yield row("unknown command", "command_id", status=404, code="unknown_command")
    yield row("unknown command, no service", "command_id", status=404, code="unknown_command", service_name=MISSING)


def bad_tokens() -> Iterator[Bad]:
    def row(case: str, *fields: str, **changes: Any) -> Bad:
        return Bad(case, TOKENS, fields, content=changed(A_TOKEN, changes))

    for name, value in infinite_is_no_json(NO_COUNTS):
        yield row(f"expires_in {name}", "expires_in", expires_in=value)
    for name, value in {"missing": MISSING, "null": None, "unknown": "root", "a number": 1}.items():
        yield row(f"kind {name}", "kind", kind=value)
    for name, value in {"missing": MISSING, "null": None, "none": [], "a text": "web", "101": ["a"] * 101}.items():
        yield row(f"services {name}", "services", services=value)
    yield row("a blank service", "services.1", services=["web", " "])
    for name, value in {"null": None, "a number": 1, "blank": " ", "NUL": "a\0", "257 characters": "x" * 257}.items():
        yield row(f"name {name}", "name", name=value)
    for name, value in {"null": None, "a number": 1, "NUL": "a\0", "1,025 characters": "x" * 1_025}.items():
        yield row(f"description {name}", "description", description=value)
    yield row("enrolment without max_uses", "max_uses", kind="enrolment")
    yield row("max_uses of an agent", "max_uses", max_uses=1)
    for name, value in {"zero": 0, "negative": -1, "10^18": 10**18, "a text": "1", "a fraction": 1.5}.items():
        yield row(f"max_uses {name}", "max_uses", kind="enrolment", max_uses=value)
    yield row("an unknown field", "expires", expires=60)
    yield row("a field named like a place", "path", "query", path=1, query=2)


def bad_rotations() -> Iterator[Bad]:
    def row(name: str, *fields: str, **changes: Any) -> Bad:
        return Bad(name, f"{TOKENS}/t-1/rotate", fields, content=changed({"overlap": 60}, changes))

    for name, value in {"null": None, "negative": -1, "10^18": 10**18, "a text": "1", "a fraction": 1.5}.items():
        yield row(f"overlap {name}", "overlap", overlap=value)
    for name, value in infinite_is_no_json(NO_COUNTS):
        yield row(f"expires_in {name}", "expires_in", expires_in=value)
    yield row("an unknown field", "secret", secret="x")


def a_question(
    path: str, field: str, *, method: str = "GET", status: int = 422, code: str = "invalid", said: str = "",
    **params: str,
) -> Bad:  # fmt: skip
    said = said or " ".join(f"{name}={value[:20]}" for name, value in params.items())
    return Bad(said or field, path, [field], method=method, status=status, code=code, params=params)


def bad_lists() -> Iterator[Bad]:
    row = a_question
    for path in LISTS:
        for name, cursor in NO_CURSORS.items():
            yield row(path, "cursor", said=f"cursor {name}", cursor=cursor)
        for sort in ("", "x", "--hostname", "id"):
            yield row(path, "sort", sort=sort)
        for limit in ("0", "-1", "x", "1.5", "10001", "1000000000000000000", "9" * 5_000):
            yield row(path, "limit", limit=limit)
        for service in ("", LONG) if path not in OF_NO_SERVICE else ():
            yield row(path, "service_name.0" if "profiling" in path else "service_name", service_name=service)


def bad_filters() -> Iterator[Bad]:
    row = a_question
    for path in (HOST_STATUS, WORKLOAD_STATUS):
        for name in ("hostname", "ip_address", "profiling_status", "command_type"):
            yield Bad(f"{name} empty", path, [f"{name}.0"], method="GET", params={name: ""})
        for pid in ("x", "1.5", ""):
            yield row(path, "pids.0", pids=pid)
        yield row(path, "exact_match", exact_match="perhaps")
    for scope in ("", "workload", "Host"):
        yield row(WORKLOAD_STATUS, "scope", scope=scope)
    for key in ("x", "{}", "[1]", "[]", "[" * 2_000):
        yield row(WORKLOAD_STATUS, "cursor", said=f"cursor of {key[:9]}", cursor=a_cursor("name", "host", key))
    yield row("/api/v1/commands", "state", state="asleep")
    yield row("/api/v1/commands", "command_type", command_type="restart")
    yield Bad("asleep", "/api/v1/hosts", ["status"], method="GET", params={"status": "asleep"})
    yield row("/api/v1/schedules", "state", state="asleep")
    yield row("/api/v1/dead_letters", "kind", kind="x")
    yield row("/api/v1/requests", "submitted_by", submitted_by="")
    yield row("/api/v1/hosts", "cursor", said="of another order", cursor=a_cursor("-hostname", "a", "b"))


def bad_questions() -> Iterator[Bad]:
    row = a_question
    for limit in ("-1", "x", "1.5", "10001", "9" * 5_000):
        yield row("/api/v1/requests/r-1", "limit", limit=limit)
    yield row(f"/api/v1/requests/{'r' * 129}", "request_id")
    yield row("/api/v1/requests/r-1", "request_id", status=404, code="not_found")
    yield row("/api/v1/requests/%00%ED%A0%80", "request_id", status=404, code="not_found")
    for kind in ("", "root"):
        yield row(TOKENS, "kind", kind=kind)
    yield row(TOKENS, "name", name="")
    yield row(f"/api/v1/tokens/{'t' * 129}", "token_id", method="DELETE")
    yield row("/api/v1/tokens/t-1", "token_id", method="DELETE", status=404, code="not_found")


def each(rows: Iterable[Bad]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("bad", list(rows), ids=str)


@each([
    *bad_values_in_requests(), *bad_fleet_wide_fields(), *bad_targets(), *bad_entities(), *bad_bulks(), *bad_requests(),
    *bad_heartbeats(),
    *bad_completions(), *bad_tokens(), *bad_rotations(),
    *bad_questions(), *bad_lists(), *bad_filters(),
])  # fmt: skip
def test_a_bad_field_is_named_and_nothing_changes(bare_api: Api, keyring: dict[str, str | None], bad: Bad) -> None:
    check_refused(bare_api, bad, keyring[bad.token])


def test_a_hundred_thousand_faults_are_counted_and_the_first_thousand_told(bare_api: Api) -> None:
    body = changed(A_REQUEST, {"target_hostnames": [""] * 100_000})
    answer = Bad("", REQUEST, [], content=body).send(bare_api, bare_api.admin)
    assert answer.status_code == 422
    assert len(answer.json()["errors"]) == 1_000
    assert answer.json()["detail"].startswith("100000 field(s)")
    assert max(len(line) for line in bare_api.log.splitlines()) < 4_096


def test_an_unknown_field_of_a_request_is_reported_back_as_a_warning(bare_api: Api) -> None:
    accepted = bare_api.submit("web-01", dry_run=True, durration=60)
    assert accepted["warnings"] == ["unknown field 'durration' was ignored"]


@pytest.mark.parametrize(
    "field", ["duration", "frequency", "pids", "stop_level", "additional_args", "priority", "sample"]
)
def test_null_for_an_optional_field_is_as_if_it_were_not_there(bare_api: Api, field: str) -> None:
    assert bare_api.submit("web-01", dry_run=True, **{field: None})["warnings"] == []
