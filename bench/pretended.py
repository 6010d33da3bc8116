"""A stand-in for a studio: it holds heartbeats, offers one command, and takes the completion. Plain HTTP, this process.

What an agent costs is measured beside it rather than beside the real server, which would take a core of its own.
"""

import contextlib
import json
import queue
import threading
import uuid
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from agent.transport import HEARTBEAT_PATH


class Server(ThreadingHTTPServer):
    """Holds a heartbeat as long as it may, or until there is a command."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answer)
        self.beats = 0
        self.completions: queue.Queue[dict[str, Any]] = queue.Queue()
        self._command: dict[str, Any] | None = None
        self._news = threading.Condition()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def submit(self, seconds: float, *, frequency_hz: int) -> None:
        """Have the agent profile the whole host."""
        config = {"duration": int(seconds), "frequency": frequency_hz, "continuous": False}
        command = {"command_type": "start", "combined_config": config}
        with self._news:
            self._command = {"profiling_command": command, "command_id": uuid.uuid4().hex, "generation": 1}
            self._news.notify_all()

    def answer(self, beat: dict[str, Any], wait: int) -> dict[str, Any]:
        """What a heartbeat gets: the command, until the agent has named it."""
        self.beats += 1
        with self._news:
            if self._command is not None and beat.get("last_command_id") == self._command["command_id"]:
                self._command = None
            if self._command is None and wait:
                self._news.wait(wait)
            nothing = {"profiling_command": None, "command_id": None}
            return {"success": True, "message": "ok", "heartbeat_interval": 30, **(self._command or nothing)}

    def hush(self) -> None:
        """Hold nothing any longer."""
        with self._news:
            self._news.notify_all()


class Answer(BaseHTTPRequestHandler):
    """A heartbeat, or a completion."""

    protocol_version = "HTTP/1.1"
    server: Server

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers.get("Content-Length", 0))))
        prefer = self.headers.get("Prefer", "")
        if self.path.startswith(HEARTBEAT_PATH):
            reply = self.server.answer(body, int(prefer.removeprefix("wait=") or 0))
        else:
            self.server.completions.put(body)
            reply = {"success": True, "message": "recorded"}
        content = json.dumps(reply).encode()
        self.send_response(200)
        if prefer:
            self.send_header("Preference-Applied", prefer)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        with contextlib.suppress(BrokenPipeError):  # an agent that was told to end does not wait for its answer
            self.end_headers()
            self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        pass


@contextlib.contextmanager
def served() -> Iterator[Server]:
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.hush()
            server.shutdown()
