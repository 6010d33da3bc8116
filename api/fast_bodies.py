"""Reading the heartbeats that agents send all day: a body that is understood here reads as the ordinary route reads it.

What is unusual is not read at all: the ordinary route is the contract, and finds the words for what is wrong.
"""

from typing import Annotated, Any, Final, cast

from msgspec import UNSET, DecodeError, Meta, Struct, UnsetType, ValidationError, defstruct
from msgspec.json import Decoder, Encoder

from api.bodies import unzipped
from api.problems import Refusal
from protocol.heartbeats import MAX_IDS, Heartbeat
from protocol.names import MAX_NAME

DEEPEST: Final = 16
"""How deep a value may be nested to be read here; the ordinary route takes more."""

Name = Annotated[str, Meta(min_length=1, max_length=MAX_NAME)]
Id = Annotated[str, Meta(min_length=1, max_length=128)]
Ids = Annotated[list[Id], Meta(max_length=MAX_IDS)]
Text = Annotated[str, Meta(max_length=256)]


class FastHeartbeat(Struct):
    """The fields of `protocol.heartbeats.Heartbeat` and their bounds; a test holds the one against the other."""

    ip_address: Annotated[str, Meta(min_length=1, max_length=64)]
    hostname: Name
    service_name: Name
    last_command_id: Id | UnsetType | None = UNSET
    status: Text | UnsetType | None = UNSET
    timestamp: Text | UnsetType | None = UNSET
    agent_version: Text | UnsetType | None = UNSET
    run_mode: Text | UnsetType | None = UNSET
    received_command_ids: Ids | UnsetType | None = UNSET
    executed_command_ids: Ids | UnsetType | None = UNSET
    perf_supported_events: Annotated[list[Text], Meta(max_length=MAX_IDS)] | UnsetType | None = UNSET
    namespace: Text | UnsetType | None = UNSET
    pod_name: Text | UnsetType | None = UNSET
    containers: UnsetType | None = UNSET
    """An inventory is sent when it changes, and takes a model of its own: for the ordinary route."""
    capabilities: dict[str, Any] | UnsetType | None = UNSET
    host_id: Annotated[str, Meta(min_length=1, max_length=128, pattern=r"^[!-~]+$")] | UnsetType | None = UNSET


FIELDS: Final = FastHeartbeat.__struct_fields__
Meant: Final = defstruct("Meant", [(name, Any, None) for name in FIELDS])
"""The same fields without bounds: what is left out is None, as in the model."""
_decode: Final = Decoder(FastHeartbeat).decode
_decode_again: Final = Decoder(Meant).decode
_encode: Final = Encoder().encode


class Unusual(Exception):
    """Not for here: the ordinary route may read it, or say what is wrong."""


def read(raw: bytes, *, zipped: bool = False) -> Heartbeat:
    """A heartbeat, with the attributes of the model that the ordinary route makes of it.

    Raises:
        Unusual: it may not be one, or has something in it that two readers could read in two ways.
    """
    try:
        if zipped:
            raw = unzipped(raw)
        said = _decode(raw)
    except (DecodeError, ValidationError, UnicodeDecodeError, RecursionError, Refusal):
        raise Unusual from None
    # A key that stands twice, or that is none of ours (and may stand twice), is not written again, which shows in the
    # number of texts: without escapes each has two quotes.
    if b"\\" in raw or raw.count(b'"') != _encode(said).count(b'"'):
        raise Unusual
    if said.capabilities:
        _look_into(said.capabilities)
    if not (_is_printable(said.hostname) and _is_printable(said.service_name)):
        raise Unusual
    meant: Any = _decode_again(raw)  # quicker than to go through the fields for those that were left out
    meant.received_command_ids = meant.received_command_ids or []
    meant.executed_command_ids = meant.executed_command_ids or []
    return cast("Heartbeat", meant)


def _look_into(value: Any, level: int = 0) -> None:
    """Leave fractions, and what is nested deep, to the ordinary route."""
    kind = type(value)
    if kind is float or level > DEEPEST:
        raise Unusual
    if kind is dict:
        value = value.values()
    elif kind is not list:
        return
    for item in value:
        _look_into(item, level + 1)


def _is_printable(name: str) -> bool:
    """Whether a name is good beyond doubt; `protocol.names.printable` decides about the others."""
    return name.isprintable() and not name.isspace()
