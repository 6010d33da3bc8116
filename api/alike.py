"""Calls that are one that was parsed, with another token: what a flood of made-up tokens consists of.

To read such a call again, header by header, is three tenths of the Python that its refusal takes. What is learned of a
call is its head without the token, and how long the rest is; and what is told of another one is no more than its token.
"""

import re
from typing import Final

_BEFORE: Final = b"uthorization: Bearer "
_BEGINNINGS: Final = (b"\r\nA", b"\r\na")
_TOKEN: Final = re.compile(rb"[A-Za-z0-9._~+/=-]{1,512}")
"""Of the characters of RFC 6750: to a parser one is like the other."""
_END_OF_HEAD: Final = b"\r\n\r\n"
MOST_KNOWN: Final = 512
"""Heads that are known at a time, and beyond that none: who sends another one each time is read as ever."""
LONGEST: Final = 2_048
"""Bytes of a head that is known."""


class AlikeCalls:
    """Finds the token of a call of whose like one was parsed before."""

    def __init__(self) -> None:
        self._lengths: dict[bytes, int] = {}

    def learn(self, data: bytes, authorization: bytes, body_bytes: int) -> None:
        """Remember a call that was parsed.

        Its body must be all that comes behind the first end of a head behind the token. Else either stands in the body,
        or something behind that: ends of lines, of which a parser takes no notice between calls. In the like of it the
        beginning of the next call could stand there.

        Args:
            data: one call, from its first byte on.
            authorization: what it said in that header, the only one of this name.
            body_bytes: how long its body was to the parser.
        """
        token_at, token_end, head_end = _places(data)
        at = token_at - len(_BEFORE)
        if at < 0 or not 0 <= head_end <= LONGEST or data[at - 3 : at] not in _BEGINNINGS:
            return
        if authorization != b"Bearer " + data[token_at:token_end]:
            return
        if len(data) - head_end - len(_END_OF_HEAD) != body_bytes:
            return
        if len(self._lengths) >= MOST_KNOWN:
            self._lengths.clear()
        self._lengths[data[:token_at] + data[token_end:head_end]] = len(data) - head_end

    def authorization_in(self, data: bytes) -> bytes | None:
        """What a call says in that header, if these bytes are all of it; None: nothing like them was parsed."""
        token_at, token_end, head_end = _places(data)
        if head_end < 0 or self._lengths.get(data[:token_at] + data[token_end:head_end]) != len(data) - head_end:
            return None
        token = data[token_at:token_end]
        return b"Bearer " + token if _TOKEN.fullmatch(token) else None


def _places(data: bytes) -> tuple[int, int, int]:
    """Where in a call its token begins and ends, and where its head ends; the last is below 0 where none is found."""
    token_at = data.find(_BEFORE) + len(_BEFORE)
    token_end = data.find(b"\r", token_at)
    return token_at, token_end, data.find(_END_OF_HEAD, token_end)
