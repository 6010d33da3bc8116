"""Reading what a server answers: our own, and the older ones of the field. Pure.

The answer is read apart from the command in it, so that a command which makes no sense can be reported as failed
while everything else in the answer still counts.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

from pydantic import TypeAdapter, ValidationError

from protocol.commands import CommandReader, StartCommand, StartConfig, StopCommand
from protocol.heartbeats import CommandId
from protocol.requests import MAX_DURATION_SECONDS, MAX_FREQUENCY_HZ

_IdReader: Final[TypeAdapter[str]] = TypeAdapter(CommandId)
_MAX_REASON: Final = 1_000


@dataclass(frozen=True)
class Reply:
    """One answer to a heartbeat.

    Attributes:
        command_id: None when there is nothing new.
        command: the command as it came, unread.
        interval: the pace the server asks for, if it asks.
        held: whether the server honoured `Prefer: wait`; the next beat may then follow at once.
        inventory_wanted: the server does not know what runs on the host; older ones never say so.
    """

    command_id: str | None = None
    command: Mapping[str, Any] | None = None
    generation: int | None = None
    interval: timedelta | None = None
    held: bool = False
    inventory_wanted: bool = False


@dataclass(frozen=True)
class Defaults:
    """What a start that does not say gets."""

    duration_seconds: int = 60
    frequency_hz: int = 11
    continuous: bool = False


class NotAReply(ValueError):
    """The answer is not one to a heartbeat."""


class Unreadable(ValueError):
    """The command cannot be carried out as it stands; the text says why, for the operator."""


def read_reply(payload: Any, *, held: bool) -> Reply:
    """Read the answer's JSON.

    Raises:
        NotAReply: it is not an object, says that it failed, or offers a command that could never be acknowledged.
    """
    if not isinstance(payload, Mapping):
        raise NotAReply("the answer is not a JSON object")
    if payload.get("success") is False:
        raise NotAReply(f"the server answered success: false ({str(payload.get('message'))[:200]})")
    command = payload.get("profiling_command")
    generation = payload.get("generation")
    return Reply(
        command_id=_read_id(payload.get("command_id")) if command is not None else None,
        # as a text: `[]` or `0` would otherwise pass for a command that does not say its type, which is a start
        command=command if isinstance(command, Mapping) or command is None else {"command_type": repr(command)[:100]},
        generation=generation if isinstance(generation, int) else None,
        interval=_read_interval(payload.get("heartbeat_interval")),
        held=held,
        inventory_wanted=payload.get("inventory_wanted") is True,
    )


def read_command(body: Mapping[str, Any], *, hostname: str, defaults: Defaults) -> StartCommand | StopCommand:
    """Read a command, filling in what it does not say. Unknown keys of its configuration are kept.

    Raises:
        Unreadable: it is out of bounds, contradicts itself, or is for other hosts.
    """
    kind = body.get("command_type") or "start"
    config = body.get("combined_config")
    if config is not None and not isinstance(config, Mapping):
        raise Unreadable("combined_config is not an object")
    said = {key: value for key, value in (config or {}).items() if value is not None}
    for key in ("pids", "exclude_pids"):
        if key in said:
            said[key] = _read_pids(key, said[key])
    if kind == "start":
        said.setdefault("duration", defaults.duration_seconds)
        said.setdefault("frequency", defaults.frequency_hz)
        said.setdefault("continuous", defaults.continuous)
    elif kind == "stop":
        said.setdefault("stop_level", "process" if "pids" in said else "host")
    command = _validated({"command_type": kind, "combined_config": said})
    named = said.get("target_hostnames")
    if isinstance(named, list) and named and hostname not in named:
        raise Unreadable(f"the command is for other hosts than {hostname}")
    return command


def _read_id(command_id: Any) -> str:
    try:
        return _IdReader.validate_python(command_id)
    except ValidationError as error:
        raise NotAReply(f"a command without a usable command_id: {error.errors()[0]['msg']}") from None


def _read_interval(seconds: Any) -> timedelta | None:
    if (
        not isinstance(seconds, int | float)
        or math.isnan(seconds := min(seconds, MAX_DURATION_SECONDS))
        or seconds <= 0
    ):
        return None
    return timedelta(seconds=seconds)


def _read_pids(key: str, value: Any) -> list[int]:
    """A list of numbers; older servers send a text of numbers with commas between."""
    listed = value.split(",") if isinstance(value, str) else value
    if not isinstance(listed, list) or not listed or value == "":
        # Taking "no pids" for "the whole host" would profile more than was asked.
        raise Unreadable(f"{key} is empty or not a list; leave it out to mean the whole host")
    try:
        return sorted({pid if isinstance(pid, int) else int(str(pid).strip()) for pid in listed})
    except ValueError:
        raise Unreadable(f"{key} holds something that is no process id") from None


def _validated(command: dict[str, Any]) -> StartCommand | StopCommand:
    try:
        read = CommandReader.validate_python(command)
    except ValidationError as error:
        faults = (
            f"{'.'.join(str(part) for part in fault['loc'] if part not in {'start', 'stop', 'combined_config'})}: "
            f"{fault['msg']}"
            for fault in error.errors(include_url=False, include_input=False)
        )
        raise Unreadable("; ".join(faults).removeprefix(": ")[:_MAX_REASON]) from None
    if isinstance(read, StartCommand):
        _check_bounds(read.combined_config)
    elif read.combined_config.stop_level == "process" and not read.combined_config.pids:
        raise Unreadable("a stop of processes without pids")
    return read


def _check_bounds(config: StartConfig) -> None:
    if config.duration > MAX_DURATION_SECONDS:
        raise Unreadable(f"duration: {config.duration} s; at most {MAX_DURATION_SECONDS} are taken")
    if config.frequency > MAX_FREQUENCY_HZ:
        raise Unreadable(f"frequency: {config.frequency} Hz; at most {MAX_FREQUENCY_HZ} are taken")
