"""The server goes down in this process, step by step, so that nothing depends on who is quicker."""

import signal
from pathlib import Path

import httpx
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from api import app as application
from api.app import create_app
from api.server import Server, config_of
from api.settings import ApiSettings
from broker.connection import Broker
from tests.support.processes import free_port


async def test_who_listens_is_told_by_us_although_their_task_had_no_turn_since_the_signal(
    tmp_path: Path, broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(application, "_spare_the_collector", lambda: None)  # this process has other work after it
    port = free_port()
    app = create_app(ApiSettings(state_dir=tmp_path, insecure_no_auth=True), broker.settings)
    server = Server(config_of(app, host="127.0.0.1", port=port))
    server.config.load()
    server.lifespan = server.config.lifespan_class(server.config)
    await server.startup()
    async with (
        connect(f"ws://127.0.0.1:{port}/api/v1/ws", proxy=None) as socket,
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", trust_env=False, timeout=20) as http,
        http.stream("GET", "/api/v1/events") as events,
    ):
        await socket.recv()
        lines = events.aiter_lines()
        await anext(lines)
        server.handle_exit(signal.SIGTERM, None)
        await server.shutdown()  # at once, as when the server's own tick comes right after the signal
        with pytest.raises(ConnectionClosed):
            await socket.recv()
        assert (socket.close_code, socket.close_reason) == (1001, "the server is going down")
        assert "" in [line async for line in lines], "the stream ended in good order"
