"""Connections whose heartbeats are met at the door; all else on them is the application's."""

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from api.at_the_door import Admitted, AtTheDoor, Door, TurnedAway
from api.connections import BoundedProtocol
from api.proxies import Proxies, client_behind, proxy_of


class Doorway(BoundedProtocol):
    """Has the application's door meet each call, refuses or answers what it says, and lets in the others."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._door: Door | None = getattr(self.config.app, "door", None)
        self._behind: Proxies | None = None
        self._is_between = True
        self._refused = 0
        self._was_refused = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        """See whose connection it is."""
        super().connection_made(transport)
        self._behind = proxy_of(self.app, self.client)

    # --- reading ------------------------------------------------------------------------------------------------------

    def _read(self, data: bytes) -> None:
        if not self._was_refused or self._door is None:
            self._parse(data)  # nearly always
        elif not self._is_turned_away_at_a_glance(data, self._door):
            self._parse_and_learn(data, self._door)

    def _is_turned_away_at_a_glance(self, data: bytes, door: Door) -> bool:
        """Whether a call that comes by itself needs no parser to be refused.

        Behind ends of lines, which may stand between calls, it is for the parser: since those came a call is arriving.
        """
        if self._is_arriving or not (self._is_between and self._is_answered()) or self.flow.write_paused:
            return False
        call = door.glance(data, self.client)
        if call is None:
            return False
        self._unset_keepalive_if_required()
        self.cycle = call  # type: ignore[assignment]  # it has what is asked of one here
        self._turn_away(call, door)
        return True

    def _parse_and_learn(self, data: bytes, door: Door) -> None:
        was_between = self._is_between
        self._parse(data)
        # No other call is in it: a second would have been let in, as the first is not answered yet.
        if was_between and self._is_between and isinstance(self.cycle, TurnedAway):
            door.learn(data, self.cycle)

    def on_message_begin(self) -> None:
        """From here to its end it is this call's."""
        self._is_between = False
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """Have the call met, or let it in."""
        met = None if self._door is None or self.parser.should_upgrade() else self._at_the_door(self._door)
        if met is None:
            super().on_headers_complete()
        else:
            self._is_whole = False
            self.cycle = met  # type: ignore[assignment]  # as above

    def _at_the_door(self, door: Door) -> TurnedAway | Admitted | None:
        """What becomes of a call that comes by itself and whose connection is to go on."""
        if self.cycle is not None and not self.cycle.response_complete:
            return None
        if self.expect_100_continue or self.flow.write_paused or self.parser.get_http_version() != "1.1":
            return None
        if not self.parser.should_keep_alive():
            return None
        client = client_behind(self._behind, self.client, self.headers) if self._behind is not None else self.client
        return door.meet(self.parser.get_method(), self.url, self.scope, client)

    def on_body(self, body: bytes) -> None:
        """Keep the body of a call that is met; nobody reads that of one that is refused."""
        if not isinstance(self.cycle, AtTheDoor):
            super().on_body(body)
            return
        self._beside_the_body -= len(body)
        if isinstance(self.cycle, Admitted):
            self.cycle.body += body
        elif isinstance(self.cycle, TurnedAway):
            self.cycle.body_bytes += len(body)

    def on_message_complete(self) -> None:
        """Refuse the call, or answer it, or leave it to the application."""
        self._is_between = True
        call: object = self.cycle
        if self._door is None or not isinstance(call, AtTheDoor):
            self._refused = 0
            super().on_message_complete()
            return
        self._arrived()
        self._is_whole = True
        if isinstance(call, TurnedAway):
            self._turn_away(call, self._door)
        elif isinstance(call, Admitted):
            self._refused = 0
            self._door.take(call, self)

    def _turn_away(self, call: TurnedAway, door: Door) -> None:
        # A proxy's connection is everybody's: the next call is somebody else's, who must not wait for this one.
        self._was_refused = self._behind is None
        self._refused = self._refused + 1 if self._behind is None else 1
        door.leave(self._leave, call, self._refused)

    # --- answering ----------------------------------------------------------------------------------------------------

    def answer(self, call: Admitted, status: int, lines: bytes, body: bytes) -> None:
        """Answer a call that was admitted at the door, in one write; a client that has gone away is not.

        Args:
            call: that has not been answered or let in.
            status: the HTTP status.
            lines: the headers as they stand on the wire, each with its end of line; the body's length among them.
            body: all of it.
        """
        self._reply(call, status, lines, body)

    def let_in(self, call: Admitted) -> None:
        """Give a call that was admitted at the door to the application; the answers of those behind it wait."""
        scope, path = call.scope, self.root_path + call.path
        scope.update(method=call.method, path=path, raw_path=path.encode("ascii"), query_string=b"")
        cycle = RequestResponseCycle(
            scope=scope,
            transport=self.transport,
            flow=self.flow,
            logger=self.logger,
            access_logger=self.access_logger,
            access_log=self.access_log,
            default_headers=self.server_state.default_headers,
            message_event=asyncio.Event(),
            expect_100_continue=False,
            keep_alive=call.keep_alive,
            on_response=self.on_response_complete,
        )
        cycle.body, cycle.more_body, cycle.disconnected = call.body, False, self._is_gone
        cycle.message_event.set()
        if self.cycle is call:  # type: ignore[comparison-overlap]  # as above
            self.cycle = cycle
        self._start_asgi_task(cycle, self.app)

    def _leave(self, call: TurnedAway) -> None:
        """Answer a call that was turned away."""
        self._reply(call, call.status, call.lines, call.answer)

    def _reply(self, call: AtTheDoor, status: int, lines: bytes, body: bytes) -> None:
        if self._is_gone or self.transport.is_closing():
            return
        call.response_complete = True
        self._write(status, lines, body, keep_alive=call.keep_alive)
        if not call.keep_alive:
            self.transport.close()
        self.on_response_complete()
