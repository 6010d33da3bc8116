"""Profiles from upload to flame graph, against the whole system."""

import gzip
import json
import socket
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psutil
import pytest

from formats import pprof
from profiles.objects import SPOOLED_IN_MEMORY
from profiles.shelves import GONE
from tests.support.api import HEARTBEAT, Api
from tests.support.processes import eventually
from tests.support.uploads import STACKS, START, TIMES, UPLOAD, agent_body, asked, indexed, send

_services = count(1)


@pytest.fixture
def service() -> str:
    """A service that no other test knows."""
    return f"profiled-{next(_services)}"


def shares(graph: dict[str, Any]) -> dict[str, int]:
    return dict(walked(graph["root"], ()))


def walked(node: dict[str, Any], path: tuple[str, ...]) -> Iterator[tuple[str, int]]:
    for child in node["children"]:
        here = (*path, child["name"])
        yield ";".join(here), child["value"]
        yield from walked(child, here)


def test_what_an_agent_of_the_field_uploads_is_in_the_flame_graph(served: Api, service: str) -> None:
    answer = send(served, service, agent_body(command_id="c-1", request_ids=["r-1"], capture_id="k-1"))
    assert answer.status_code == 200, answer.text
    told = answer.json()
    assert (told["message"], told["samples"], told["stacks"], told["bad_lines"]) == ("ok", 45, 3, 0)
    (item,) = indexed(served, service, 1)
    assert item == {
        "profile_id": told["profile_id"], "hostname": "a", "started_at": "2026-05-04T10:15:00Z",
        "ended_at": "2026-05-04T10:16:00Z", "command_id": "c-1", "request_ids": ["r-1"], "capture_id": "k-1",
        "profiling_mode": "cpu", "samples": 45,
    }  # fmt: skip
    graph = asked(served, "flamegraph", service)
    assert graph["samples"] == 45
    assert shares(graph) == {
        "web": 40, "web;main": 40, "web;main;work": 30, "web;main;rest": 10, "db": 5, "db;loop": 5,
    }  # fmt: skip


def test_sent_again_it_is_one_profile(served: Api, service: str) -> None:
    first, second = (send(served, service, agent_body()).json() for _ in range(2))
    assert first == second
    send(served, service, agent_body("b"))
    assert len(indexed(served, service, 2)) == 2
    assert asked(served, "flamegraph", service)["samples"] == 90


def test_profiles_are_merged_by_what_is_chosen(served: Api, service: str) -> None:
    send(served, service, agent_body("a", command_id="c-1", request_ids=["r-1", "r-2"]))
    send(served, service, agent_body("b", command_id="c-1", request_ids=["r-1"], stacks={"web;main": 7}))
    send(served, service, agent_body("a", start=START + timedelta(hours=1), stacks={"web;late": 3}))
    indexed(served, service, 3)
    for where, samples in (
        ({}, 55), ({"hostname": "a"}, 48), ({"hostname": ["a", "b"]}, 55), ({"command_id": "c-1"}, 52),
        ({"request_id": "r-2"}, 45), ({"process": "db"}, 5), ({"hostname": "nobody"}, 0),
        ({"end": "2026-05-04T11:00:00Z"}, 52),
        ({"start": "2026-05-04T11:00:00Z"}, 3), ({"profiling_mode": "cpu"}, 55), ({"profiling_mode": "allocation"}, 0),
    ):  # fmt: skip
        assert asked(served, "flamegraph", service, **where)["samples"] == samples, where
    page = asked(served, "profiles", service, limit=2)
    rest = asked(served, "profiles", service, limit=2, cursor=page["next_cursor"])
    assert [len(page["items"]), len(rest["items"]), rest["next_cursor"]] == [2, 1, None]
    ids = [each["profile_id"] for each in (*page["items"], *rest["items"])]
    assert ids == sorted(set(ids), reverse=True)


def test_a_plain_collapsed_file_is_taken(served: Api, service: str) -> None:
    said = {"service": service, "hostname": "a", "start_time": START.isoformat(), "end_time": START.isoformat()}
    answer = served.ok(
        "POST", UPLOAD, token=served.agent, params=said, content="main;work 3\nno count\n",
        headers={"Content-Type": "text/plain"},
    )  # fmt: skip
    assert (answer["samples"], answer["bad_lines"]) == (3, 1)
    indexed(served, service, 1)
    assert shares(asked(served, "flamegraph", service)) == {"main": 3, "main;work": 3}


