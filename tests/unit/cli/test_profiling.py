"""What `studio profile` makes of its options, how it submits once, and how an end becomes an exit code."""

import json
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from cli import following
from cli.answers import HostProgress, RequestProgress
from cli.bars import Lines, Quiet, counts_told, share_done
from cli.client import StudioClient
from cli.errors import Refused, Unreachable, Usage, WaitedTooLong
from cli.flame_graphs import ending_of, read_stacks
from cli.profiling import moment
from cli.submitting import read_outputs
from cli.targets import NAMES, body_of_targets
from cli.verdicts import by_reason, exit_code, is_over, sentence, unhappy
from protocol.lifecycle import State
from protocol.requests import ProfileRequest

NOW = datetime(2026, 5, 4, 12, 0, tzinfo=UTC)


def targets(**said: Any) -> dict[str, Any]:
    nothing: dict[str, Any] = dict.fromkeys(NAMES) | {"hosts": (), "pids": (), "all_": False}
    return nothing | said


@pytest.mark.parametrize(
    ("said", "sample", "body"),
    [
        ({"hosts": ("a", "b")}, None, {"target_hostnames": ["a", "b"]}),
        ({"hosts": ("a",), "pids": (7,)}, None, {"target_hostnames": ["a"], "pids": [7]}),
        ({"all_": True}, None, {"target_scope": "service"}),
        ({}, "3", {"target_scope": "service", "sample": 3}),
        ({}, "10%", {"target_scope": "service", "sample": "10%"}),
        ({"namespace": "n"}, None, {"target_scope": "namespace", "target_entities": [{"namespace": "n"}]}),
        (
            {"namespace": "n", "pod": "p", "hosts": ("a", "b")}, None,
            {"target_scope": "pod", "target_entities": [
                {"pod_name": "p", "namespace": "n", "hostname": "a"},
                {"pod_name": "p", "namespace": "n", "hostname": "b"},
            ]},
        ),
    ],
)  # fmt: skip
def test_targets_become_a_body_that_the_api_takes(
    said: dict[str, Any], sample: str | None, body: dict[str, Any]
) -> None:
    made = body_of_targets(targets(**said), sample=sample)
    assert made == body
    ProfileRequest.model_validate({"service_name": "s", **made})


@pytest.mark.parametrize(
    ("said", "sample"),
    [
        ({}, None), ({"all_": True, "hosts": ("a",)}, None), ({"all_": True, "pod": "p"}, None),
        ({"pod": "p", "pids": (1,)}, None), ({"pod": "p"}, "3"),
    ],
)  # fmt: skip
def test_no_target_and_two_at_once_are_faults_of_usage(said: dict[str, Any], sample: str | None) -> None:
    with pytest.raises(Usage):
        body_of_targets(targets(**said), sample=sample)


def test_an_output_is_a_format_or_a_file_by_its_ending(tmp_path: Path) -> None:
    assert read_outputs(()) == ("table", ())
    file = tmp_path / "f.speedscope.json"
    assert read_outputs(("json", str(file))) == ("json", (file,))
    assert ending_of(file) == ".speedscope.json"
    for bad in ("flame.png", str(tmp_path / "nowhere" / "f.svg")):
        with pytest.raises(Usage):
            read_outputs((bad,))


def test_a_start_may_be_said_from_now_on() -> None:
    assert moment("+5m", now=NOW) == (NOW + timedelta(minutes=5)).isoformat()
    assert moment("2026-05-04T00:00:00Z", now=NOW) == "2026-05-04T00:00:00Z"


# --- how it ends ---


def progress(*states: State, standing: str | None = None, **of_hosts: Any) -> RequestProgress:
    hosts = [HostProgress(hostname=f"h{number}", status=state, **of_hosts) for number, state in enumerate(states)]
    counts = {state.value: states.count(state) for state in states}
    return RequestProgress(
        request_id="r", status="x", hosts=hosts, hosts_total=len(states), counts=counts, standing=standing
    )


