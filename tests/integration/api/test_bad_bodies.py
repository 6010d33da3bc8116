"""Bodies that cannot be read: refused on every route that has a body, and not one key in the broker changes."""

import gzip
import json
import socket
from collections.abc import Iterator
from functools import partial
from typing import Any
from urllib.parse import urlsplit

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from protocol.completions import Completion
from protocol.heartbeats import Heartbeat
from protocol.problems import MEDIA_TYPE
from protocol.requests import ProfileRequest
from tests.support.api import BULK, COMPLETION, HEARTBEAT, REQUEST, TOKENS, Api, bearer
from tests.support.processes import eventually
from tests.support.refusals import Bad, check_refused
from tests.support.servers import everything_in

ROUTES = (REQUEST, BULK, HEARTBEAT, COMPLETION, TOKENS)
MIB = 1024 * 1024
GOOD = json.dumps({"service_name": "web", "target_hostnames": ["web-01"]}).encode()


def in_chunks(size: int) -> Iterator[bytes]:
    return (b" " * 65_536 for _ in range(size // 65_536))


MALFORMED: dict[str, bytes] = {
    "nothing": b"",
    "no JSON": b"service_name=web",
    "cut short": GOOD[:-1],
    "more after the end": GOOD + b"{}",
    "single quotes": b"{'service_name': 'web'}",
    "a comment": b'{"duration": 60 /* seconds */}',
    "NaN": b'{"duration": NaN}',
    "Infinity": b'{"duration": Infinity}',
    "minus Infinity": b'{"a": [-Infinity]}',
    "a raw NUL": b'{"service_name": "we\0b"}',
    "a raw line feed": b'{"service_name": "we\nb"}',
    "Latin-1": b'{"service_name": "caf\xe9"}',
    "a lone surrogate in UTF-8": b'{"service_name": "\xed\xa0\x80"}',
    "UTF-16": GOOD.decode().encode("utf-16"),
    "UTF-32": GOOD.decode().encode("utf-32"),
    "5,000 digits": b'{"duration": ' + b"9" * 5_000 + b"}",
    "10,000 lists deep": b"[" * 10_000 + b"]" * 10_000,
    "10,000 objects deep": b'{"a":' * 10_000 + b"1" + b"}" * 10_000,
    "10,000 lists never closed": b"[" * 10_000,
    "65 levels": b'{"a":' * 64 + b"{}" + b"}" * 64,
}
NO_OBJECTS: dict[str, bytes] = {"a list": b"[]", "a text": b'"web"', "a number": b"1", "null": b"null", "true": b"true"}
BAD_GZIP: dict[str, bytes] = {
    "no gzip": GOOD,
    "nothing": b"",
    "gzip cut short": gzip.compress(GOOD)[:-9],
    "gzip without its sum": gzip.compress(GOOD)[:-1],
    "gzip with a wrong sum": gzip.compress(GOOD)[:-8] + b"\0" * 8,
    "gzip and more": gzip.compress(GOOD) + b"more",
    "two gzips": gzip.compress(GOOD[:20]) + gzip.compress(GOOD[20:]),
    "gzip of no JSON": gzip.compress(b"web"),
}

BOMBS: dict[str, bytes] = {
    "a byte over 1 MiB zipped": gzip.compress(b" " * (MIB + 1), 1),
    "a gzip bomb of 64 MiB": gzip.compress(b" " * 64 * MIB, 1),
}


def bad_bodies(path: str) -> Iterator[Bad]:
    row = partial(Bad, path=path, fields=["body"], status=400, code="malformed_json")
    for name, content in MALFORMED.items():
        yield row(name=name, content=content)
    for name, content in NO_OBJECTS.items():
        yield row(name=name, content=content, status=422, code="invalid")
    for name, content in BAD_GZIP.items():
        yield row(name=name, content=content, headers={"Content-Encoding": "gzip"})
    yield row(name="a key twice", content=b'{"duration": 60, "duration": 61}', fields=["duration"])
    yield row(name="an inner key twice", content=b'{"a": [{"b": 1, "b": 1}]}', fields=["b"])
    yield row(name="a bad key twice", content=b'{"\\ud800": 1, "\\ud800": 2}', fields=["?"])
    too_large = partial(row, status=413, code="too_large")
    yield too_large(name="2 MiB declared", content=b" " * 2 * MIB)
    yield too_large(name="a byte over 1 MiB", content=b" " * (MIB + 1))
    yield too_large(name="2 MiB in chunks", content=partial(in_chunks, 2 * MIB))
    for name, content in BOMBS.items():
        yield too_large(name=name, content=content, headers={"Content-Encoding": "gzip"})
    other = partial(row, status=415, code="unsupported_media_type", content=GOOD)
    for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "json", ""):
        yield other(name=f"type {kind}", headers={"Content-Type": kind}, fields=["Content-Type"])
    for encoding in ("br", "deflate", "gzip, gzip", "x"):
        yield other(name=f"encoding {encoding}", headers={"Content-Encoding": encoding}, fields=["Content-Encoding"])


@pytest.mark.parametrize("bad", [bad for path in ROUTES for bad in bad_bodies(path)], ids=str)
def test_a_body_that_cannot_be_read_is_refused_and_nothing_changes(bare_api: Api, bad: Bad) -> None:
    check_refused(bare_api, bad, bare_api.admin)


def test_sixty_thousand_keys_with_one_twice_are_refused_quickly(bare_api: Api) -> None:
    pairs = [f'"k{number}":0' for number in range(60_000)]
    body = "{" + ",".join([*pairs, '"k59999":1']) + "}"
    answer = bare_api.call(
        "POST", REQUEST, token=bare_api.admin, content=body, headers={"Content-Type": "application/json"}, timeout=10
    )
    assert answer.status_code == 400
    assert answer.json()["errors"][0]["field"] == "k59999"


@pytest.mark.parametrize(
    "kind", ["application/json", "application/json; charset=utf-8", "application/vnd.x+json", None]
)
@pytest.mark.parametrize("zipped", [False, True])
def test_json_plain_or_zipped_is_read(bare_api: Api, kind: str | None, zipped: bool) -> None:
    beat = json.dumps(
        {"ip_address": "::1", "hostname": "zürich-01", "service_name": "web"}, ensure_ascii=False
    ).encode()
    headers = {"Content-Type": kind} if kind else {}
    headers |= {"Content-Encoding": "gzip"} if zipped else {}
    content = gzip.compress(beat) if zipped else beat
    assert bare_api.ok("POST", HEARTBEAT, token=bare_api.agent, content=content, headers=headers)["success"] is True


def test_a_byte_order_mark_is_no_fault(bare_api: Api) -> None:
    beat = json.dumps({"ip_address": "::1", "hostname": "web-01", "service_name": "web"}).encode()
    headers = {"Content-Type": "application/json"}
    bare_api.ok("POST", HEARTBEAT, token=bare_api.agent, content=b"\xef\xbb\xbf" + beat, headers=headers)


def refused_bodies(api: Api) -> float:
    """Calls of this route that were answered 400."""
    told = api.call("GET", "/metrics", token=api.admin).text
    counts = [line.rpartition(" ") for line in told.splitlines() if line.startswith("pcs_http_requests_total{")]
    return sum(float(count) for name, _, count in counts if f'route="{REQUEST}",status="400"' in name)


def test_a_client_that_leaves_in_the_middle_of_its_body_is_counted_and_leaves_no_other_trace(bare_api: Api) -> None:
    refused = refused_bodies(bare_api)
    before = everything_in(bare_api.settings)
    address = urlsplit(bare_api.url)
    with socket.create_connection((address.hostname or "", address.port or 0)) as connection:
        head = {"Host": "studio", "Content-Type": "application/json", "Content-Length": "100", **bearer(bare_api.admin)}
        lines = "".join(f"{name}: {value}\r\n" for name, value in head.items())
        connection.sendall(f"POST {REQUEST} HTTP/1.1\r\n{lines}\r\n".encode() + GOOD[:10])
    eventually(lambda: refused_bodies(bare_api) > refused, what="the end of the call")
    bare_api.check_log()
    assert everything_in(bare_api.settings) == before


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False)
    | st.text(st.characters(), max_size=20)
    | st.sampled_from(["web", "start", "stop", "cpu", "service", "process", "completed", "failed", "running", "*", ""]),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(st.characters(), max_size=8), inner, max_size=4)
    ),
    max_leaves=12,
)
LIKELY: dict[str, dict[str, Any]] = {
    REQUEST: {"service_name": "web", "target_hostnames": ["web-01"], "dry_run": True},
    BULK: {"requests": [{"service_name": "web", "target_hostnames": ["web-01"]}], "dry_run": True},
    HEARTBEAT: {"ip_address": "10.0.0.1", "hostname": "web-01", "service_name": "web"},
    COMPLETION: {"command_id": "c-1", "hostname": "web-01", "status": "completed"},
    TOKENS: {"kind": "agent", "services": ["web"], "expires_in": 1},
}
FIELDS = {
    REQUEST: [*ProfileRequest.model_fields, "sample"],
    BULK: ["requests", "dry_run"],
    HEARTBEAT: list(Heartbeat.model_fields),
    COMPLETION: list(Completion.model_fields),
    TOKENS: ["kind", "services", "expires_in"],
}