def test_pprof_is_taken_as_it_is_and_says_itself_when_it_was(served: Api, service: str) -> None:
    began = START + timedelta(milliseconds=250)
    content = pprof.encode(STACKS, pprof.cpu(99), started_at=began, duration=timedelta(seconds=30))
    said = {"service": service, "hostname": "a", "capture_id": "k-1"}
    zipped = gzip.compress(content)
    sent = [
        served.ok("POST", UPLOAD, token=served.agent, params=params, content=body, headers=headers)
        for body, headers, params in (
            (zipped, {"Content-Type": "application/vnd.google.protobuf+gzip"}, said),
            (content, {"Content-Type": "application/x-protobuf"}, said),
            (zipped, {"Content-Encoding": "gzip"}, {**said, "format": "pprof"}),
        )
    ]
    assert sent[0] == sent[1] == sent[2]
    assert (sent[0]["samples"], sent[0]["stacks"]) == (45, 3)
    (item,) = indexed(served, service, 1)
    assert (item["capture_id"], item["profiling_mode"]) == ("k-1", "cpu")
    assert (item["started_at"], item["ended_at"]) == ("2026-05-04T10:15:00.250000Z", "2026-05-04T10:15:30.250000Z")
    assert shares(asked(served, "flamegraph", service))["web;main;work"] == 30


def test_bad_lines_are_told_by_number_and_the_good_ones_are_kept(served: Api, service: str) -> None:
    deep = ";".join(f"f{number}" for number in range(10_000))
    lines = f"main 1\nno count\nmain 0\nmain -4\nmain {10**30}\n{deep} 2\n"
    body = {**agent_body(), "profile": f'# {{"command_id": "\\ud800"}}\n{lines}'}
    told = send(served, service, body).json()
    assert [each["line"] for each in told["faults"]] == [3, 4, 5, 6]
    assert (told["bad_lines"], told["samples"], told["cut_stacks"]) == (4, 3, 1)
    assert indexed(served, service, 1)[0]["command_id"] == "?"
    tree = served.call("GET", "/api/v1/flamegraph", token=served.admin, params={"service": service, **TIMES})
    assert tree.status_code == 200
    assert b'"samples":3,' in tree.content  # too deep for Python's own reader of JSON


NOT_TAKEN: dict[str, tuple[bytes, dict[str, str], int, list[str]]] = {
    "nobody's": (
        b"main 1", {"start_time": "2026-05-04T10:00:00", "end_time": "2026-05-04T10:00:01"}, 422, ["hostname"]
    ),
    "without time": (b"main 1", {"hostname": "a"}, 422, ["end_time", "start_time"]),
    "pprof that is none": (b"\xff" * 20, {"hostname": "a", "format": "pprof"}, 422, ["profile"]),
    "pprof cut short": (gzip.compress(b"x" * 99)[:-4], {"hostname": "a", "format": "pprof"}, 400, ["body"]),
    "pprof that is a bomb": (
        gzip.compress(b"\0" * (97 * 1024 * 1024)), {"hostname": "a", "format": "pprof"}, 413, ["body"]
    ),
    "pprof without time": (
        pprof.encode({"a": 1}, pprof.cpu(9), started_at=datetime(1970, 1, 1, tzinfo=UTC), duration=timedelta(0)),
        {"hostname": "a", "format": "pprof"}, 422, ["start_time"],
    ),
    "values that are not there": (
        pprof.encode({"a": 1}, pprof.cpu(9), started_at=START, duration=timedelta(0)),
        {"hostname": "a", "format": "pprof", "sample_type": "space"}, 422, ["profile"],
    ),
    "a format that is none": (b"main 1", {"hostname": "a", "format": "jfr"}, 422, ["format"]),
    "a frequency that is none": (b"main 1", {"hostname": "a", "frequency_hz": "0"}, 422, ["frequency_hz"]),
}  # fmt: skip


@pytest.mark.parametrize(("content", "said", "status", "fields"), NOT_TAKEN.values(), ids=NOT_TAKEN)
def test_files_that_are_none_are_refused_and_nothing_is_stored(
    bare_api: Api, service: str, content: bytes, said: dict[str, str], status: int, fields: list[str]
) -> None:
    answer = bare_api.call(
        "POST", UPLOAD, token=bare_api.agent, params={"service": service, **said}, content=content,
        headers={"Content-Type": "text/plain"},
    )  # fmt: skip
    assert answer.status_code == status, answer.text
    assert sorted({fault["field"] for fault in answer.json()["errors"]}) == fields
    assert not (bare_api.state_dir / "profile-store" / "raw" / "default" / service).exists()


