"""What is asked of stored profiles: which of them, read from a query, and asked of the engine off the loop."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from typing import Annotated, Final, TypeVar

from fastapi import Depends, Header, Query, Response
from fastapi.responses import StreamingResponse
from pydantic import StringConstraints

from api.dependencies import CallerDep, Studio
from api.problems import invalid
from api.rights import require, require_service
from api.uploads import unavailable
from broker.token_store import Token, TokenKind
from profiles.moments import Moment
from profiles.questions import Merge, Selection
from profiles.renderings import Content, Merged
from protocol.names import Name
from protocol.problems import FieldFault

LONGEST: Final = timedelta(days=31)
"""What one question may span."""
MOST_LOOKED_AT: Final = 1_000
"""Profiles that are looked at for their mode."""
CPU: Final = "cpu"
"""The mode that is meant where none is said."""
SAFELY: Final = {
    "Content-Security-Policy": "sandbox allow-scripts", "X-Content-Type-Options": "nosniff",
    "Cache-Control": "private, no-store",
}  # fmt: skip
"""With each file: what is in a profile comes from elsewhere, and a page made of it is nobody's here. Nor is it kept by
a cache: the next who asks at the same address may be of another tenant, signed in by another cookie."""
BASE: Final = "base_"
"""Before the names of what the base of a comparison is."""
Nodes = Annotated[
    int,
    Query(
        ge=1,
        le=200_000,
        description="Of a tree: the lightest beyond are left out; of files that others read, ten times as many",
    ),
]
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
    start: Annotated[Moment, Query(description="Profiles that began then or later (UTC where no offset is said)")],
    end: Annotated[Moment, Query(description="And before then")],
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
    return Said(service, start, end, where)


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
    base_start: Annotated[Moment | None, Query(description="Of the base; unsaid: the same")] = None,
    base_end: Annotated[Moment | None, Query(description="Of the base; unsaid: the same")] = None,
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
        base_service or said.service, base_start or said.start,
        base_end or said.end, {**said.where, **where},
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
    return replace(selection, where={**selection.where, "mode": [CPU]})


async def merged_in(parts: Studio, *selections: Selection) -> list[Merged]:
    """Everything in some selections, each added up.

    Raises:
        Refusal: counts of several modes would be added up or compared, or the store does not answer.
    """
    found = [await asked(partial(parts.profiles.merged, each)) for each in selections]
    _require_one_mode({mode for each in found for mode in each.modes})
    return [_told(each, of.service, of.start) for each, of in zip(found, selections, strict=True)]


def _told(found: Merge, title: str, start: datetime) -> Merged:
    """What was added up, with what is said of it; nothing is from `start` on."""
    began = found.started_at or start
    return Merged(
        found.stacks, title, next(iter(found.modes), CPU), found.frequencies[0] if len(found.frequencies) == 1 else 0,
        began, (found.ended_at or began) - began,
        {"hosts": found.host if found.hosts == 1 else str(found.hosts), "profiles": str(found.profiles)},
    )  # fmt: skip


async def mode_in(parts: Studio, selection: Selection) -> str:
    """Of which mode the profiles of a selection are, as far as they are looked at.

    Raises:
        Refusal: of several, or the store does not answer.
    """
    found = await asked(partial(parts.profiles.profiles, selection, after="", most=MOST_LOOKED_AT))
    modes = {each.mode for each in found}
    _require_one_mode(modes)
    return next(iter(modes), CPU)


def _require_one_mode(modes: set[str]) -> None:
    if len(modes) > 1:
        why = f"these are of {' and '.join(sorted(modes))}: choose one"
        raise invalid(more=[FieldFault(field="profiling_mode", message=why, code="several_modes")])


def answered(content: Content, media_type: str) -> Response:
    """A file as an answer: one that is made in pieces is sent as they are made, off the loop."""
    if isinstance(content, bytes):
        return Response(content, media_type=media_type, headers=SAFELY)
    return StreamingResponse(content, media_type=media_type, headers=SAFELY)


async def asked(question: Callable[[], Answer]) -> Answer:
    """Ask the engine, off the loop.

    Raises:
        Refusal: the store does not answer.
    """
    try:
        return await asyncio.to_thread(question)
    except OSError as error:
        raise unavailable(error) from error
