"""The typed client asks for nothing and reads nothing that the API's OpenAPI document does not have.

Each of its methods is called, and each command that makes up a body or a query by itself; answers are made from the
document. A new method, a new route and a renamed field each fail here until somebody has looked.
"""

import inspect
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, TypeVar
from uuid import UUID

import httpx
import pytest
from click.testing import CliRunner
from pydantic import BaseModel

from api.app import create_app
from api.settings import ApiSettings
from broker.settings import BrokerSettings
from cli.client import StudioClient
from cli.main import main
from protocol.problems import Problem
from protocol.requests import ProfileRequest
from tests.support.api_document import ApiDocument, Call, without

DOCUMENT: Final[Mapping[str, Any]] = create_app(ApiSettings(insecure_no_auth=True), BrokerSettings()).openapi()
ENDINGS: Final = (".html", ".pb.gz", ".json", ".speedscope.json", ".col")
REQUEST_ID: Final = UUID("4803bfe1-bdc7-4c29-8290-99e5252d9cd5")
A_REQUEST: Final = {"service_name": "s", "target_hostnames": ["h"], "duration": 5, "frequency": 99}
A_SCHEDULE: Final = {"name": "nightly", "cron": "30 2 * * *", "request": A_REQUEST}
SOME_PROFILES: Final[dict[str, str | list[str]]] = {
    "service": "s", "start": "2026-05-04T00:00:00Z", "end": "2026-05-05T00:00:00Z", "hostname": ["a", "b"],
}  # fmt: skip
EVERYTHING: Final[dict[str, str | list[str]]] = {
    "service": "t", "start": "2026-05-03T00:00:00Z", "end": "2026-05-04T00:00:00Z",
    **{name: ["x"] for name in ("profile_id", "hostname", "command_id", "request_id", "capture_id", "process",
                                "container", "pod", "runtime")},
}  # fmt: skip
A_TOKEN: Final = {"kind": "enrolment", "services": ["*"], "name": "n", "description": "d", "max_uses": 3}

