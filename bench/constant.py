"""The ceiling: an ASGI application that reads the body and answers with a constant, served just as the API is."""

import argparse
from typing import Final

import uvicorn
from starlette.types import Receive, Scope, Send

from api.server import config_of
from protocol.heartbeats import HeartbeatReply

BODY: Final = HeartbeatReply(heartbeat_interval=30).model_dump_json().encode()
HEADERS: Final = [(b"content-type", b"application/json"), (b"content-length", str(len(BODY)).encode())]


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer."""
    if scope["type"] == "lifespan":
        while True:
            message = await receive()
            await send({"type": f"{message['type']}.complete"})
            if message["type"] == "lifespan.shutdown":
                return
    while (await receive()).get("more_body"):
        pass
    await send({"type": "http.response.start", "status": 200, "headers": HEADERS})
    await send({"type": "http.response.body", "body": BODY})


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    uvicorn.Server(config_of(app, host="127.0.0.1", port=parser.parse_args().port)).run()
