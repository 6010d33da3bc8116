"""Bounds on how a call may arrive, before there is a caller to ask, and its answer be taken: uvicorn's own has none.

Without them one connection without a token fills the memory with headers, or stays for ever with a call half sent, or
with an answer that it does not read.
"""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from api.certificates import PEER, common_name
from api.reading import AT_ONCE, MOST_WAITING, InTurn, in_pieces

MOST_HEAD_BYTES: Final = 128 * 1024
"""What may come with a call beside its body: request line, headers, the framing of chunks, trailers."""
ARRIVES_WITHIN: Final = timedelta(seconds=30)
"""From the connection, or the first byte of a later call, to the end of its body."""
TAKEN_WITHIN: Final = timedelta(minutes=2)
"""An answer that waits for its client must have become smaller by then, by `LEAST_TAKEN` or to its end."""
LEAST_TAKEN: Final = 64 * 1024
"""Half a KiB/s. The system takes what fits into its own buffer, so that even a steady client shows in steps."""
DISCONNECT: Final = "studio.disconnect"
"""An extension of the scope: a function that takes what to call once when the client goes away, or None again.

ASGI says so to whoever receives; to wait for that and for something else takes two tasks for each held heartbeat.
"""
_TELL_OF_A_BODY: Final = frozenset({b"content-length", b"transfer-encoding"})
WHOLE: Final = "studio.whole"
"""An extension of the scope: sends a whole answer at once, see `BoundedProtocol.answer_whole`."""


@dataclass(slots=True)
class _Written:
    """Headers that every answer has, and how they stand on the wire."""

    headers: list[tuple[bytes, bytes]]
    lines: bytes


_WRITTEN: Final = _Written([], b"")


class Unclear(ValueError):
    """Where a call ends is told in two ways."""


