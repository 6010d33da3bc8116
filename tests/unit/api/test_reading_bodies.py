"""The bounds of what a body may be, to the byte."""

import gzip
import json
from typing import Any

import pytest
from fastapi import Request
from starlette.types import Message

from api.bodies import DEEPEST, read_json
from api.body_limit import MOST_BYTES, BodyLimit
from api.problems import Refusal


def a_request(content: bytes, **headers: str) -> Request:
    async def receive() -> Message:
        return {"type": "http.request", "body": content, "more_body": False}

    raw = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    return Request({"type": "http", "method": "POST", "path": "/", "headers": raw}, receive)


def padded(size: int) -> bytes:
    return b'{"a":1' + b" " * (size - 7) + b"}"


def nested(levels: int) -> bytes:
    return b'{"a":' * (levels - 1) + b"{}" + b"}" * (levels - 1)


async def test_exactly_a_mebibyte_is_read_when_it_comes_zipped() -> None:
    assert await read_json(a_request(gzip.compress(padded(MOST_BYTES)), content_encoding="gzip")) == {"a": 1}


async def test_a_byte_more_is_too_large() -> None:
    with pytest.raises(Refusal) as refused:
        await read_json(a_request(gzip.compress(padded(MOST_BYTES + 1)), content_encoding="gzip"))
    assert refused.value.code == "too_large"


async def test_as_many_levels_as_allowed_are_read_and_one_more_is_not() -> None:
    assert json.loads(nested(DEEPEST)) == await read_json(a_request(nested(DEEPEST)))
    with pytest.raises(Refusal) as refused:
        await read_json(a_request(nested(DEEPEST + 1)))
    assert refused.value.errors[0].message == f"nested deeper than {DEEPEST} levels"


@pytest.mark.parametrize("kind", ["application/json", "Application/JSON ; charset=utf-8", "application/problem+json"])
async def test_every_kind_of_json_is_read(kind: str) -> None:
    assert await read_json(a_request(b"{}", content_type=kind)) == {}


async def test_the_same_key_in_two_objects_is_no_fault() -> None:
    body: dict[str, Any] = {"a": {"b": 1}, "c": [{"b": 2}, {"b": 3}]}
    assert await read_json(a_request(json.dumps(body).encode())) == body


@pytest.mark.parametrize("chunks", [[MOST_BYTES], [1] * 10, [MOST_BYTES // 2] * 2])
async def test_a_body_within_the_bound_passes_the_limit_whole(chunks: list[int]) -> None:
    assert await _through_the_limit(chunks) == sum(chunks)


@pytest.mark.parametrize("chunks", [[MOST_BYTES + 1], [MOST_BYTES, 1], [MOST_BYTES // 2 + 1] * 2])
async def test_an_undeclared_body_over_the_bound_is_cut_off(chunks: list[int]) -> None:
    with pytest.raises(Refusal) as refused:
        await _through_the_limit(chunks)
    assert refused.value.code == "too_large"


async def _through_the_limit(chunks: list[int]) -> int:
    """How many bytes an application behind the limit gets to see."""
    seen = 0
    left = list(chunks)

    async def receive() -> Message:
        return {"type": "http.request", "body": b" " * left.pop(0), "more_body": bool(left)}

    async def send(message: Message) -> None:
        raise AssertionError(message)

    async def app(scope: Any, receive: Any, send: Any) -> None:
        nonlocal seen
        more = True
        while more:
            message = await receive()
            seen += len(message["body"])
            more = message["more_body"]

    await BodyLimit(app)({"type": "http", "headers": [], "method": "POST", "path": "/"}, receive, send)
    return seen
