"""What lists and lookups are asked that is wrong: each is refused by name, and not one key in the broker changes."""

import base64
import json
from collections.abc import Iterator
from typing import Any

from tests.support.api import HOST_STATUS, TOKENS, WORKLOAD_STATUS, Api
from tests.support.bad_values import LONG, each
from tests.support.refusals import Bad, check_refused

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
    for scope in ("", "cluster", "Host"):
        yield row(WORKLOAD_STATUS, "scope", scope=scope)
    for key in ("x", "{}", "[1]", "[]", "[" * 2_000):
        yield row(WORKLOAD_STATUS, "cursor", said=f"cursor of {key[:9]}", cursor=a_cursor("name", "host", key))
    yield row("/api/v1/commands", "state", state="asleep")
    yield row("/api/v1/commands", "command_type", command_type="restart")
    yield Bad("asleep", "/api/v1/hosts", ["status"], method="GET", params={"status": "asleep"})
    yield row("/api/v1/schedules", "state", state="asleep")
    yield row("/api/v1/dead_letters", "kind", kind="x")
    yield row("/api/v1/requests", "submitted_by", submitted_by="")
    of_a_request = "/api/v1/requests/r-1/hosts"
    yield Bad("asleep", of_a_request, ["status.0"], method="GET", params={"status": "asleep"})
    yield row(of_a_request, "cursor", said="of another order", cursor=a_cursor("-hostname", "a"))
    yield row(of_a_request, "limit", limit="10001")
    yield row(of_a_request, "request_id", status=404, code="not_found")
    yield row("/api/v1/hosts", "cursor", said="of another order", cursor=a_cursor("-hostname", "a", "b"))


def bad_times() -> Iterator[Bad]:
    """Of profiles: at the ends of the calendar, where nothing can be added or taken off any more."""
    last = {"start": "9999-12-31T22:00:00Z", "end": "9999-12-31T23:59:59Z"}
    first = {"start": "0001-01-01T00:00:00+14:00", "end": "0001-01-02T00:00:00-14:00"}
    now = {"start": "2026-05-04T10:00:00Z", "end": "2026-05-04T11:00:00Z"}
    for path in ("profiles", "flamegraph", "flamegraph/timeline", "flamegraph/diff.html"):
        for time in (first, last):
            yield Bad(f"{path} {time['start'][:4]}", f"/api/v1/{path}", ["start", "end"], method="GET",
                      params={"service": "web", **time})  # fmt: skip
    base = {f"base_{name}": value for name, value in last.items()}
    yield Bad("a base", "/api/v1/flamegraph/diff", [*base], method="GET", params={"service": "web", **now, **base})
    for method, name in (("GET", "name"), ("DELETE", "profile_id")):
        yield Bad(f"{method} of the last hour", f"/api/v1/profiles/99991231T23-{'a' * 32}", [name], method=method,
                  params={"service": "web"}, status=404, code="not_found")  # fmt: skip


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


@each([*bad_questions(), *bad_lists(), *bad_filters(), *bad_times()])
def test_a_bad_question_is_named_and_nothing_changes(bare_api: Api, keyring: dict[str, str | None], bad: Bad) -> None:
    check_refused(bare_api, bad, keyring[bad.token])