class BoundedProtocol(HttpToolsProtocol):
    """Closes a connection whose call is all headers, or does not come to its end, or whose answer is not taken."""

    head_bytes = MOST_HEAD_BYTES
    arrives_within = ARRIVES_WITHIN
    taken_within = TAKEN_WITHIN

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._beside_the_body = 0
        self._is_arriving = False
        self._is_whole = False
        self._is_deaf = False
        self._unread = b""
        self._reads_on: asyncio.Handle | None = None
        self._patience: asyncio.TimerHandle | None = None
        self._untaken = 0
        self._is_taking: asyncio.TimerHandle | None = None
        self._idle_since: float | None = None
        self._on_gone: Callable[[], None] | None = None
        self._is_gone = False
        self._extensions: dict[str, Any] = {DISCONNECT: self._watch, WHOLE: self.answer_whole}

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        """Wait for the first call, but not for ever."""
        super().connection_made(transport)
        self.flow = InTurn(transport, self._has_room)
        # The TLS layer has verified it, or there is none: uvicorn does not hand it on.
        name = common_name(transport.get_extra_info("peercert"))
        if name is not None:
            self._extensions[PEER] = {"common_name": name}
        self._is_arriving = True
        self._be_patient()

    def connection_lost(self, exc: Exception | None) -> None:
        """Nothing is waited for any more."""
        self._arrived()
        self._taken()
        self._unread = b""
        if self.timeout_keep_alive_task is not None:
            self.timeout_keep_alive_task.cancel()
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
        """Parse, unless too many calls wait for their turn already: then what has come waits with them."""
        if self._is_deaf:
            return
        if self._unread:
            self._unread += data
            return
        if len(data) <= AT_ONCE and not self.pipeline:
            self._read(data)  # nearly always
            return
        for piece, at in in_pieces(data):
            if len(self.pipeline) >= MOST_WAITING:
                self._unread = data[at:]
                self.flow.pause_reading()
                self._wait_no_more()  # what has not come of a call is our own doing
                return
            self._parse(piece)
            if self._is_deaf or self.transport.is_closing() or self.transport.get_protocol() is not self:
                return

    def _read(self, data: bytes) -> None:
        """Take in what has come, all of it."""
        self._parse(data)

    def _has_room(self) -> bool:
        """Whether more may be read; where some has been read already, that is parsed first, soon."""
        if len(self.pipeline) >= MOST_WAITING:
            return False
        if self._unread and self._reads_on is None:
            self._reads_on = self.loop.call_soon(self._read_on)
        return not self._unread

    def _read_on(self) -> None:
        self._reads_on = None
        data, self._unread = self._unread, b""
        if not self._is_gone and not self.transport.is_closing():
            self.data_received(data)
            self.flow.resume_reading()

    def _parse(self, data: bytes) -> None:
        """Parse, counting; most calls come whole and need no timer."""
        self._is_arriving = True
        self._beside_the_body += len(data)
        super().data_received(data)
        if not self._is_arriving or self.transport.is_closing():
            return
        if self._beside_the_body > self.head_bytes:
            self.send_400_response("The headers are too large.")
        elif self._patience is None:
            self._be_patient()

    def on_headers_complete(self) -> None:
        """Let the call in, or have it met at the door.

        Raises:
            Unclear: it asks for another protocol, in a way that two readers could read in two ways.
        """
        if self.parser.should_upgrade():
            self._check_upgrade()
        self._is_whole = False
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """The body has a bound of its own."""
        self._beside_the_body -= len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        """The call has arrived."""
        self._arrived()
        self._is_whole = True
        super().on_message_complete()

    def pause_writing(self) -> None:
        """The answer waits for its client, but not for ever."""
        super().pause_writing()
        self._see_it_taken()

    def resume_writing(self) -> None:
        """The answer is taken, or all but the last of it."""
        if not self.transport.is_closing():
            self._taken()
        super().resume_writing()

    def on_response_complete(self) -> None:
        """Go on with the next call, or wait for one. Where this was the last answer, its rest must be taken too."""
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            self._see_it_taken()
            return
        self.flow.resume_reading()
        if self.pipeline:
            self._start_asgi_task(*self.pipeline.pop())
        else:
            self._idle_since = self.loop.time()
            if self.timeout_keep_alive_task is None:
                self._look_for_calls_in(self.timeout_keep_alive)

    def _unset_keepalive_if_required(self) -> None:
        """A call comes, or the end: uvicorn's timer for each call, made and cancelled, takes longer than looking."""
        self._idle_since = None

    def _look_for_calls_in(self, seconds: float) -> None:
        self.timeout_keep_alive_task = self.loop.call_later(seconds, self.timeout_keep_alive_handler)

    def timeout_keep_alive_handler(self) -> None:
        """Close a connection on which nothing has happened for long, once the rest of its answers is taken."""
        self.timeout_keep_alive_task = None
        if self._idle_since is None:
            return
        rest = self._idle_since + self.timeout_keep_alive - self.loop.time()
        if rest > 0:
            self._look_for_calls_in(rest)
            return
        super().timeout_keep_alive_handler()
        self._see_it_taken()

    def _see_it_taken(self) -> None:
        """Look again in a while whether less is waiting: a closed connection lasts until all of it is sent."""
        if self._is_taking is None and not self._is_gone:
            self._untaken = self.transport.get_write_buffer_size()
            self._is_taking = self.loop.call_later(self.taken_within.total_seconds(), self._look)

    def _look(self) -> None:
        self._is_taking = None
        if self.transport.get_write_buffer_size() > self._untaken - LEAST_TAKEN:
            self.transport.abort()
        else:
            self._see_it_taken()

    def _taken(self) -> None:
        if self._is_taking is not None:
            self._is_taking.cancel()
            self._is_taking = None

    def _close(self) -> None:
        self.transport.close()
        self._see_it_taken()

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
        self._write(status, lines, body, keep_alive=cycle.keep_alive)
        cycle.message_event.set()
        if not cycle.keep_alive:
            self.transport.close()
        cycle.on_response()
        return True

    def _write(self, status: int, lines: bytes, body: bytes, *, keep_alive: bool) -> None:
        default = self.server_state.default_headers
        if default is not _WRITTEN.headers:  # uvicorn makes a new list when the second is over
            _WRITTEN.headers = default
            _WRITTEN.lines = b"".join([b"%b: %b\r\n" % header for header in default])
        end = b"\r\n" if keep_alive else b"connection: close\r\n\r\n"
        self.transport.write(b"".join((STATUS_LINE[status], _WRITTEN.lines, lines, end, body)))

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
        self._wait_no_more()

    def _wait_no_more(self) -> None:
        if self._patience is not None:
            self._patience.cancel()
            self._patience = None

    def _check_upgrade(self) -> None:
        # Of another protocol than websockets uvicorn takes no notice, but the parser takes what follows for that
        # protocol: the body would be lost, or be read as the next call.
        has_body = any(name in _TELL_OF_A_BODY and value != b"0" for name, value in self.headers)
        if (has_body and not self._should_upgrade()) or not self._is_answered():
            raise Unclear  # the parser takes it for a fault of the call

    def _is_answered(self) -> bool:
        return self.cycle is None or self.cycle.response_complete

    def send_400_response(self, msg: str) -> None:
        """Refuse what cannot be read, and close. The calls before it are answered first, and it is not itself then.

        Whoever waits for the answers would take the refusal for that to the first call.
        """
        if self._is_answered() and (self._is_whole or self.cycle is None):
            super().send_400_response(msg)
        elif self._is_whole:
            self._is_deaf = True
            self._unread = b""
            self.cycle.keep_alive = False
            self._wait_no_more()
        else:
            self._close()

    def _give_up(self) -> None:
        self._patience = None
        self._close()
