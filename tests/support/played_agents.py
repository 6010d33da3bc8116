"""Agents that a test plays over HTTP, each in a thread: they beat, take what comes, and end it as they were told to."""

import contextlib
import threading
from collections.abc import Iterator
from typing import Any, Final

import httpx

BEATS_EVERY_S: Final = 0.15


class PlayedAgent:
    """One host's agent. It ends each command at once with `status`; without one it runs on until it is told to stop."""

    def __init__(self, url: str, token: str, *, service: str, host: str, status: str | None, reason: str = "") -> None:
        self._http = httpx.Client(base_url=url, headers={"Authorization": f"Bearer {token}"}, timeout=10)
        self._who = {"service_name": service, "hostname": host, "ip_address": "127.0.0.1"}
        self._status, self._reason = status, reason
        self._done = threading.Event()
        self._held: str | None = None
        self._thread = threading.Thread(target=self._live, name=f"agent of {host}", daemon=True)

    def start(self) -> None:
        """Be there: returns once the server has heard of it."""
        self._beat()
        self._thread.start()

    def stop(self) -> None:
        """Fall silent."""
        self._done.set()
        self._thread.join(10)
        self._http.close()

    def _live(self) -> None:
        while not self._done.wait(BEATS_EVERY_S):
            with contextlib.suppress(httpx.HTTPError):
                self._beat()

    def _beat(self) -> None:
        held = {"last_command_id": self._held, "received_command_ids": [self._held]} if self._held else {}
        status = "running" if self._held and self._status is None else "active"
        answer = self._http.post("/api/metrics/heartbeat", json={**self._who, "status": status, **held})
        assert answer.status_code == 200, answer.text
        reply: dict[str, Any] = answer.json()
        if reply["command_id"] is not None and reply["command_id"] != self._held:
            self._take(reply["command_id"], reply["profiling_command"]["command_type"])

    def _take(self, command_id: str, kind: str) -> None:
        self._held = command_id
        status = "completed" if kind == "stop" else self._status
        if status is None:
            return
        said = {"error_message": self._reason} if status == "failed" else {"execution_time": 1.5, "samples": 42}
        body = {"command_id": command_id, "hostname": self._who["hostname"], "status": status, **said}
        answer = self._http.post("/api/metrics/command_completion", json=body)
        assert answer.status_code in {200, 404}, answer.text


@contextlib.contextmanager
def played(*agents: PlayedAgent) -> Iterator[None]:
    """Agents that are there until the end of the block."""
    for agent in agents:
        agent.start()
    try:
        yield
    finally:
        for agent in agents:
            agent.stop()