@pytest.mark.parametrize(
    ("states", "code"),
    [
        ([State.COMPLETED, State.COMPLETED], 0),
        ([State.FAILED], 1),
        ([State.LOST, State.CANCELLED], 1),
        ([State.COMPLETED, State.EXPIRED], 5),
        ([State.RUNNING, State.COMPLETED], 5),
        ([], 1),
    ],
)
def test_an_end_has_an_exit_code(states: list[State], code: int) -> None:
    assert exit_code(progress(*states)) == code


def test_it_is_over_when_no_host_is_open_and_none_may_join() -> None:
    assert is_over(progress(State.COMPLETED, State.FAILED))
    assert not is_over(progress(State.COMPLETED, State.QUEUED))
    assert not is_over(progress(State.COMPLETED, standing="open"))
    assert not is_over(progress())


def test_every_outcome_but_the_good_one_has_a_reason_in_words() -> None:
    for state in (State.FAILED, State.STOPPED, State.EXPIRED, State.TIMED_OUT, State.LOST, State.UNDELIVERABLE):
        ((_, outcome, reason),) = unhappy(progress(state))
        assert (outcome, bool(reason)) == (state, True)
    assert unhappy(progress(State.FAILED, reason="no perf")) == [("h0", State.FAILED, "no perf")]
    assert by_reason(unhappy(progress(State.LOST, State.FAILED, State.FAILED)))[0][2] == ["h1", "h2"]
    assert sentence(HostProgress(hostname="h", status=State.COMPLETED, samples=7, execution_time=1.0)) == (
        "7 samples in 1.0 s"
    )


def test_a_bar_goes_by_the_servers_clock_and_is_full_only_at_the_end() -> None:
    began = HostProgress(hostname="h", status=State.RUNNING, timeline={State.RUNNING: NOW})
    assert share_done(began, 60, NOW + timedelta(seconds=30)) == 0.5
    assert share_done(began, 60, NOW + timedelta(seconds=90)) == 0.99
    assert share_done(HostProgress(hostname="h", status=State.QUEUED), 60, NOW) == 0
    assert share_done(HostProgress(hostname="h", status=State.LOST), 60, NOW) == 1


def test_a_line_is_told_once_for_each_step_and_moves_no_cursor(capsys: pytest.CaptureFixture[str]) -> None:
    lines = Lines()
    for state in (State.PENDING, State.PENDING, State.FAILED):
        lines.show(progress(state, reason="bad\x1b[2J" if state == State.FAILED else None))
    assert capsys.readouterr().err.splitlines() == ["studio: h0: pending", "studio: h0: failed (bad?[2J)"]
    assert counts_told(progress(State.FAILED, State.RUNNING, State.FAILED)) == "1 running, 2 failed"


def test_collapsed_stacks_are_read_without_their_head() -> None:
    assert read_stacks("# {}\na;b c 3\na;b c 1\n\nbroken\n") == {"a;b c": 4}


# --- once, whatever comes between ---


def connected(answer: Callable[[httpx.Request], httpx.Response]) -> StudioClient:
    return StudioClient("http://127.0.0.1:1", "secret", transport=httpx.MockTransport(answer))


def test_a_submission_whose_answer_is_lost_is_said_again_with_the_same_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(following, "AGAIN_AFTER_S", 0.0)
    keys: list[str] = []
    accepted = {
        "message": "m", "request_id": "4803bfe1-bdc7-4c29-8290-99e5252d9cd5", "hosts": 1, "command_ids": [],
        "command_id": "4803bfe1-bdc7-4c29-8290-99e5252d9cd5", "estimated_completion_time": "2026-05-04T00:00:00Z",
    }  # fmt: skip

    def answer(request: httpx.Request) -> httpx.Response:
        keys.append(request.headers["Idempotency-Key"])
        if len(keys) == 1:
            raise httpx.RemoteProtocolError("cut off")
        return httpx.Response(503 if len(keys) == 2 else 200, json=accepted)

    with connected(answer) as client:
        assert following.submit(client, {"service_name": "s"}, "key", shown=Quiet()).hosts == 1
    assert keys == ["key"] * 3


