"""What the headers of a heartbeat say, read once for whoever may answer it without the framework."""

import re
from collections.abc import Iterable
from typing import Final, NamedTuple

REQUEST_ID: Final = b"x-request-id"
SANE: Final = re.compile(rb"[A-Za-z0-9._:/=+-]{1,128}")
"""What a request id from outside may look like: it goes into logs and headers as it is."""
MOST_BYTES: Final = 64 * 1024
"""Larger bodies are read by the ordinary route."""
MOST_DIGITS: Final = len(str(MOST_BYTES))
_JSON: Final = (b"application/json", b"application/json; charset=utf-8")


class Head(NamedTuple):
    """What the headers of a heartbeat say.

    Attributes:
        authorization: the header that says who calls; empty where there is none or are several.
        is_usual: whether nothing asks for a closer look.
        is_short: whether the length of the body is told, in few digits, and it is not in chunks.
        is_zipped: whether the body is.
        preferences: what the `Prefer` headers say.
        call_id: the id that the call brings along; empty: none, or none that is sane.
    """

    authorization: bytes
    is_usual: bool
    is_short: bool
    is_zipped: bool
    preferences: tuple[bytes, ...]
    call_id: bytes


def read_head(headers: Iterable[tuple[bytes, bytes]]) -> Head:
    """What headers say; their names are in lower case."""
    authorization = kind = encoding = call_id = b""
    is_usual, is_short, is_whole, is_alone, is_told = True, False, True, True, False
    preferences: tuple[bytes, ...] = ()
    for name, value in headers:
        if name == b"authorization":
            is_alone, is_told = not is_told, True  # an empty one counts: the first is what the ordinary route reads
            authorization = value
        elif name == b"content-length":
            is_short = len(value) <= MOST_DIGITS
            is_usual = is_usual and is_short
        elif name == b"content-type":
            is_usual = is_usual and not kind and value in _JSON
            kind = value
        elif name == REQUEST_ID:
            if not call_id and SANE.fullmatch(value):
                call_id = value
        elif name == b"content-encoding":
            is_usual = is_usual and not encoding and value in (b"gzip", b"identity")
            encoding = value
        elif name == b"prefer":
            preferences += (value,)
        elif name == b"transfer-encoding":
            is_whole = False
    return Head(
        authorization if is_alone else b"", is_usual and is_alone, is_short and is_whole, encoding == b"gzip",
        preferences, call_id,
    )  # fmt: skip