METHODS: Final[Mapping[str, Callable[[StudioClient], object]]] = {
    "readiness": lambda client: client.readiness(),
    "workers": lambda client: client.workers(),
    "hosts": lambda client: client.hosts(),
    "submit": lambda client: client.submit(ProfileRequest.model_validate(A_REQUEST)),
    "some_hosts": lambda client: client.some_hosts({"service_name": "s", "limit": "10"}),
    "host": lambda client: client.host("s", "h"),
    "ask": lambda client: client.ask(dict(A_REQUEST), "a-key"),
    "request": lambda client: client.request(REQUEST_ID),
    "hosts_of": lambda client: list(client.hosts_of("r-1", states=["failed", "lost"])),
    "requests": lambda client: list(client.requests({"service_name": "s"})),
    "cancel": lambda client: client.cancel("r-1"),
    "commands": lambda client: list(client.commands({"hostname": "h"})),
    "dead_letters": lambda client: client.dead_letters({"kind": "command"}),
    "replay": lambda client: client.replay("1-1-1"),
    "flame_graph_file": lambda client: [client.flame_graph_file(SOME_PROFILES, ending) for ending in ENDINGS],
    "schedules": lambda client: client.schedules(),
    "schedule": lambda client: client.schedule("s-1"),
    "make_schedule": lambda client: [client.make_schedule({**A_SCHEDULE, "dry_run": dry}) for dry in (False, True)],
    "change_schedule": lambda client: [
        client.change_schedule("s-1", {"enabled": False, **more}) for more in ({}, {"dry_run": True})
    ],
    "delete_schedule": lambda client: client.delete_schedule("s-1"),
    "tokens": lambda client: client.tokens(),
    "make_token": lambda client: client.make_token(dict(A_TOKEN)),
    "rotate_token": lambda client: client.rotate_token("t-1", {"overlap": 60, "expires_in": 600}),
    "revoke_token": lambda client: client.revoke_token("t-1"),
    "profiles": lambda client: client.profiles(SOME_PROFILES),
    "delete_profile": lambda client: client.delete_profile("p-1", "s"),
    "profile": lambda client: client.profile("p-1", "s"),
    "flame_graph": lambda client: client.flame_graph({**EVERYTHING, "profiling_mode": ["cpu"]}, most_nodes=9),
    "difference": lambda client: client.difference(SOME_PROFILES, EVERYTHING, most_nodes=9),
    "functions": lambda client: client.functions(SOME_PROFILES, sort="-total", limit=9),
    "function": lambda client: client.function(SOME_PROFILES, "main", most_nodes=9),
    "timeline": lambda client: client.timeline(SOME_PROFILES, step=60),
    "whose": lambda client: client.whose("secret"),
    "audit": lambda client: client.audit({"limit": "10"}),
    "audit_chain": lambda client: client.audit_chain("1-0"),
}
"""Each method of the client, with a call of it."""
COMMANDS: Final = (
    ("tokens create enrolment --service * --name n --description d --expires-in 90d --max-uses 3", "make_token"),
    ("tokens rotate t-1 --overlap 1h --expires-in 90d", "rotate_token"),
    (("schedules create --name n --cron 0_2_*_*_* --timezone UTC --service s --host h --duration 5 --frequency 9"
      " --overlap allow --catch-up 9 --pause-after 3 --mode wall --continuous --pid 7 --arg a=1 --sample 1"),
     "make_schedule"),
    (("schedules create --name n --cron 0_2_*_*_* --service s --all --max-concurrency 10% --max-errors 1"
      " --expires-in 60"), "make_schedule"),
    ("schedules create --name n --cron 0_2_*_*_* --service s --whole-service --dry-run", "make_schedule"),
    ("schedules create --name n --cron 0_2_*_*_* --service s --pod p --stop --paused --priority low", "make_schedule"),
    ("schedules change s-1 --cron 0_3_*_*_* --service s --frequency 9 --sample 3 --dry-run", "change_schedule"),
    ("schedules pause s-1", "change_schedule"),
    ("schedules resume s-1", "change_schedule"),
    (("profiles list --service s --since 2026-05-04 --until 2026-05-05 --host a --command c --request r --mode cpu"),
     "profiles"),
    ("profiles delete --service s --since 2026-05-04 --until 2026-05-05 --dry-run", "profiles"),
    (("audit tail -n 3 --actor a --action token.* --outcome refused --service s --object o"
      " --since 2026-05-04T00:00:00Z --until 2026-05-05T00:00:00Z"), "audit"),
    (("profile s --host h --duration 5s --frequency 9 --mode wall --continuous --profilers perf=disabled"
      " --arg max_processes=3 --priority urgent --expires-in 60s --start-at +5m --no-wait"), "ask"),
    ("profile s --pod p --duration 5s --no-wait", "ask"),
    ("profile s --sample 10% --duration 5s --max-concurrency 2 --max-errors 0 --no-wait", "ask"),
    ("profile s --host h --pid 7 --duration 5s --no-wait --dry-run", "ask"),
    ("stop s --all --priority urgent --expires-in 60s --no-wait", "ask"),
    ("audit export --out {out} --actor a --action token.* --outcome failed --service s --object o", "audit"),
)  # fmt: skip
"""Commands that make up what they send, with all their options; and the method that sends it."""
A_FORMER_ONE: Final = "/api/v1/schedules/s-1"
"""What `schedules change` looks at before it changes a part of a request."""
LOOKED_UP: Final = "/api/v1/hosts/s/h"
"""What `profile` looks at before it submits."""
NOT_BY_THE_CLIENT: Final[Mapping[tuple[str, str], str]] = {
    ("POST", "/api/metrics/heartbeat"): "agents beat",
    ("POST", "/api/metrics/command_completion"): "agents complete",
    ("POST", "/api/v1/enrol"): "agents buy their own credential",
    ("POST", "/api/v1/session"): "for browsers, which keep a cookie in place of a token",
    ("DELETE", "/api/v1/session"): "likewise",
    ("GET", "/api/v1/session/ways"): "likewise",
    ("GET", "/api/metrics/profiling/host_status"): "the field's dialect: for dashboards that speak it",
    ("GET", "/api/metrics/profiling/workload_status"): "the field's dialect: for dashboards that speak it",
    ("GET", "/api/v1/health_check"): "the field's dialect; `readiness` says more",
    ("GET", "/healthz"): "for what restarts the process; `readiness` says more",
    ("GET", "/metrics"): "for Prometheus",
    ("GET", "/api/v1/events"): "a stream: `cli.event_stream` reads it, and has tests of its own",
    ("POST", "/api/metrics/profile_request/bulk"): "for scripts; no command submits many",
    ("DELETE", "/api/v1/hosts/{service_name}/{hostname}/owner"): "no command releases a host",
    ("POST", "/api/v2/profiles"): "agents upload",
    **{
        ("GET", f"/api/v1/flamegraph/diff{ending}"): "files, for who opens them elsewhere"
        for ending in (".json", ".col", ".html")
    },
    ("GET", "/api/v1/tokens/{token_id}"): "`tokens list` shows all of each",
}
"""Documented calls that the client leaves to others, and why."""
Answer = TypeVar("Answer", bound=BaseModel)


