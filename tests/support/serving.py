"""An ASGI application under the server that we run, in the test's own loop."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import uvicorn
from starlette.types import ASGIApp, Receive, Scope, Send

from api.at_the_door import Door
from api.server import config_of


class _WithDoor:
    def __init__(self, app: ASGIApp, door: Door | None) -> None:
        self._app = app
        self.door = door

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._app(scope, receive, send)


@contextlib.asynccontextmanager
async def served(
    app: ASGIApp, *, door: Door | None = None, trusted_proxies: str = "", idle_seconds: float | None = None
) -> AsyncIterator[int]:
    """A server with our settings, until the end of the block; gives its port.

    Args:
        app: that answers.
        door: who may refuse calls before.
        trusted_proxies: as in the settings.
        idle_seconds: for how long a connection may stay without a call; None: as in the settings.
    """
    config = config_of(_WithDoor(app, door), host="127.0.0.1", port=0, trusted_proxies=trusted_proxies)
    config.lifespan = "off"
    if idle_seconds is not None:
        config.timeout_keep_alive = idle_seconds  # type: ignore[assignment]  # it is for the event loop's timer alone
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server._serve())
    async with asyncio.timeout(10):
        while not server.started:  # noqa: ASYNC110 - uvicorn has no event for it
            await asyncio.sleep(0.01)
    yield server.servers[0].sockets[0].getsockname()[1]
    server.should_exit = True
    await serving
