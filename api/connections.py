"""Bounds on how a call may arrive, before there is a caller to ask: uvicorn's own protocol has none.

Without them one connection without a token fills the memory with headers, or stays for ever with a call half sent.
"""

import asyncio
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any, Final

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

MOST_HEAD_BYTES: Final = 128 * 1024
"""What may come with a call beside its body: request line, headers, the framing of chunks, trailers."""
ARRIVES_WITHIN: Final = timedelta(seconds=30)
"""From the connection, or the first byte of a later call, to the end of its body."""
PEER: Final = "studio.peer"
"""The extension of a call's scope that says whose certificate its connection has: `{"common_name": …}`."""
DISCONNECT: Final = "studio.disconnect"
"""An extension of the scope: a function that takes what to call once when the client goes away, or None again.

ASGI says so to whoever receives; to wait for that and for something else takes two tasks for each held heartbeat.
"""
WHOLE: Final = "studio.whole"
"""An extension of the scope: sends a whole answer at once, see `BoundedProtocol.answer_whole`."""


class BoundedProtocol(HttpToolsProtocol):
    """Closes a connection whose call is all headers, or does not come to its end."""

    head_bytes = MOST_HEAD_BYTES
    arrives_within = ARRIVES_WITHIN

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._beside_the_body = 0
        self._is_arriving = False
        self._patience: asyncio.TimerHandle | None = None
        self._on_gone: Callable[[], None] | None = None
        self._is_gone = False
        self._extensions: dict[str, Any] = {DISCONNECT: self._watch, WHOLE: self.answer_whole}

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        """Wait for the first call, but not for ever."""
        super().connection_made(transport)
        # The TLS layer has verified it, or there is none: uvicorn does not hand it on.
        name = common_name(transport.get_extra_info("peercert"))
        if name is not None:
            self._extensions[PEER] = {"common_name": name}
        self._is_arriving = True
        self._be_patient()

    def connection_lost(self, exc: Exception | None) -> None:
        """Nothing is waited for any more."""
        self._arrived()
        super().connection_lost(exc)
        self._is_gone = True
        self._extensions.clear()  # it refers to this connection, which would wait for the garbage collector
        if self._on_gone is not None:
            self._on_gone()
            self._on_gone = None

    def on_message_begin(self) -> None:
        """Tell the application when its client goes away, and whose certificate the connection has."""
        super().on_message_begin()
        self.scope["extensions"] = self._extensions

    def data_received(self, data: bytes) -> None:
        """Parse, counting; most calls come whole and need no timer."""
        self._is_arriving = True
        self._beside_the_body += len(data)
        super().data_received(data)
        if not self._is_arriving or self.transport.is_closing():
            return
        if self._beside_the_body > self.head_bytes:
            self._refuse_the_head()
        elif self._patience is None:
            self._be_patient()

    def on_body(self, body: bytes) -> None:
        """The body has a bound of its own."""
        self._beside_the_body -= len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        """The call has arrived."""
        self._arrived()
        super().on_message_complete()

    def answer_whole(self, scope: Mapping[str, Any], status: int, lines: bytes, body: bytes) -> bool:
        """Send an answer in one write; False: it cannot be done so just now, and nothing was sent.

        ASGI's two messages are two writes, each a call of the system, and a packet, of its own: a third of what a short
        answer takes.

        Args:
            scope: of the call; with several under way on the connection, only the last is answered so.
            status: the HTTP status.
            lines: the headers as they stand on the wire, each with its end of line; the body's length among them.
            body: all of it.
        """
        cycle = self.cycle
        if cycle is None or cycle.scope is not scope or cycle.response_started or cycle.disconnected:
            return False
        if self.flow.write_paused:
            return False
        cycle.response_started = cycle.response_complete = True
        cycle.waiting_for_100_continue = False
        parts = [STATUS_LINE[status]]
        parts += [b"%b: %b\r\n" % header for header in cycle.default_headers]
        parts += (lines, b"\r\n" if cycle.keep_alive else b"connection: close\r\n\r\n", body)
        self.transport.write(b"".join(parts))
        cycle.message_event.set()
        if not cycle.keep_alive:
            self.transport.close()
        cycle.on_response()
        return True

    def _watch(self, gone: Callable[[], None] | None) -> None:
        if gone is not None and self._is_gone:
            gone()
        else:
            self._on_gone = gone

    def _be_patient(self) -> None:
        self._patience = self.loop.call_later(self.arrives_within.total_seconds(), self._give_up)

    def _arrived(self) -> None:
        self._is_arriving = False
        self._beside_the_body = 0
        if self._patience is not None:
            self._patience.cancel()
            self._patience = None

    def _refuse_the_head(self) -> None:
        if self.cycle is None or self.cycle.response_complete:
            self.send_400_response("The headers are too large.")
        else:
            self.transport.close()  # an answer to the call before, or to this one, may be on its way

    def _give_up(self) -> None:
        self._patience = None
        self.transport.close()


def common_name(certificate: Mapping[str, Any] | None) -> str | None:
    """The common name of a certificate's subject, as `ssl.SSLSocket.getpeercert` tells it; None: none or several."""
    subject = (certificate or {}).get("subject", ())
    names = [value for part in subject for name, value in part if name == "commonName"]
    return names[0] if len(names) == 1 else None


def peer_of(scope: Mapping[str, Any]) -> str | None:
    """The common name of the certificate that a call's client has shown; None: it has shown none."""
    peer = (scope.get("extensions") or {}).get(PEER)
    return peer["common_name"] if peer is not None else None
