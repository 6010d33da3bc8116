"""Listening to live events, by SSE and by websocket, as a client would."""

import contextlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import httpx
import redis
from websockets.sync.client import ClientConnection, connect

from broker import keys
from tests.support.api import Api, bearer

EVENTS = "/api/v1/events"


@dataclass(frozen=True)
class Heard:
    """One event; `data` is None for a beat."""

    kind: str
    event_id: str
    data: dict[str, Any] | None

    @property
    def mark(self) -> tuple[Any, ...]:
        """What tells it from every other: of one host, one command, one state."""
        assert self.data is not None
        return tuple(self.data.get(name) for name in ("hostname", "command_id", "state", "event", "generation"))


class Listening:
    """A stream being read, one event at a time."""

    def __init__(self, events: Iterator[Heard]) -> None:
        self._events = events
        self.last_id = ""

    def next(self) -> Heard:
        """The next event that is no beat."""
        for heard in self._events:
            self.last_id = heard.event_id
            if heard.data is not None:
                return heard
        raise EOFError

    def take(self, count: int) -> list[Heard]:
        """So many events."""
        return [self.next() for _ in range(count)]

    def until(self, check: Callable[[Heard], bool]) -> list[Heard]:
        """Events up to one, itself included."""
        heard = [self.next()]
        while not check(heard[-1]):
            heard.append(self.next())
        return heard

    def rest(self) -> list[Heard]:
        """Whatever comes until the stream ends, or breaks."""
        heard = []
        with contextlib.suppress(EOFError, httpx.TransportError):
            while True:
                heard.append(self.next())
        return heard


@contextlib.contextmanager
def listening(
    api: Api, *, token: str | None = None, last_event_id: str | None = None, **query: str
) -> Iterator[Listening]:
    """An SSE stream, once it has said hello."""
    headers = bearer(token or api.admin) | ({"Last-Event-ID": last_event_id} if last_event_id else {})
    timeout = httpx.Timeout(40, connect=5)
    with (
        httpx.Client(base_url=api.url, trust_env=False, verify=False, timeout=timeout) as http,
        http.stream("GET", EVENTS, params=query, headers=headers) as answer,
    ):
        assert answer.status_code == 200, answer.read()
        assert answer.headers["content-type"] == "text/event-stream"
        stream = Listening(_blocks(answer.iter_lines()))
        assert stream.next().kind == "hello"
        yield stream


def _blocks(lines: Iterator[str]) -> Iterator[Heard]:
    found: dict[str, str] = {}
    for line in lines:
        if line:
            name, _, text = line.partition(": ")
            found[name] = text
        elif found:
            data = json.loads(found["data"]) if "data" in found else None
            yield Heard(found.get("event", "beat"), found["id"], data)
            found = {}


@contextlib.contextmanager
def on_a_socket(api: Api, *, token: str | None = None, **query: str) -> Iterator[Listening]:
    """A websocket, once it has said hello; the token in the header."""
    with socket_to(api, query=query, additional_headers=bearer(token or api.admin)) as socket:
        stream = Listening(_messages(socket))
        assert stream.next().kind == "hello"
        yield stream


def socket_to(api: Api, *, query: dict[str, str] | None = None, **given: Any) -> ClientConnection:
    """A websocket as it is, before it has said anything."""
    url = httpx.URL(f"{api.url.replace('http', 'ws', 1)}/api/v1/ws", params=query or {})
    connection: ClientConnection = connect(str(url), proxy=None, **given)
    return connection


def _messages(socket: ClientConnection) -> Iterator[Heard]:
    for text in socket:
        message = json.loads(text)
        yield Heard(message["kind"], message["id"], message.get("data"))


def told_in_the_broker(api: Api, service: str) -> list[tuple[Any, ...]]:
    """The marks of every result of a service, as they stand in the streams."""
    marks = []
    with redis.Redis.from_url(api.settings.url, decode_responses=True) as client:
        for at in range(api.settings.partitions):
            entries: Any = client.xrange(keys.results(at))
            for _, each in entries:
                if each["service"] == service:
                    marks.append((
                        each["hostname"], each["command_id"] or None, each["state"], None, int(each["generation"]),
                    ))  # fmt: skip
    return marks
