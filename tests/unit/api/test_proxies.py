"""Who calls through a proxy is for the door who it is for the application."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.types import Receive, Scope, Send
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from api.proxies import Client, client_behind, proxy_of

ADDRESSES = st.sampled_from(
    [
        "10.0.0.1",
        "10.0.0.2:80",
        "192.0.2.7",
        "192.0.2.7:99",
        "[2001:db8::1]:7",
        "2001:db8::1",
        "::1",
        "",
        " ",
        "a b",
        "[",
        "x:y",
    ]
)
LISTS = st.lists(ADDRESSES, max_size=4).map(", ".join)
HEADERS = st.lists(st.tuples(st.sampled_from([b"x-forwarded-for", b"x-real-ip"]), LISTS.map(str.encode)), max_size=3)
TRUSTED = st.sampled_from(["10.0.0.0/24", "10.0.0.1,10.0.0.2", "*", "::1", "127.0.0.1"])
CLIENTS = st.sampled_from([None, ("10.0.0.1", 1), ("127.0.0.1", 2), ("192.0.2.7", 3), ("::1", 4)])


def inside(trusted: str, client: Client, headers: Sequence[tuple[bytes, bytes]]) -> Any:
    """What the application is told."""
    seen = []

    async def app(scope: Scope, _receive: Receive, _send: Send) -> None:
        seen.append(scope["client"])

    scope: Any = {"type": "http", "client": client, "headers": headers, "scheme": "http"}
    asyncio.run(ProxyHeadersMiddleware(app, trusted)(scope, None, None))  # type: ignore[arg-type]  # not used
    return seen[0]


@given(TRUSTED, CLIENTS, HEADERS)
def test_the_client_is_who_it_is_inside(trusted: str, client: Client, headers: list[tuple[bytes, bytes]]) -> None:
    proxies = proxy_of(ProxyHeadersMiddleware(None, trusted), client)  # type: ignore[arg-type]  # not called
    found = client if proxies is None else client_behind(proxies, client, headers)
    assert found == inside(trusted, client, headers)


@pytest.mark.parametrize("client", [None, ("127.0.0.1", 1)])
def test_without_the_middleware_nobody_is_believed(client: Client) -> None:
    assert proxy_of(object(), client) is None
