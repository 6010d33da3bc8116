"""A Performance Studio for agents' tests: real HTTP on loopback, the heartbeat protocol, and faults on demand.

It keeps the protocol's promises: an offer stands until the agent names it; a stop until it is carried out.
"""

import gzip
import json
import select
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Final, Self

from agent.transport import COMPLETION_PATH, HEARTBEAT_PATH, UPLOAD_PATH
from tests.support.processes import eventually, free_port

TOKEN: Final = "t0ken-for-tests"


@dataclass(frozen=True)
class Call:
    """One request of the agent, as it came. `at` is by the monotonic clock."""

    at: float
    path: str
    headers: dict[str, str]
    body: dict[str, Any]
    query: str = ""


@dataclass
class Fault:
    """What the next calls get instead of an answer. `times` counts down; `path` None is any."""

    times: int
    status: int | None = None
    retry_after: str | None = None
    path: str | None = None
    raw: bytes | None = None


@dataclass
class Offer:
    """A command on offer. `delivered` are the moments it went into a reply."""

    command_id: str
    command: dict[str, Any]
    delivered: list[float] = field(default_factory=list)
    lose: int = 0
    stubborn: int = 0


def start(**config: Any) -> dict[str, Any]:
    """A start command as it travels."""
    return {"command_type": "start", "combined_config": {"duration": 60, "frequency": 100, **config}}


def stop(**config: Any) -> dict[str, Any]:
    """A stop command as it travels."""
    return {"command_type": "stop", "combined_config": {"stop_level": "host", **config}}


class FakeServer:
    """A server to script. `holds` is whether it knows `Prefer: wait`."""

    def __init__(self, *, holds: bool = True, interval: int | None = 1) -> None:
        self.holds = holds
        self.interval = interval
        self.calls: list[Call] = []
        self.faults: list[Fault] = []
        self.unknown: set[str] = set()
        self.names_profiles = False
        self.counts_generations = True
        self._changed = threading.Condition()
        self._offer: Offer | None = None
        self._port = 0
        self._http: _Http | None = None
        self._thread: threading.Thread | None = None
        self._up = False

    def __enter__(self) -> Self:
        self.come_up()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.go_down()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    # What happens to it.

    def come_up(self) -> None:
        self._up = True
        # Not one of the system's choice: while it is down, that may be given to somebody's outgoing connection.
        self._port = self._port or free_port()
        self._http = _Http(("127.0.0.1", self._port), _Handler)
        self._http.fake = self
        self._thread = threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.02})
        self._thread.start()

    def go_down(self) -> None:
        """Refuse connections; held calls get no answer."""
        if self._http is None or self._thread is None:
            return
        with self._changed:
            self._up = False
            self._changed.notify_all()
        self._http.shutdown()
        self._thread.join()
        self._http.close_connections()
        self._http.server_close()
        self._http = self._thread = None

    def offer(self, command_id: str, command: dict[str, Any], *, lose: int = 0, stubborn: int = 0) -> Offer:
        """Offer a command in place of the one before.

        `lose` replies are lost on their way; after its ack a `stubborn` one is offered so many times more.
        """
        with self._changed:
            self._offer = Offer(command_id, command, lose=lose, stubborn=stubborn)
            self._changed.notify_all()
            return self._offer

    def fail(self, times: int, **fault: Any) -> Fault:
        self.faults.append(Fault(times, **fault))
        return self.faults[-1]

    # What it has seen.

    @property
    def beats(self) -> list[Call]:
        return [call for call in [*self.calls] if call.path == HEARTBEAT_PATH]

    @property
    def completions(self) -> list[dict[str, Any]]:
        return [call.body for call in [*self.calls] if call.path == COMPLETION_PATH]

    def completion(self, command_id: str, *, within: float = 15.0) -> dict[str, Any]:
        """Wait for a command's completion."""

        def found() -> dict[str, Any] | None:
            return next((body for body in self.completions if body["command_id"] == command_id), None)

        eventually(found, within=within, what=f"the completion of {command_id}")
        return found() or {}

    def beat_with(self, check: Callable[[dict[str, Any]], object], *, within: float = 15.0) -> Call:
        """Wait for a heartbeat whose body passes the check."""

        def found() -> Call | None:
            return next((call for call in self.beats if check(call.body)), None)

        eventually(found, within=within, what="a heartbeat like that")
        call = found()
        assert call is not None
        return call

    def running(self, command_id: str, *, within: float = 15.0) -> Call:
        """Wait until the agent says that the command's run has begun."""
        return self.beat_with(
            lambda body: body.get("status") == "running" and body.get("last_command_id") == command_id, within=within
        )

    @property
    def uploads(self) -> list[Call]:
        """Every profile that came, whatever it was answered."""
        return [call for call in [*self.calls] if call.path == UPLOAD_PATH]

    # How it answers.

    def note(self, call: Call) -> Fault | None:
        """Keep a call; give the fault that is due, if one is."""
        with self._changed:
            self.calls.append(call)
            for fault in self.faults:
                if fault.times > 0 and fault.path in {None, call.path}:
                    fault.times -= 1
                    return fault
            if call.path == HEARTBEAT_PATH:
                self._take_acks(call.body)
            elif (
                call.path == COMPLETION_PATH
                and self._offer is not None
                and call.body.get("command_id") == self._offer.command_id
            ):
                self._offer = None
            return None

    def next_offer(self, wait: float, gone: Callable[[], bool]) -> Offer | None:
        """The command on offer, waited for; None when there is none, or nobody is left to take it."""
        until = time.monotonic() + wait
        with self._changed:
            while self._up and not gone():
                if self._offer is not None:
                    self._offer.delivered.append(time.monotonic())
                    return self._offer
                if (left := until - time.monotonic()) <= 0:
                    break
                self._changed.wait(min(left, 0.01))
            return None

    @property
    def up(self) -> bool:
        return self._up

    def _take_acks(self, body: dict[str, Any]) -> None:
        offer = self._offer
        if offer is None:
            return
        done = {body.get("last_command_id"), *body.get("executed_command_ids", [])}
        if offer.command["command_type"] != "stop":
            done |= set(body.get("received_command_ids", []))
        if offer.command_id in done:
            if offer.stubborn > 0:
                offer.stubborn -= 1
            else:
                self._offer = None


