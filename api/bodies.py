"""Reading a JSON body into a model, with every fault told at once."""

import json
import zlib
from typing import Any, Final, TypeVar

from fastapi import Request
from pydantic import BaseModel, ValidationError

from api.body_limit import MOST_BYTES, too_large
from api.problems import Refusal, invalid, key_told
from protocol.problems import FieldFault

DEEPEST: Final = 64
Model = TypeVar("Model", bound=BaseModel)


class _GivenTwice(ValueError):
    """A key that stands twice in one object."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name


async def read_json(request: Request) -> dict[str, Any]:
    """The body as an object.

    Raises:
        Refusal: it is no JSON object, or too deep, or not what its headers say.
    """
    kind = request.headers.get("content-type", "application/json").partition(";")[0].strip().lower()
    if kind != "application/json" and not kind.endswith("+json"):
        raise _unsupported("Content-Type", f"Send application/json, not {kind[:100]}.")
    raw = await request.body()
    match request.headers.get("content-encoding", "identity").strip().lower():
        case "identity" | "":
            pass
        case "gzip":
            raw = unzipped(raw)
        case _:
            raise _unsupported("Content-Encoding", "The body may be plain or gzip.")
    body = _parsed(raw)
    if not isinstance(body, dict):
        raise invalid(more=[FieldFault(field="body", message="must be a JSON object", code="dict_type")])
    if _depth(body) > DEEPEST:
        raise malformed(f"nested deeper than {DEEPEST} levels")
    return body


async def read_model(request: Request, model: type[Model]) -> Model:
    """The body as a model.

    Raises:
        Refusal: it is no JSON object, or fields are at fault, all of them told.
    """
    body = await read_json(request)
    try:
        return model.model_validate(body)
    except ValidationError as error:
        raise invalid(error.errors(include_url=False, include_input=False, include_context=False)) from None


def _parsed(raw: bytes) -> Any:
    try:
        # Decoded here, as json.loads would take UTF-16 and encoded surrogates too. A duplicate key or NaN is legal to
        # it, and means different things to different readers.
        return json.loads(raw.decode("utf-8-sig"), object_pairs_hook=_without_duplicates, parse_constant=_no_constant)
    except RecursionError:
        raise malformed("nested too deeply") from None
    except UnicodeDecodeError:
        raise malformed("not UTF-8") from None
    except json.JSONDecodeError as error:
        raise malformed(str(error)) from None
    except _GivenTwice as error:
        raise malformed("this key is given twice", field=key_told(error.name)) from None
    except ValueError:
        raise malformed("a number has too many digits") from None


def unzipped(raw: bytes) -> bytes:
    """The plain body; never more than the bound is unzipped, and nothing may be missing or follow.

    A gzip of several members is legal by RFC 1952 and sent by nobody: it is refused rather than read in part.

    Raises:
        Refusal: it is no such body.
    """
    plain = zlib.decompressobj(wbits=16 + zlib.MAX_WBITS)
    try:
        out = plain.decompress(raw, MOST_BYTES + 1)
    except zlib.error:
        raise malformed("not gzip") from None
    if len(out) > MOST_BYTES:
        raise too_large(MOST_BYTES)
    if not plain.eof:
        raise malformed("the gzip is cut short")
    if plain.unused_data:
        raise malformed("something follows the end of the gzip")
    return out


def malformed(why: str, *, field: str = "body") -> Refusal:
    """A body that is not what its headers say."""
    fault = FieldFault(field=field, message=why, code="json_invalid")
    return Refusal("malformed_json", "The body cannot be read as JSON.", errors=[fault])


def _unsupported(header: str, why: str) -> Refusal:
    fault = FieldFault(field=header, message=why, code="unsupported_media_type")
    return Refusal("unsupported_media_type", why, errors=[fault])


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    body = dict(pairs)
    if len(body) != len(pairs):
        seen: set[str] = set()
        for name, _ in pairs:
            if name in seen:
                raise _GivenTwice(name)
            seen.add(name)
    return body


def _no_constant(name: str) -> Any:
    raise json.JSONDecodeError(f"{name} is not JSON", "", 0)


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