def test_what_is_refused_for_good_is_said_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(following, "AGAIN_AFTER_S", 0.0)
    asked: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        return httpx.Response(403, json={"title": "No", "status": 403, "code": "forbidden", "detail": "no"})

    with connected(answer) as client, pytest.raises(Refused) as refused:
        following.submit(client, {}, "key", shown=Quiet())
    assert (refused.value.exit_code, len(asked)) == (3, 1)


def test_an_api_that_stays_away_is_given_up_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(following, "PATIENCE_S", 0.0)

    def answer(_: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused")

    with connected(answer) as client, pytest.raises(Unreachable):
        following.follow(client, "r", shown=Quiet(), deadline=None)


class Stream(httpx.SyncByteStream):
    """A stream of events that tells of one command once it is due, and then is silent until the end."""

    def __init__(self) -> None:
        self.is_due, self.is_over, self.told = threading.Event(), threading.Event(), 0

    def __iter__(self) -> Iterator[bytes]:
        yield b": beat\nid: 1\n\n"
        self.is_due.wait(20)
        self.told += 1
        yield b"event: command\nid: 2\ndata: {}\n\n"
        self.is_over.wait(20)


def test_a_request_is_looked_at_when_something_has_happened_to_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(following, "LOOK_EVERY_S", 0.02)
    monkeypatch.setattr(following, "LOOK_AT_LEAST_EVERY_S", 1_000.0)
    stream, listened, looks = Stream(), [], 0

    def answer(request: httpx.Request) -> httpx.Response:
        nonlocal looks
        if request.url.path == "/api/v1/events":
            listened.append(dict(request.url.params))
            return httpx.Response(200, stream=stream)
        looks += 1
        if listened:
            stream.is_due.set()
        state = State.COMPLETED if stream.told else State.RUNNING
        return httpx.Response(200, json=json.loads(progress(state).model_dump_json()))

    with connected(answer) as client:
        assert following.follow(client, "r", shown=Quiet(), deadline=None).hosts[0].status == State.COMPLETED
    stream.is_over.set()
    assert listened[0] == {"kinds": "request,command", "request_id": "r"}
    assert looks < 50, "one does not ask again and again beside it"


def test_who_may_not_listen_asks_again_and_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(following, "LOOK_EVERY_S", 0.01)
    monkeypatch.setattr(following, "LOOK_AT_LEAST_EVERY_S", 1_000.0)
    looks = 0

    def answer(request: httpx.Request) -> httpx.Response:
        nonlocal looks
        if request.url.path == "/api/v1/events":
            return httpx.Response(403, json={"title": "No", "status": 403, "code": "forbidden", "detail": "no"})
        looks += 1
        state = State.COMPLETED if looks == 4 else State.RUNNING
        return httpx.Response(200, json=json.loads(progress(state).model_dump_json()))

    with connected(answer) as client:
        following.follow(client, "r", shown=Quiet(), deadline=None)
    assert looks == 4


def test_waiting_has_an_end_that_tells_what_there_is() -> None:
    open_still = json.loads(progress(State.RUNNING).model_dump_json())
    with connected(lambda _: httpx.Response(200, json=open_still)) as client, pytest.raises(WaitedTooLong) as late:
        following.follow(client, "r", shown=Quiet(), deadline=0.0)
    assert late.value.progress is not None
    assert late.value.exit_code == 4
    assert "studio requests follow r" in str(late.value)


@pytest.mark.parametrize(
    ("status", "code", "exit_code"),
    [
        (422, "invalid", 2), (404, "not_found", 2), (409, "idempotency_conflict", 2), (409, "conflict", 3),
        (401, "unauthenticated", 3), (403, "forbidden", 3), (429, "rate_limited", 3), (500, "internal", 3),
        (404, "unknown", 3),
    ],
)  # fmt: skip
def test_what_can_never_be_is_usage_and_what_may_not_be_is_refused(status: int, code: str, exit_code: int) -> None:
    assert Refused(status=status, code=code, detail="d").exit_code == exit_code