class Anything(BaseModel):
    """A file: nothing of it is read here."""


class Recorded(StudioClient):
    """The client, answered from the document; each call is written down with the model that reads its answer."""

    calls: list[Call]

    def __init__(self, document: ApiDocument, calls: list[Call]) -> None:
        asked: set[str] = set()

        def answer(request: httpx.Request) -> httpx.Response:
            path, first = request.url.path, request.url.path not in asked
            asked.add(path)  # the first page names another one, which is the last
            status, body = document.answer(request.method, path, full=first)
            return httpx.Response(status, json=body)

        super().__init__("http://127.0.0.1:1", "secret", transport=httpx.MockTransport(answer))
        self.calls = calls

    def _take(self, answer: httpx.Response) -> bytes:
        self._read(answer, Anything)
        return super()._take(answer)

    def _read(self, answer: httpx.Response, model: type[Answer]) -> Answer:
        asked = answer.request
        body = json.loads(asked.content) if asked.content else None
        self.calls.append(Call(asked.method, asked.url.path, dict(asked.url.params), body, model))
        return super()._read(answer, model)


def calls_of(method: str) -> list[Call]:
    calls: list[Call] = []
    with Recorded(ApiDocument(DOCUMENT), calls) as client:
        METHODS[method](client)
    return calls


def faults(document: Mapping[str, Any], calls: Sequence[Call]) -> list[str]:
    read = ApiDocument(document)
    return [fault for call in calls for fault in read.faults(call, refusal=Problem)]


ALL_CALLS: Final = [call for method in METHODS for call in calls_of(method)]


def test_every_method_of_the_client_has_a_call_here() -> None:
    methods = {name for name, each in vars(StudioClient).items() if inspect.isfunction(each)}
    assert methods == set(METHODS)


@pytest.mark.parametrize("method", METHODS)
def test_a_method_asks_and_reads_what_the_document_has(method: str) -> None:
    calls = calls_of(method)
    assert calls
    assert faults(DOCUMENT, calls) == []


