"""Hosts and services with a slash in their name, in addresses: `%2F` stands for it, and parts nothing.

A server hands on the address decoded: a host `a/b` would be at no address at all, and nobody could release it from
whoever took the name.
"""

from typing import Annotated, Final
from urllib.parse import unquote_to_bytes

from fastapi import Path
from pydantic import AfterValidator
from starlette.types import ASGIApp, Receive, Scope, Send

from protocol.names import MAX_NAME

UNDER: Final = "/api/v1/hosts/"
_STAND_IN: Final = "\x1f"
"""For a slash, between here and the route: no name has a control character."""


def as_named(part: str) -> str:
    """A part of the path as it was meant."""
    return part.replace(_STAND_IN, "/")


NameInPath = Annotated[str, Path(min_length=1, max_length=MAX_NAME), AfterValidator(as_named)]
"""A part of the path that is a name."""


class SlashedNames:
    """Keeps a slash that is part of a name apart from those that part the path."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the call on."""
        if scope["type"] == "http" and scope["path"].startswith(UNDER):
            raw: bytes = scope.get("raw_path") or b""
            if b"%2f" in raw or b"%2F" in raw:
                kept = raw.replace(b"%2f", b"%1F").replace(b"%2F", b"%1F")
                # In place: what goes along with the call outside of here finds the route there.
                scope["path"] = unquote_to_bytes(kept).decode("utf-8", "replace")
        await self._app(scope, receive, send)
