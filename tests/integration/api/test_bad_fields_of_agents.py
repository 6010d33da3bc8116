"""Fields of what agents send that are wrong: each is refused by name, and not one key in the broker changes."""

from collections.abc import Iterator
from typing import Any

from tests.support.api import COMPLETION, HEARTBEAT, Api
from tests.support.bad_values import LONG, NO_IDS, NO_NAMES, NO_PIDS, each
from tests.support.refusals import MISSING, Bad, changed, check_refused

A_BEAT = {"ip_address": "10.0.0.1", "hostname": "of-bad-fields", "service_name": "web", "status": "active"}
A_COMPLETION = {"command_id": "c-1", "hostname": "of-bad-fields", "service_name": "web", "status": "completed"}


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


@each([*bad_heartbeats(), *bad_completions()])
def test_a_bad_field_is_named_and_nothing_changes(bare_api: Api, keyring: dict[str, str | None], bad: Bad) -> None:
    answer = check_refused(bare_api, bad, keyring[bad.token])
    assert answer.status_code == bad.status