class _Http(ThreadingHTTPServer):
    daemon_threads = True
    fake: FakeServer

    def __init__(self, address: tuple[str, int], handler: type[BaseHTTPRequestHandler]) -> None:
        self._connections: set[socket.socket] = set()
        super().__init__(address, handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        self._connections.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        self._connections.discard(request)
        super().shutdown_request(request)

    def close_connections(self) -> None:
        for connection in [*self._connections]:
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                self._connections.discard(connection)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Agents drop calls as they please; that is no trouble of the server's."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Http

    def do_POST(self) -> None:
        fake = self.server.fake
        content = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        headers = {name.lower(): value for name, value in self.headers.items()}
        body = json.loads(gzip.decompress(content) if headers.get("content-encoding") == "gzip" else content)
        path, _, query = self.path.partition("?")
        call = Call(time.monotonic(), path, headers, body, query)
        fault = fake.note(call)
        if fault is not None:
            self._break(fault)
        elif headers.get("authorization") != f"Bearer {TOKEN}":
            self._answer(401, {"title": "no such token", "status": 401, "code": "bad_token", "detail": "no such token"})
        elif path == UPLOAD_PATH:
            told = {"id": f"profile-{len(fake.uploads)}"} if fake.names_profiles else {}
            self._answer(201, {"message": "ok", "gpid": 7, **told})
        elif path == HEARTBEAT_PATH:
            self._beat(fake, headers.get("prefer", ""))
        elif body["command_id"] in fake.unknown:
            self._answer(404, {"title": "unknown", "status": 404, "code": "unknown", "detail": "no such command"})
        else:
            self._answer(200, {"success": True, "message": "recorded"})

    def _beat(self, fake: FakeServer, prefer: str) -> None:
        wait = int(prefer.removeprefix("wait=")) if fake.holds and prefer.startswith("wait=") else 0
        offer = fake.next_offer(wait, self._gone)
        if not fake.up:
            self.close_connection = True
            return
        if offer is not None and offer.lose > 0:
            offer.lose -= 1
            self.close_connection = True
            return
        reply: dict[str, Any] = {"success": True, "message": "ok", "profiling_command": None, "command_id": None}
        if fake.interval is not None:
            reply["heartbeat_interval"] = fake.interval
        if offer is not None:
            reply |= {"profiling_command": offer.command, "command_id": offer.command_id}
            reply |= {"generation": 1} if fake.counts_generations else {}
        self._answer(200, reply, {"Preference-Applied": f"wait={wait}"} if wait else {})

    def _gone(self) -> bool:
        """Whether the agent has hung up."""
        try:
            readable, _, _ = select.select([self.connection], [], [], 0)
            return bool(readable) and self.connection.recv(1, socket.MSG_PEEK) == b""
        except OSError:
            return True

    def _break(self, fault: Fault) -> None:
        if fault.raw is not None:
            self._send(200, fault.raw, {})
        elif fault.status is None:
            self.close_connection = True
        else:
            after = {"Retry-After": fault.retry_after} if fault.retry_after else {}
            self._answer(
                fault.status, {"title": "fault", "status": fault.status, "code": "fault", "detail": "as told"}, after
            )

    def _answer(self, status: int, body: dict[str, Any], headers: dict[str, str] | None = None) -> None:
        self._send(status, json.dumps(body).encode(), {"Content-Type": "application/json", **(headers or {})})

    def _send(self, status: int, content: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class names it so
        """Say nothing."""
