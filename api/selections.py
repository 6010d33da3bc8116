"""What is asked of stored profiles: which of them, read from a query, and asked of the engine off the loop."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from typing import Annotated, Final, TypeVar

from fastapi import Depends, Header, Query
from pydantic import StringConstraints

from api.dependencies import CallerDep, Studio
from api.problems import invalid
from api.rights import require, require_service
from api.uploads import unavailable
from broker.token_store import Token, TokenKind
from profiles.questions import Selection, StoredProfile
from profiles.renderings import Merged
from profiles.upload import utc
from protocol.names import Name
from protocol.problems import FieldFault

LONGEST: Final = timedelta(days=31)
"""What one question may span."""
MOST_TOLD: Final = 1_000
"""Profiles that are looked at for what is said of a merge: when it began, of which hosts it is."""
SAFELY: Final = {"Content-Security-Policy": "sandbox allow-scripts", "X-Content-Type-Options": "nosniff"}
"""With each file: what is in a profile comes from elsewhere, and a page made of it is nobody's here."""
BASE: Final = "base_"
"""Before the names of what the base of a comparison is."""
Nodes = Annotated[int, Query(ge=1, le=200_000, description="Of a tree as JSON: the lightest beyond are left out")]
Accept = Annotated[str, Header(description="Where the path has no ending: the format")]
Answer = TypeVar("Answer")
Value = Annotated[str, StringConstraints(min_length=1, max_length=256)]
Chosen = Annotated[list[Value] | None, Query(max_length=100, description="Only these; may be said several times")]
OfBase = Annotated[list[Value] | None, Query(max_length=100, description="Of the base; unsaid: as without `base_`")]


@dataclass(frozen=True)
class Said:
    """A selection as it was said: nothing is checked yet."""

    service: str
    start: datetime
    end: datetime
    where: Mapping[str, Sequence[str]]


def _said(
    service: Annotated[Name, Query(description="The service whose profiles are meant")],
    start: Annotated[datetime, Query(description="Profiles that began then or later (UTC where no offset is said)")],
    end: Annotated[datetime, Query(description="And before then")],
    profile_id: Chosen = None,
    hostname: Chosen = None,
    command_id: Chosen = None,
    request_id: Chosen = None,
    capture_id: Chosen = None,
    profiling_mode: Chosen = None,
    process: Chosen = None,
    container: Chosen = None,
    pod: Chosen = None,
    runtime: Chosen = None,
) -> Said:
    given = {
        "profile_id": profile_id, "host": hostname, "command_id": command_id, "request_id": request_id,
        "capture_id": capture_id, "mode": profiling_mode, "process": process, "container": container, "pod": pod,
        "runtime": runtime,
    }  # fmt: skip
    where = {name: values for name, values in given.items() if values is not None}
    return Said(service, utc(start), utc(end), where)


SaidDep = Annotated[Said, Depends(_said)]


def _selection(caller: CallerDep, said: SaidDep) -> Selection:
    """What is asked for.

    Raises:
        Refusal: it is not the caller's, or no time.
    """
    _require(caller, said)
    if faults := _faults(said):
        raise invalid(more=faults)
    return _of(caller, said)