@st.composite
def likely_bodies(draw: st.DrawFn) -> tuple[str, Any]:
    """A route and a body for it: a good one with some fields replaced by anything, or anything at all."""
    path = draw(st.sampled_from(ROUTES))
    if draw(st.integers(0, 9)) == 0:
        return path, draw(json_values)
    return path, LIKELY[path] | draw(
        st.dictionaries(st.sampled_from(FIELDS[path]), json_values, min_size=1, max_size=5)
    )


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(sent=likely_bodies())
def test_no_body_breaks_the_server(bare_api: Api, sent: tuple[str, Any]) -> None:
    path, body = sent
    headers = {"Content-Type": "application/json"}
    answer = bare_api.call("POST", path, token=bare_api.admin, content=json.dumps(body), headers=headers)
    assert answer.status_code in {200, 201, 400, 404, 422}, answer.text
    if answer.status_code >= 400:
        assert answer.headers["content-type"] == MEDIA_TYPE
        assert answer.json()["errors"]


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(path=st.sampled_from(ROUTES), content=st.binary(max_size=64), encoding=st.sampled_from(["identity", "gzip"]))
def test_no_bytes_break_the_server(bare_api: Api, path: str, content: bytes, encoding: str) -> None:
    headers = {"Content-Type": "application/json", "Content-Encoding": encoding}
    answer = bare_api.call("POST", path, token=bare_api.admin, content=content, headers=headers)
    assert answer.status_code in {400, 422}, answer.text
    assert answer.headers["content-type"] == MEDIA_TYPE