def played(line: str, folder: Path, patch: pytest.MonkeyPatch) -> list[Call]:
    """What a command says to the API."""
    calls: list[Call] = []
    patch.setattr("cli.client.StudioClient", lambda *_, **__: Recorded(ApiDocument(DOCUMENT), calls))
    words = [word.replace("_", " ") if "*" in word else word for word in line.format(out=folder / "out").split()]
    done = CliRunner().invoke(main, [*words, "--url", "http://127.0.0.1:1"], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return calls


@pytest.mark.parametrize(("line", "method"), COMMANDS, ids=[line.split(" --")[0] for line, _ in COMMANDS])
def test_what_a_command_makes_up_is_in_the_document(
    line: str, method: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = played(line, tmp_path, monkeypatch)
    looked_at = {LOOKED_UP, A_FORMER_ONE}
    assert {call.path for call in calls} - looked_at <= {call.path for call in calls_of(method)}
    assert faults(DOCUMENT, calls) == []


BY_NO_OPTION: Final[Mapping[str, str]] = {
    "request_type": "another name of command_type",
    "target_hosts": "--host and --pid; where each host has pids of its own, each takes a request",
    "stop_level": "process where --pid or --process says which, else host",
}
OF_A_REQUEST: Final = ("/api/metrics/profile_request", "post")
OF_A_SCHEDULE: Final = ("/api/v1/schedules", "post")


@pytest.mark.parametrize(
    ("method", "inside", "known", "left_out"),
    [
        ("ask", None, OF_A_REQUEST, {*BY_NO_OPTION}),
        ("make_schedule", None, OF_A_SCHEDULE, set()),
        # A schedule says when, and has a dry run of its own.
        ("make_schedule", "request", OF_A_REQUEST, {*BY_NO_OPTION, "start_at", "dry_run"}),
    ],
    ids=["a request", "a schedule", "the request of a schedule"],
)
def test_every_field_has_an_option(
    method: str, inside: str | None, known: tuple[str, str], left_out: set[str], tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    bodies = [
        call.body for line, each in COMMANDS if each == method for call in played(line, tmp_path, monkeypatch)
        if call.body is not None
    ]  # fmt: skip
    said = {name for body in bodies for name in (body if inside is None else body[inside])}
    operation = DOCUMENT["paths"][known[0]][known[1]]
    fields = operation["requestBody"]["content"]["application/json"]["schema"]["properties"]
    assert said == set(fields) - left_out


def test_every_method_that_is_told_what_to_send_is_played_by_a_command() -> None:
    told = {
        name
        for name in METHODS
        for parameter in inspect.signature(getattr(StudioClient, name)).parameters.values()
        if "dict" in str(parameter.annotation)
    }
    assert told == {method for _, method in COMMANDS}


def unaccounted(document: Mapping[str, Any]) -> set[tuple[str, str]]:
    """Calls that neither the client makes nor the list leaves out, or both of them do, or that the document lacks."""
    documented = {(method.upper(), path) for path, calls in document["paths"].items() for method in calls}
    read = ApiDocument(document)
    made = {(call.method, found[0]) for call in ALL_CALLS if (found := read.operation(call.method, call.path))}
    left_out = set(NOT_BY_THE_CLIENT)
    return (documented ^ (made | left_out)) | (made & left_out)


def test_every_documented_call_is_made_by_the_client_or_left_out_on_purpose() -> None:
    assert unaccounted(DOCUMENT) == set()


# --- that it bites ----------------------------------------------------------------------------------------------------


def used(call: Call) -> Iterator[tuple[str, ...]]:
    """Where in the document each thing stands that a call depends on."""
    found = ApiDocument(DOCUMENT).operation(call.method, call.path)
    assert found is not None
    path, operation = found
    at = ("paths", path, call.method.lower())
    yield ("paths", path)
    yield at
    if call.body is not None:
        schema = operation["requestBody"]["content"]["application/json"]["schema"]
        for name in call.body:
            yield (*at, "requestBody", "content", "application/json", "schema", "properties", name)
        assert "properties" in schema
    _, schema = next(ApiDocument(DOCUMENT)._good_answers(operation))
    names = [each["$ref"].rpartition("/")[2] for each in schema.get("anyOf", [schema])]
    ours = call.reads.__name__ if call.reads.__name__ in names else names[0]
    for name in call.reads.model_fields:
        yield ("components", "schemas", ours, "properties", name)


@pytest.mark.parametrize("path", sorted({path for call in ALL_CALLS for path in used(call)}), ids="/".join)
def test_whatever_the_client_depends_on_is_missed_under_another_name(path: tuple[str, ...]) -> None:
    changed = without(DOCUMENT, *path)
    assert faults(changed, ALL_CALLS) or unaccounted(changed)


@pytest.mark.parametrize("call", [call for call in ALL_CALLS if call.query], ids=lambda call: call.path)
def test_a_query_parameter_is_missed_under_another_name(call: Call) -> None:
    changed = json.loads(json.dumps(DOCUMENT))
    found = ApiDocument(changed).operation(call.method, call.path)
    assert found is not None
    for parameter in found[1]["parameters"]:
        parameter["name"] += "_renamed"
    assert len(faults(changed, [call])) == len(call.query)


@pytest.mark.parametrize(
    ("schema", "field", "becomes"),
    [
        ("HostView", "status", {"type": "integer"}), ("HostView", "last_beat", {"type": "string"}),
        ("RequestStatus", "hosts", {"type": "object"}), ("HostPage", "next_cursor", {"type": "number"}),
        ("RequestOnHost", "status", {"enum": ["pending", "odd"], "type": "string"}),
    ],
)  # fmt: skip
def test_a_field_that_becomes_something_else_is_noticed(schema: str, field: str, becomes: Any) -> None:
    changed = json.loads(json.dumps(DOCUMENT))
    changed["components"]["schemas"][schema]["properties"][field] = becomes
    assert faults(changed, ALL_CALLS)


def test_a_field_that_may_be_left_out_of_a_sudden_is_noticed() -> None:
    changed = json.loads(json.dumps(DOCUMENT))
    changed["components"]["schemas"]["HostView"]["required"].remove("hostname")
    assert any("hostname may be left out" in fault for fault in faults(changed, ALL_CALLS))


def test_a_call_that_is_new_is_noticed() -> None:
    changed = json.loads(json.dumps(DOCUMENT))
    changed["paths"]["/api/v1/fleets"] = {"get": {"responses": {}}}
    assert unaccounted(changed) == {("GET", "/api/v1/fleets")}