def _both(
    caller: CallerDep,
    said: SaidDep,
    base_service: Annotated[Name | None, Query(description="Of the base; unsaid: the same")] = None,
    base_start: Annotated[datetime | None, Query(description="Of the base; unsaid: the same")] = None,
    base_end: Annotated[datetime | None, Query(description="Of the base; unsaid: the same")] = None,
    base_profile_id: OfBase = None,
    base_hostname: OfBase = None,
    base_command_id: OfBase = None,
    base_request_id: OfBase = None,
    base_capture_id: OfBase = None,
    base_process: OfBase = None,
    base_container: OfBase = None,
    base_pod: OfBase = None,
    base_runtime: OfBase = None,
) -> tuple[Selection, Selection]:
    """What is compared: the selection, and its base, which is the selection but for what is said of it.

    Raises:
        Refusal: one of them is not the caller's, or no time.
    """
    given = {
        "profile_id": base_profile_id, "host": base_hostname, "command_id": base_command_id,
        "request_id": base_request_id, "capture_id": base_capture_id, "process": base_process,
        "container": base_container, "pod": base_pod, "runtime": base_runtime,
    }  # fmt: skip
    where = {name: values for name, values in given.items() if values is not None}
    base = Said(
        base_service or said.service, said.start if base_start is None else utc(base_start),
        said.end if base_end is None else utc(base_end), {**said.where, **where},
    )  # fmt: skip
    _require(caller, said)
    _require(caller, base, prefix=BASE)
    if faults := [*_faults(said), *(_faults(base, prefix=BASE) if base_start or base_end else ())]:
        raise invalid(more=faults)
    return _of(caller, said), _of(caller, base)


SelectionDep = Annotated[Selection, Depends(_selection)]
BothDep = Annotated[tuple[Selection, Selection], Depends(_both)]


def _require(caller: Token, said: Said, prefix: str = "") -> None:
    require(caller, [TokenKind.OPERATOR, TokenKind.VIEWER])
    require_service(caller, said.service, field=f"{prefix}service")


def _faults(said: Said, prefix: str = "") -> list[FieldFault]:
    if timedelta(0) < said.end - said.start <= LONGEST:
        return []
    why = f"must be later than {prefix}start, by {LONGEST.days} days at most"
    return [FieldFault(field=f"{prefix}end", message=why, code="bad_time")]


def _of(caller: Token, said: Said) -> Selection:
    return Selection(caller.tenant, said.service, said.start, said.end, said.where)


def of_a_mode(selection: Selection) -> Selection:
    """Of several modes the counts mean different things: where none is said, it is CPU."""
    if {"mode", "profile_id"} & selection.where.keys():
        return selection
    return replace(selection, where={**selection.where, "mode": ["cpu"]})


async def found_in(parts: Studio, *selections: Selection) -> list[list[StoredProfile]]:
    """The profiles of some selections, as far as they are told.

    Raises:
        Refusal: counts of several modes would be added up or compared, or the store does not answer.
    """
    listed = [partial(parts.profiles.profiles, each, after="", most=MOST_TOLD) for each in selections]
    found = [await asked(each) for each in listed]
    modes = {each.mode for some in found for each in some}
    if len(modes) > 1:
        why = f"these are of {' and '.join(sorted(modes))}: choose one"
        raise invalid(more=[FieldFault(field="profiling_mode", message=why, code="several_modes")])
    return found


def merged(parts: Studio, selection: Selection, found: Sequence[StoredProfile]) -> Merged:
    """Everything selected, added up, with what is said of it. Blocks.

    Raises:
        OSError: the store does not answer.
    """
    stacks = parts.profiles.merged(selection)
    hosts, frequencies = {each.host for each in found}, {each.frequency_hz for each in found}
    began = min((each.started_at for each in found), default=selection.start)
    ended = max((each.ended_at for each in found), default=began)
    many = f"{len(found)}{'+' if len(found) == MOST_TOLD else ''}"
    return Merged(
        stacks, selection.service, mode_of(found), frequencies.pop() if len(frequencies) == 1 else 0, began,
        ended - began, {"hosts": next(iter(hosts)) if len(hosts) == 1 else str(len(hosts)), "profiles": many},
    )  # fmt: skip


def mode_of(found: Sequence[StoredProfile]) -> str:
    """Of profiles of one mode."""
    return next((each.mode for each in found), "cpu")


async def asked(question: Callable[[], Answer]) -> Answer:
    """Ask the engine, off the loop.

    Raises:
        Refusal: the store does not answer.
    """
    try:
        return await asyncio.to_thread(question)
    except OSError as error:
        raise unavailable(error) from error
