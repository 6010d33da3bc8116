import json
import ssl
from uuid import UUID

import httpx
import pytest

from cli.calls import is_loopback
from cli.client import StudioClient
from cli.errors import Refused, StudioError, Unreachable
from protocol.lifecycle import State
from protocol.requests import ProfileRequest

REQUEST_ID = UUID("4803bfe1-bdc7-4c29-8290-99e5252d9cd5")


class Api:
    """Answers by path, and remembers what it was asked."""

    def __init__(self, **answers: httpx.Response | list[httpx.Response]) -> None:
        self._answers = {path: list(got) if isinstance(got, list) else [got] for path, got in answers.items()}
        self.asked: list[httpx.Request] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(request)
        waiting = self._answers[request.url.path.rpartition("/")[2]]
        return waiting.pop(0) if len(waiting) > 1 else waiting[0]


def connect(api: Api, token: str | None = "secret") -> StudioClient:
    return StudioClient("http://127.0.0.1:1", token, transport=httpx.MockTransport(api))


def a_problem(status: int) -> httpx.Response:
    body = {"title": "No", "status": status, "code": "forbidden", "detail": "A token of kind agent may not do this."}
    return httpx.Response(status, json=body, headers={"Content-Type": "application/problem+json"})


def test_the_token_travels_in_the_header_and_nowhere_else() -> None:
    api = Api(hosts=httpx.Response(200, json={"items": []}))
    with connect(api) as client:
        assert client.hosts() == []
        assert "secret" not in repr(client)
    assert api.asked[0].headers["Authorization"] == "Bearer secret"
    assert "secret" not in str(api.asked[0].url)


def test_a_problem_is_told_in_the_apis_own_words() -> None:
    with connect(Api(hosts=a_problem(403))) as client, pytest.raises(Refused, match="may not do this") as refusal:
        client.hosts()
    assert (refusal.value.status, refusal.value.code, refusal.value.exit_code) == (403, "forbidden", 3)
    assert "secret" not in str(refusal.value)


def test_a_refusal_that_is_no_problem_document_is_a_refusal_all_the_same() -> None:
    with connect(Api(hosts=httpx.Response(502, text="<html>"))) as client, pytest.raises(Refused, match="502"):
        client.hosts()


def test_nobody_there_is_unreachable() -> None:
    def nobody(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("Connection refused", request=request)

    client = StudioClient("http://127.0.0.1:1", transport=httpx.MockTransport(nobody))
    with client, pytest.raises(Unreachable, match=r"127\.0\.0\.1:1 does not answer: Connection refused"):
        client.readiness()


@pytest.mark.parametrize("answer", [httpx.Response(200, text="hello"), httpx.Response(200, json={"other": 1})])
def test_an_answer_of_some_other_server_is_not_taken_for_ours(answer: httpx.Response) -> None:
    with connect(Api(hosts=answer)) as client, pytest.raises(StudioError, match="no answer of this API"):
        client.hosts()


def test_every_page_of_hosts_is_read() -> None:
    def page(name: str, cursor: str | None) -> httpx.Response:
        row = {"service_name": "s", "hostname": name, "status": "online", "agent_status": "active"}
        return httpx.Response(200, json={"items": [row], "next_cursor": cursor})

    api = Api(hosts=[page("a", "next"), page("b", None)])
    with connect(api) as client:
        assert [row.hostname for row in client.hosts()] == ["a", "b"]
    assert [request.url.query for request in api.asked] == [b"", b"cursor=next"]


@pytest.mark.parametrize("status", [200, 503])
def test_readiness_is_read_also_when_it_is_bad(status: int) -> None:
    body = {"status": "unavailable", "checks": {"broker": {"ok": False, "detail": "gone"}}}
    with connect(Api(readyz=httpx.Response(status, json=body))) as client:
        assert client.readiness().checks["broker"].detail == "gone"


def test_a_request_is_submitted_as_it_was_meant_without_the_defaults() -> None:
    answer = {
        "message": "ok", "request_id": str(REQUEST_ID), "command_id": str(REQUEST_ID), "command_ids": [str(REQUEST_ID)],
        "estimated_completion_time": "2026-01-08T12:00:00Z", "hosts": 1,
    }  # fmt: skip
    api = Api(profile_request=httpx.Response(200, json=answer))
    with connect(api) as client:
        accepted = client.submit(ProfileRequest(service_name="s", target_hostnames=["h"], pids=[7], duration=5))
    assert accepted.request_id == REQUEST_ID
    asked = {"service_name": "s", "command_type": "start", "target_hostnames": ["h"], "pids": [7], "duration": 5}
    assert json.loads(api.asked[0].read()) == asked


def test_progress_is_read_with_its_timeline() -> None:
    host = {
        "hostname": "h", "status": "running", "command_id": "c", "generation": 1, "samples": None,
        "timeline": {"submitted": "2026-01-08T12:00:00Z", "running": "2026-01-08T12:00:00.250Z"},
    }  # fmt: skip
    body = {"request_id": str(REQUEST_ID), "status": "running", "counts": {"running": 1}, "hosts": [host]}
    with connect(Api(**{str(REQUEST_ID): httpx.Response(200, json=body)})) as client:
        progress = client.request(REQUEST_ID)
    timeline = progress.hosts[0].timeline
    assert progress.hosts[0].status is State.RUNNING
    assert (timeline["running"] - timeline["submitted"]).total_seconds() == 0.25


def test_a_proxy_is_not_asked_for_what_is_on_this_machine() -> None:
    assert [is_loopback(url) for url in ("http://127.0.0.1:8000", "http://[::1]:80", "http://localhost")] == [True] * 3
    assert not is_loopback("http://studio.example:8000")
    assert not is_loopback("http://10.0.0.1")


@pytest.mark.parametrize(
    ("url", "mode"),
    [
        ("https://studio.example", ssl.CERT_REQUIRED), ("HTTPS://studio.example", ssl.CERT_REQUIRED),
        ("http://studio.example", ssl.CERT_NONE), ("HTTP://studio.example", ssl.CERT_NONE),
    ],
)  # fmt: skip
def test_certificates_are_left_aside_for_plain_http_alone(url: str, mode: ssl.VerifyMode) -> None:
    with StudioClient(url) as client:
        transport = client._http._transport
        assert isinstance(transport, httpx.HTTPTransport)
        context = transport._pool._ssl_context
        assert context is not None
        assert context.verify_mode is mode
