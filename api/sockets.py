"""Websockets as we serve them: a handshake that cannot be read is refused, and one that we refuse is no fault."""

from typing import Any, Final

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

UNREADABLE: Final = b"The handshake is too large."
REFUSED: Final = (
    b"HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\nConnection: close\r\n"
    b"Content-Length: %d\r\n\r\n%b" % (len(UNREADABLE), UNREADABLE)
)


class BoundedSocket(WebSocketsSansIOProtocol):
    """Ends connections that uvicorn's own forgets: nothing waits for those, so anybody could leave them open."""

    def data_received(self, data: bytes) -> None:
        """Read on. The head comes first and whole; the library reads lines of up to 8 KiB, and 128 headers."""
        super().data_received(data)
        if not self.handshake_initiated and not self.transport.is_closing():
            self.transport.write(REFUSED)
            self.transport.close()

    async def send(self, message: Any) -> None:
        """Send on. A refusal ends the handshake: else the log says of each that the application is broken."""
        await super().send(message)
        if message["type"] == "websocket.http.response.body" and self.close_sent:
            self.handshake_complete = True
