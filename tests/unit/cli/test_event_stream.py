"""Live events as lines: read, and gone on with after a break."""

import itertools
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import pytest

from cli import event_stream
from cli.calls import Calls
from cli.errors import Refused, Unreachable
from cli.event_stream import Event, follow, read
from cli.results import line

FIRST = (
    'id: 1\nevent: hello\ndata: {}\n\nid: 2\nevent: command\ndata: {"state": "running"}\n\n: beat\nid: 3\n\nid: 4\neve'
)


def test_events_are_read_and_a_beat_moves_the_cursor_alone() -> None:
    assert list(read(FIRST.splitlines())) == [
        Event("hello", "1", {}), Event("command", "2", {"state": "running"}), Event("beat", "3", {}),
    ]  # fmt: skip


@pytest.fixture(autouse=True)
def _at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_stream, "AGAIN_AFTER_S", 0.0)


def test_after_a_break_it_goes_on_from_the_last_event_that_was_whole() -> None:
    asked: list[str | None] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request.headers.get("Last-Event-ID"))
        if len(asked) == 2:
            raise httpx.ConnectError("down")
        return httpx.Response(200, text=FIRST if len(asked) == 1 else 'id: 5\nevent: command\ndata: {"n": 5}\n\n')

    said: list[str] = []
    with Calls("http://127.0.0.1:1", transport=httpx.MockTransport(answer)) as client:
        told = list(itertools.islice(follow(client, {}, after=None, tell=said.append), 4))
    assert [event.id for event in told] == ["1", "2", "3", "5"]
    assert asked == [None, "3", "3"]
    assert len(said) == 1


def test_a_token_that_may_not_listen_ends_it() -> None:
    problem = {"title": "No", "status": 401, "code": "unauthenticated", "detail": "no"}
    with (
        Calls(
            "http://127.0.0.1:1", transport=httpx.MockTransport(lambda _: httpx.Response(401, json=problem))
        ) as client,
        pytest.raises(Refused),
    ):
        next(follow(client, {}, after=None, tell=lambda _: None))


def test_an_api_that_stays_away_ends_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(event_stream, "PATIENCE_S", -1.0)

    class Away(Calls):
        @contextmanager
        def lines(self, *_: object) -> Iterator[Iterator[str]]:
            raise Unreachable("away")
            yield iter(())

    with Away("http://127.0.0.1:1") as client, pytest.raises(Unreachable):
        next(follow(client, {}, after=None, tell=lambda _: None))


def test_a_line_says_when_where_what_and_why() -> None:
    data = {
        "at": "2026-05-04T12:00:01.250Z",
        "service_name": "s",
        "hostname": "h",
        "state": "failed",
        "reason": "no perf",
    }
    assert line("command", data) == "12:00:01Z  command  s/h  failed  no perf"
