"""A server that knows the three calls of the source text and nothing else: no held calls, no generation, no uploads.

It answers with the very JSON that the text shows, and refuses a body that does not have what the text shows: 422.
"""

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Final, Self

HEARTBEAT: Final = "/api/metrics/heartbeat"
COMPLETION: Final = "/api/metrics/command_completion"
TYPES: Final[dict[str, dict[str, tuple[type, ...]]]] = {
    HEARTBEAT: {
        "ip_address": (str,), "hostname": (str,), "service_name": (str,), "last_command_id": (str, type(None)),
        "status": (str,), "timestamp": (str,),
    },
    COMPLETION: {
        "command_id": (str,), "hostname": (str,), "status": (str,), "execution_time": (int,),
        "error_message": (str, type(None)), "results_path": (str, type(None)),
    },
}  # fmt: skip
"""The fields of each body, and what each may be; null is the same as absent."""


def fault_of(path: str, body: Any) -> str | None:
    """What is wrong with a body by the source text; unknown fields are ignored, as servers of the field do."""
    if not isinstance(body, dict):
        return "no object"
    for name, types in TYPES[path].items():
        if not isinstance(body.get(name), types) or isinstance(body.get(name), bool):
            return f"{name}: {body.get(name)!r}"
    if path == COMPLETION and body["status"] not in {"completed", "failed"}:
        return f"status: {body['status']!r}"
    return None


class SourceTextServer:
    """Offers one command until `last_command_id` names it."""

    def __init__(self) -> None:
        self.beats: list[dict[str, Any]] = []
        self.completions: list[dict[str, Any]] = []
        self.refused: list[str] = []
        self.strangers: list[str] = []
        self.offered: dict[str, Any] | None = None
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._thread = threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.02})

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._http.shutdown()
        self._thread.join()
        self._http.server_close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._http.server_address[1]}"

    def offer(self, command_id: str, command: dict[str, Any]) -> None:
        self.offered = {"profiling_command": command, "command_id": command_id}

    def answer(self, path: str, body: Any) -> tuple[int, dict[str, Any]]:
        if path not in TYPES:
            self.strangers.append(path)
            return 404, {"detail": "Not Found"}
        fault = fault_of(path, body)
        if fault is not None:
            self.refused.append(f"{path}: {fault}")
            return 422, {"detail": fault}
        if path == COMPLETION:
            self.completions.append(body)
            return 200, {"success": True, "message": f"Command completion recorded for {body['command_id']}"}
        self.beats.append(body)
        offered = self.offered
        if offered is not None and body.get("last_command_id") == offered["command_id"]:
            self.offered = offered = None
        if offered is None:
            nothing = {"profiling_command": None, "command_id": None}
            return 200, {"success": True, "message": "Heartbeat received. No pending commands.", **nothing}
        return 200, {"success": True, "message": "Heartbeat received. New profiling command available.", **offered}


def _handler(server: SourceTextServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_POST(self) -> None:
            content = self.rfile.read(int(self.headers.get("Content-Length", 0)))
            path = self.path.partition("?")[0]
            status, said = server.answer(path, json.loads(content) if path in TYPES else None)
            answer = json.dumps(said).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class names it so
            """Say nothing."""

    return Handler