def test_a_profile_is_taken_only_from_whom_heartbeats_are_taken(bare_api: Api, keyring: dict[str, str | None]) -> None:
    enrolled = [
        bare_api.ok(
            "POST", "/api/v1/enrol", token=keyring["enrolment of web"],
            json={"service_name": "web", "hostname": f"uploader-{name}"},
        )["token"]
        for name in ("a", "b")
    ]  # fmt: skip
    bare_api.made_tokens += enrolled
    beat = {"ip_address": "10.0.0.1", "hostname": "uploader-c", "service_name": "web"}
    bare_api.ok("POST", HEARTBEAT, token=keyring["agent of web"], json=beat)
    others, _ = bare_api.make_token("agent", "web")
    for host, who, status in (
        ("uploader-a", enrolled[0], 200), ("uploader-b", enrolled[0], 403), ("uploader-a", enrolled[1], 403),
        ("uploader-a", others, 200),  # nobody has beaten for it: it is nobody's yet
        ("uploader-c", keyring["agent of web"], 200), ("uploader-c", others, 403), ("uploader-c", enrolled[0], 403),
        ("uploader-c", keyring["admin"], 200), ("uploader-d", enrolled[0], 403),
    ):  # fmt: skip
        answer = send(bare_api, "web", agent_body(host), token=who)
        assert answer.status_code == status, (host, answer.text)
        if status == 403:
            assert [fault["field"] for fault in answer.json()["errors"]] == ["hostname"]


def test_a_tree_that_is_too_large_says_what_was_cut(served: Api, service: str) -> None:
    send(served, service, agent_body())
    indexed(served, service, 1)
    graph = asked(served, "flamegraph", service, most_nodes=3)
    assert (graph["cut_nodes"], graph["cut_samples"], graph["samples"]) == (3, 15, 45)


def deep(levels: int) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = [value]
    return value


BAD: dict[str, tuple[dict[str, Any], int, list[str]]] = {
    "no body": ({}, 422, ["end_time", "hostname", "profile", "start_time"]),
    "null": ({**agent_body(), "profile": None, "hostname": None}, 422, ["hostname", "profile"]),
    "wrong types": ({**agent_body(), "profile": 3, "start_time": "soon"}, 422, ["profile", "start_time"]),
    "an empty name": ({**agent_body(), "hostname": ""}, 422, ["hostname"]),
    "a name that is too long": ({**agent_body(), "hostname": "x" * 257}, 422, ["hostname"]),
    "NUL in a name": ({**agent_body(), "hostname": "a\0b"}, 422, ["hostname"]),
    "no stack": ({**agent_body(), "profile": "# {}\n"}, 422, ["profile"]),
    "no good line": ({**agent_body(), "profile": "# {}\nmain\nmain 0"}, 422, ["profile.2", "profile.3"]),
    "a wrong header": ({**agent_body(), "profile": "# nothing\nmain 1"}, 422, ["profile"]),
    "from the future": (agent_body(start=datetime(2200, 1, 1, tzinfo=UTC)), 422, ["start_time"]),
    "junk that nobody asks for": ({**agent_body(), "junk": [[]] * 200_000}, 422, ["body"]),
    "junk that is deep": ({**agent_body(), "junk": deep(100)}, 422, ["body"]),
    "junk in the first line": (agent_body(junk=[[]] * 300_000), 422, ["profile"]),
    "more samples than can be told": (agent_body(stacks={"a": 2**53, "b": 1}), 422, ["profile"]),
    "ended before it began": ({**agent_body(), "end_time": "2026-05-03T00:00:00"}, 422, ["end_time"]),
    "endless": ({**agent_body(), "end_time": "2026-06-03T00:00:00"}, 422, ["end_time"]),
}


@pytest.mark.parametrize(("body", "status", "fields"), BAD.values(), ids=BAD)
def test_bad_uploads_are_refused_and_nothing_is_stored(
    bare_api: Api, service: str, body: dict[str, Any], status: int, fields: list[str]
) -> None:
    answer = send(bare_api, service, body)
    assert answer.status_code == status, answer.text
    assert sorted(fault["field"] for fault in answer.json()["errors"]) == fields
    assert not (bare_api.state_dir / "profile-store" / "raw" / "default" / service).exists()


