"""Calls that are met at the door, before there is one for the application; and what the door is to a connection.

Each stands where uvicorn has its own view of a call, with the attributes that are asked for there.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from api.proxies import Client
from broker.token_store import Token


class _NobodyWaits:
    def set(self) -> None:
        """Nobody waits for more of the call."""


NOBODY_WAITS: Final = _NobodyWaits()


@dataclass(slots=True)
class AtTheDoor:
    """A call whose headers have come.

    Attributes:
        scope: of the call, as ASGI has it; None where nobody asks for it.
        came_at: when its headers had come, by `time.perf_counter`.
        call_id: under which it is logged and audited; its answer says so.
    """

    scope: Any
    came_at: float
    call_id: str
    response_complete: bool = field(default=False, init=False)
    keep_alive: bool = field(default=True, init=False)
    disconnected: bool = field(default=False, init=False)
    message_event: _NobodyWaits = field(default=NOBODY_WAITS, init=False)


@dataclass(slots=True)
class TurnedAway(AtTheDoor):
    """A call that is refused.

    Attributes:
        code: why it was refused.
        client: where it comes from, as ASGI has it.
        address: for which it is counted.
        status: of the answer.
        lines: its headers as they stand on the wire, each with its end of line; the body's length and the call's id
            among them.
        answer: its body.
        authorization: what it said of its caller; empty where there may be more than that to what is answered.
        body_bytes: what has come of its body, which nobody reads.
    """

    code: str
    client: Client
    address: str
    status: int
    lines: bytes
    answer: bytes
    authorization: bytes
    body_bytes: int = field(default=0, init=False)


@dataclass(slots=True)
class Admitted(AtTheDoor):
    """A call that the door may answer itself when its body has come, or let in.

    Attributes:
        method: of the call.
        path: that it asks for, without the root path of the server.
        caller: whose call it is.
        is_zipped: whether the body is.
        body: what has come of it.
    """

    method: str
    path: str
    caller: Token
    is_zipped: bool
    body: bytearray = field(default_factory=bytearray, init=False)


Leave = Callable[[TurnedAway], None]


class Connection(Protocol):
    """What the door does with a call that it has admitted: one of the two, once, in whatever order calls end."""

    def answer(self, call: Admitted, status: int, lines: bytes, body: bytes) -> None:
        """Answer a call. `lines`: the headers as they stand on the wire."""

    def let_in(self, call: Admitted) -> None:
        """Give a call to the application after all."""


class Door(Protocol):
    """Who may refuse or answer a call before it is one for the application."""

    def meet(self, method: bytes, path: bytes, scope: Any, client: Client) -> TurnedAway | Admitted | None:
        """What becomes of a call whose headers have come; None: let it in.

        Args:
            method: of the call.
            path: that it asks for.
            scope: of the call, as ASGI has it: its client is who is connected.
            client: where it comes from, which may be behind a proxy.
        """

    def glance(self, data: bytes, client: Client) -> TurnedAway | None:
        """What is refused without being parsed: one call and nothing else; None: it must be parsed."""

    def learn(self, data: bytes, call: TurnedAway) -> None:
        """Have calls like this one be refused at a glance.

        Args:
            data: all of the call, and nothing else but the ends of lines that may stand between calls.
            call: as it was parsed.
        """

    def leave(self, leave: Leave, call: TurnedAway, in_a_row: int) -> None:
        """Have `leave` called, soon, for a refused call that has come to its end.

        Args:
            leave: answers it.
            call: that is refused.
            in_a_row: how many calls of its connection were, one after the other, with this one.
        """

    def take(self, call: Admitted, connection: Connection) -> None:
        """Answer an admitted call that has come to its end, soon, or have it let in."""
