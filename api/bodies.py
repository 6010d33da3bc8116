"""Reading a JSON body into a model, with every fault told at once."""

import gzip
import json
import zlib
from typing import Any, Final, TypeVar

from fastapi import Request
from pydantic import BaseModel

from api.body_limit import MOST_BYTES
from api.problems import Refusal
from protocol.problems import FieldFault

DEEPEST: Final = 64
Model = TypeVar("Model", bound=BaseModel)


async def read_json(request: Request) -> dict[str, Any]:
    """The body as an object.

    Raises:
        Refusal: it is no JSON object, or too deep, or not what its headers say.
    """
    kind = request.headers.get("content-type", "application/json").partition(";")[0].strip().lower()
    if kind != "application/json" and not kind.endswith("+json"):
        raise Refusal("unsupported_media_type", f"Send application/json, not {kind[:100]}.")
    raw = await request.body()
    match request.headers.get("content-encoding", "identity").strip().lower():
        case "identity" | "":
            pass
        case "gzip":
            raw = _unzipped(raw)
        case _:
            raise Refusal("unsupported_media_type", "The body may be plain or gzip.")
    try:
        # A duplicate key or NaN is legal to json.loads and means different things to different readers.
        body = json.loads(raw, object_pairs_hook=_without_duplicates, parse_constant=_no_constant)
    except RecursionError:
        raise _malformed("nested too deeply") from None
    except UnicodeDecodeError:
        raise _malformed("not UTF-8") from None
    except ValueError as error:
        raise _malformed(str(error)) from None
    if not isinstance(body, dict):
        fault = FieldFault(field="body", message="must be a JSON object", code="dict_type")
        raise Refusal("invalid", "The body must be a JSON object.", errors=[fault])
    if _depth(body) > DEEPEST:
        raise _malformed(f"nested deeper than {DEEPEST} levels")
    return body


async def read_model(request: Request, model: type[Model]) -> Model:
    """The body as a model.

    Raises:
        Refusal: it is no JSON object.
        ValidationError: fields are at fault, all of them told.
    """
    return model.model_validate(await read_json(request))


def _unzipped(raw: bytes) -> bytes:
    try:
        plain = zlib.decompressobj(wbits=16 + zlib.MAX_WBITS)
        out = plain.decompress(raw, MOST_BYTES + 1)
    except (zlib.error, gzip.BadGzipFile) as error:
        raise Refusal("malformed_json", f"The body is not gzip: {error}.") from None
    if len(out) > MOST_BYTES:
        raise Refusal("too_large", f"A body may have {MOST_BYTES} bytes, unzipped too.")
    if not plain.eof:
        raise Refusal("malformed_json", "The gzip body is cut short.")
    return out


def _malformed(why: str) -> Refusal:
    fault = FieldFault(field="body", message=why, code="json_invalid")
    return Refusal("malformed_json", "The body cannot be read as JSON.", errors=[fault])


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    body = dict(pairs)
    if len(body) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the key {twice[:100]!r} is given twice")
    return body


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def _depth(value: Any) -> int:
    deepest = 0
    stack = [(value, 1)]
    while stack:
        node, level = stack.pop()
        deepest = max(deepest, level)
        if isinstance(node, dict):
            stack.extend((child, level + 1) for child in node.values())
        elif isinstance(node, list):
            stack.extend((child, level + 1) for child in node)
    return deepest