@pytest.mark.parametrize(
    ("content", "status"),
    [
        (b"", 400), (b"no gzip", 400), (gzip.compress(json.dumps(agent_body()).encode())[:-9], 400),
        (gzip.compress(b"{}") + b"more", 400), (gzip.compress(b"[]"), 422),
        (gzip.compress(b'{"profile": "\xff"}'), 422),
        (gzip.compress(b" " * (97 * 1024 * 1024)), 413), (b"\0" * (17 * 1024 * 1024), 413),
    ],
    ids=["empty", "no gzip", "cut short", "two", "no object", "no UTF-8", "a bomb", "too large"],
)  # fmt: skip
def test_bodies_that_are_none_are_refused(bare_api: Api, service: str, content: bytes, status: int) -> None:
    headers = {"GPROFILER-SERVICE-NAME": service, "Content-Encoding": "gzip", "Content-Type": "application/json"}
    answer = bare_api.call("POST", UPLOAD, token=bare_api.agent, content=content, headers=headers)
    assert answer.status_code == status, answer.text
    assert answer.json()["errors"]


@pytest.mark.parametrize("form", ["agent", "collapsed"])
def test_five_million_distinct_stacks_are_refused_by_the_line_and_the_api_goes_on(
    bare_api: Api, service: str, form: str
) -> None:
    lines = "\n".join(f"f{number:x} 1" for number in range(5_000_000))
    when = START.isoformat()
    said = {"service": service, "hostname": "a", "start_time": when, "end_time": when, "format": form}
    body = lines if form == "collapsed" else json.dumps({**agent_body(), "profile": lines})
    answer = bare_api.call(
        "POST", UPLOAD, token=bare_api.agent, params=said if form == "collapsed" else {"service": service},
        content=gzip.compress(body.encode(), 1),
        headers={"Content-Encoding": "gzip", "Content-Type": "application/json"},
    )  # fmt: skip
    assert answer.status_code == 422, answer.text
    (fault,) = answer.json()["errors"]
    assert (fault["field"], fault["message"]) == ("profile", "line 500001: more than 500,000 distinct stacks")
    assert not (bare_api.state_dir / "profile-store" / "raw" / "default" / service).exists()
    assert send(bare_api, service, agent_body()).status_code == 200


def test_an_upload_that_breaks_off_is_in_a_file_without_a_name_and_gone_with_its_connection(
    bare_api: Api, service: str
) -> None:
    store = bare_api.state_dir / "profile-store"
    before = {*store.rglob("*")}
    head = (
        f"POST {UPLOAD}?service={service} HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer {bare_api.agent}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {4 * SPOOLED_IN_MEMORY}\r\n\r\n"
    )

    def spooled() -> list[Path]:
        pids = [bare_api.role.pid, *(each.pid for each in psutil.Process(bare_api.role.pid).children(recursive=True))]
        opened: list[Path] = []
        for descriptor in (each for pid in pids for each in Path(f"/proc/{pid}/fd").iterdir()):
            with suppress(FileNotFoundError):  # closed just now
                opened.append(descriptor.readlink())
        return [path for path in opened if path.is_relative_to(store) and path.name.endswith("(deleted)")]

    address = urlsplit(bare_api.url)
    with socket.create_connection((address.hostname, address.port)) as connection:
        connection.sendall(head.encode() + b" " * (2 * SPOOLED_IN_MEMORY))
        eventually(lambda: len(spooled()) == 1, within=30, what="half an upload on the disk")
        assert {*store.rglob("*")} - before == set()
    eventually(lambda: not spooled(), within=30, what="nothing of it left")
    assert {*store.rglob("*")} - before == set()


def test_whoever_may_not_upload_or_look_does_not(bare_api: Api, keyring: dict[str, str | None]) -> None:
    assert send(bare_api, "web", agent_body(), token=keyring["agent of db"]).status_code == 403
    assert send(bare_api, "web", agent_body(), token=keyring["viewer of web"]).status_code == 403
    assert send(bare_api, "web", agent_body(), token="pcs_nobody").status_code == 401
    assert send(bare_api, "web", agent_body(), token=keyring["agent of web"]).status_code == 200
    for what in ("profiles", "flamegraph"):
        said = {"service": "web", **TIMES}
        for who, status in (("viewer of web", 200), ("viewer of db", 403), ("agent of web", 403), ("none", 401)):
            answer = bare_api.call("GET", f"/api/v1/{what}", token=keyring[who], params=said)
            assert answer.status_code == status, (what, who)


