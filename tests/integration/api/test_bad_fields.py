"""Fields that are wrong: each is refused by name, and not one key in the broker changes."""

from collections.abc import Iterator
from typing import Any

import pytest

from protocol.requests import NOT_YET, OUR_CONFIG_KEYS
from tests.support.api import BULK, REQUEST, TOKENS, Api
from tests.support.bad_values import LONG, NO_COUNTS, NO_NAMES, NO_PIDS, each, infinite_is_no_json
from tests.support.refusals import MISSING, Bad, changed, check_refused

A_REQUEST = {"service_name": "web", "command_type": "start", "duration": 60, "target_hostnames": ["web-01"]}
A_STOP = {"service_name": "web", "command_type": "stop", "target_hostnames": ["web-01"]}
A_TOKEN = {"kind": "agent", "services": ["web"]}


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


@each([
    *bad_values_in_requests(), *bad_fleet_wide_fields(), *bad_targets(), *bad_entities(), *bad_bulks(), *bad_requests(),
    *bad_tokens(), *bad_rotations(),
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