def test_a_name_is_one_folder_whatever_is_in_it(bare_api: Api) -> None:
    root = bare_api.state_dir / "profile-store"
    before = {each.name for each in root.iterdir()} if root.exists() else set()  # of other tests, which delete, too
    for name in ("..", "../../etc", "a/b", ".hidden", "é" * 200):
        given = {"GPROFILER-SERVICE-NAME": ""}
        assert send(bare_api, name, agent_body(name), params={"service": name}, **given).status_code == 200, name
    assert send(bare_api, "x" * 257, agent_body()).status_code == 422
    assert before <= {"raw", "samples", "stacks", GONE}
    assert {each.name for each in root.iterdir()} - before <= {"raw", "samples", "stacks"}
    services = {each.name for each in (root / "raw" / "default").iterdir()}
    assert {"%2E.", "..%2F..%2Fetc".replace("..", "%2E.", 1), "a%2Fb", "%2Ehidden"} <= services
    assert max(map(len, services)) <= 200


FORMATS: dict[str, tuple[str, bytes]] = {
    ".json": ("application/json", b'{"root":'),
    ".col": ("text/plain; charset=utf-8", b"web;main;work 30\nweb;main;rest 10\ndb;loop 5\n"),
    ".html": ("text/html; charset=utf-8", b"<!"),
    ".pb.gz": ("application/vnd.google.protobuf+gzip", b"\x1f\x8b"),
    ".speedscope.json": ("application/speedscope+json", b'{"$schema"'),
}


def test_one_profile_and_a_merge_come_in_each_format_by_ending_and_by_accept(served: Api, service: str) -> None:
    told = send(served, service, agent_body(frequency_hz=11)).json()
    indexed(served, service, 1)
    assert told["results_path"] == f"/api/v1/profiles/{told['profile_id']}.html?service={service}"
    one = f"profiles/{told['profile_id']}"
    for where, params in (("flamegraph", {"service": service, **TIMES}), (one, {"service": service})):
        plain = served.call("GET", f"/api/v1/{where}", token=served.admin, params=params)
        assert plain.json()["samples"] == 45
        for ending, (media_type, begins) in FORMATS.items():
            by_ending = served.call("GET", f"/api/v1/{where}{ending}", token=served.admin, params=params)
            accepted = {"Accept": f"image/png, {media_type.partition(';')[0]};q=0.9, text/plain;q=0.1"}
            by_accept = served.call("GET", f"/api/v1/{where}", token=served.admin, params=params, headers=accepted)
            assert by_ending.status_code == 200, by_ending.text
            assert by_ending.content == by_accept.content
            assert by_ending.content.startswith(begins), ending
            assert by_ending.headers["content-type"] == by_accept.headers["content-type"] == media_type
            assert "sandbox" in by_ending.headers["content-security-policy"]
            assert by_ending.headers["cache-control"] == by_accept.headers["cache-control"] == "private, no-store"


def test_a_profile_that_is_not_there_is_not_found(served: Api, service: str) -> None:
    for name in ("20260504T10-0000", "nothing", "..", "20260504T10-0000.html", "20269904T10-0"):
        answer = served.call("GET", f"/api/v1/profiles/{name}", token=served.admin, params={"service": service})
        assert answer.status_code in {404, 422}, name


def test_cpu_and_allocation_are_not_added_up(served: Api, service: str) -> None:
    send(served, service, agent_body("a"))
    send(served, service, agent_body("b", profiling_mode="allocation", stacks={"web;new": 4096}))
    indexed(served, service, 2)
    assert asked(served, "flamegraph", service)["samples"] == 45
    graph = asked(served, "flamegraph", service, profiling_mode="allocation")
    assert (graph["samples"], graph["unit"]) == (4096, "bytes")
    both = {"service": service, **TIMES, "profiling_mode": ["cpu", "allocation"]}
    answer = served.call("GET", "/api/v1/flamegraph", token=served.admin, params=both)
    assert answer.status_code == 422
    assert [fault["field"] for fault in answer.json()["errors"]] == ["profiling_mode"]
