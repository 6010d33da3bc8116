"""What an operator asks for: the body of `POST /api/metrics/profile_request`, in every dialect of the field."""

import json
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Final, Literal, Self
from uuid import UUID

from pydantic import (
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    Strict,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic_core import PydanticCustomError

from protocol.commands import Pid, ProfilingMode, StartConfig, StopLevel
from protocol.names import Name
from protocol.shares import Share, ShareOrZero
from protocol.targets import MOST_ENTITIES, WORKLOADS, TargetEntity, TargetScope, faults_of

CommandType = Literal["start", "stop"]
Priority = Literal["low", "normal", "urgent"]

MOST_WARNINGS: Final = 20
MAX_PIDS: Final = 1_000
MAX_HOSTS: Final = 100_000
MAX_ADDITIONAL_ARGS_BYTES: Final = 16 * 1024
MAX_DURATION_SECONDS: Final = 86_400
MAX_FREQUENCY_HZ: Final = 1_000
OUR_CONFIG_KEYS: Final = frozenset(StartConfig.model_fields) | {"stop_level", "command_type", "request_type"}
MAX_AHEAD: Final = timedelta(days=7)
"""How far ahead a start may be put off: as long as a request's record is kept."""
MOST_NAMES_SHOWN: Final = 100
NOT_YET: Final = ("schedule",)
"""Fields that narrow or delay a request. Ignoring one would profile more than was asked, so they are refused."""

Pids = Annotated[list[Pid], Field(min_length=1, max_length=MAX_PIDS)]


def _fault(kind: str, message: str) -> PydanticCustomError:
    return PydanticCustomError(kind, message)


def _text(value: Any) -> Any:
    """A moment is a text: a bare number could be seconds or milliseconds."""
    if value is not None and not isinstance(value, datetime) and not (isinstance(value, str) and "T" in value.upper()):
        raise _fault("moment", 'must be a moment such as "2026-01-08T12:00:00Z"')
    return value


Moment = Annotated[AwareDatetime, BeforeValidator(_text)]


class ProfileRequest(BaseModel):
    """One request, validated. Field order matters: a check across fields sits on the later one and names it.

    Older spellings are read too: `request_type` for `command_type`, and `target_hosts` (`{host: [pids] | null}`) for
    `target_hostnames` with `pids`.
    """

    model_config = ConfigDict(extra="ignore", validate_default=True)

    service_name: Name
    command_type: CommandType = "start"
    request_type: CommandType | None = None
    duration: Annotated[int, Strict(), Field(ge=1, le=MAX_DURATION_SECONDS)] = 60
    frequency: Annotated[int, Strict(), Field(ge=1, le=MAX_FREQUENCY_HZ)] = 11
    continuous: Annotated[bool, Strict()] = False
    profiling_mode: ProfilingMode = "cpu"
    target_scope: TargetScope = "host"
    target_entities: Annotated[list[TargetEntity], Field(min_length=1, max_length=MOST_ENTITIES)] | None = None
    target_hosts: Annotated[dict[Name, Pids | None], Field(min_length=1, max_length=MAX_HOSTS)] | None = None
    target_hostnames: Annotated[list[Name], Field(min_length=1, max_length=MAX_HOSTS)] | None = None
    pids: Pids | None = None
    stop_level: StopLevel | None = None
    additional_args: dict[str, Any] = Field(default_factory=dict)
    priority: Priority = "normal"
    expires_in: Annotated[int, Strict(), Field(ge=1, le=MAX_DURATION_SECONDS)] = 900
    dry_run: Annotated[bool, Strict()] = False
    sample: Share = None
    max_concurrency: Share = None
    max_errors: ShareOrZero = None
    start_at: Moment | None = None

    @model_validator(mode="before")
    @classmethod
    def _read_older_spellings(cls, body: Any) -> Any:
        """An absent `command_type` takes what `request_type` says; an explicit null is an absent field."""
        if not isinstance(body, dict):
            return body
        known = {name: value for name, value in body.items() if value is not None or name not in cls.model_fields}
        known.setdefault("command_type", known.get("request_type", "start"))
        return known

    @field_validator("request_type")
    @classmethod
    def _agree_with_command_type(cls, value: str | None, info: Any) -> str | None:
        if value is not None and info.data.get("command_type", value) != value:
            raise _fault("contradiction", "says something else than command_type; give one of them")
        return value

    @field_validator("target_entities")
    @classmethod
    def _fit_the_scope(cls, value: list[TargetEntity] | None, info: Any) -> list[TargetEntity] | None:
        scope = info.data.get("target_scope")
        if scope is None:
            return value
        if value is None:
            if scope in WORKLOADS:
                raise _fault("missing_targets", f'target_scope "{scope}" needs entities that name what is meant')
            return value
        faults = faults_of(value, scope=scope, service=info.data.get("service_name"))
        if faults:
            told = "; ".join(f"{number}: {why}" for number, why in list(faults.items())[:MOST_NAMES_SHOWN])
            raise _fault("entity", told)
        return list(dict.fromkeys(value))

    @field_validator("target_hostnames")
    @classmethod
    def _name_the_targets(cls, value: list[str] | None, info: Any) -> list[str] | None:
        if not {"target_scope", "target_hosts", "target_entities"} <= set(info.data):
            return value
        scope, older, entities = (info.data[name] for name in ("target_scope", "target_hosts", "target_entities"))
        if value is None and older is None and entities is None and scope == "host":
            raise _fault(
                "missing_targets", 'name the hosts; for every live host of the service say target_scope: "service"'
            )
        if scope != "host" and (value is not None or older is not None):
            raise _fault("contradiction", f'target_scope "{scope}" and named hosts exclude each other')
        if entities is not None and (value is not None or older is not None):
            raise _fault("contradiction", "target_entities name the hosts already; give one of them")
        if value is not None and older is not None and set(value) != set(older):
            raise _fault("contradiction", "names other hosts than target_hosts; give one of them")
        return list(dict.fromkeys(value)) if value is not None else None

    @field_validator("pids")
    @classmethod
    def _one_source_of_pids(cls, value: list[int] | None, info: Any) -> list[int] | None:
        older = info.data.get("target_hosts") or {}
        if value is not None and any(pids is not None for pids in older.values()):
            raise _fault("contradiction", "target_hosts carries pids already; give one of them")
        if value is not None and info.data.get("target_scope") in WORKLOADS:
            raise _fault("contradiction", "target_entities say which processes are meant")
        return sorted(set(value)) if value is not None else None

    @field_validator("stop_level")
    @classmethod
    def _fit_the_stop_level(cls, value: str | None, info: Any) -> str | None:
        if info.data.get("command_type") != "stop" or "pids" not in info.data:
            return value
        if info.data.get("target_scope") in WORKLOADS:
            if value == "host":
                raise _fault("contradiction", "host stops everything on the host, not what target_entities name alone")
            return value
        older = info.data.get("target_hosts") or {}
        every_host_has_pids = info.data["pids"] is not None or (bool(older) and all(older.values()))
        some_host_has_pids = info.data["pids"] is not None or any(older.values())
        if value == "process" and not every_host_has_pids:
            raise _fault("missing_pids", "process needs pids for every host")
        if value == "host" and some_host_has_pids:
            raise _fault("contradiction", "host stops everything on the host; leave the pids out or say process")
        return value

    @field_validator("additional_args")
    @classmethod
    def _keep_to_their_own_keys(cls, value: dict[str, Any]) -> dict[str, Any]:
        taken = sorted(OUR_CONFIG_KEYS & set(value))
        if taken:
            raise _fault("reserved_key", f"must not set {', '.join(taken)}: those are fields of the request")
        try:
            size = len(json.dumps(value, allow_nan=False, ensure_ascii=False).encode())
        except (ValueError, RecursionError):
            raise _fault("not_json", "must be plain JSON: no NaN, no lone surrogates, no endless nesting") from None
        if size > MAX_ADDITIONAL_ARGS_BYTES:
            raise _fault("too_large", f"is {size} bytes as JSON; at most {MAX_ADDITIONAL_ARGS_BYTES} are taken")
        return value

    @field_validator("sample", "max_concurrency", "max_errors", "start_at")
    @classmethod
    def _only_for_starts(cls, value: Any, info: ValidationInfo) -> Any:
        if value is not None and info.data.get("command_type") == "stop":
            raise _fault("not_for_stops", "is for starts: a stop reaches all its hosts, and at once")
        return value

    @field_validator("max_concurrency")
    @classmethod
    def _make_room(cls, value: int | str | None, info: ValidationInfo) -> int | str | None:
        if value is not None and info.data.get("continuous"):
            raise _fault("contradiction", "a continuous run does not end, so that no host would ever make room")
        return value

    @field_validator("max_errors")
    @classmethod
    def _have_something_to_halt(cls, value: int | str | None, info: ValidationInfo) -> int | str | None:
        if value is not None and "max_concurrency" in info.data and info.data["max_concurrency"] is None:
            raise _fault("missing_max_concurrency", "needs max_concurrency: without it every host begins at once")
        return value

    @field_validator("start_at")
    @classmethod
    def _start_together_and_later(cls, value: datetime | None, info: ValidationInfo) -> datetime | None:
        """Against the clock only where the caller says what time it is: `context={"now": seconds since the epoch}`."""
        if value is None:
            return None
        if info.data.get("max_concurrency") is not None:
            raise _fault("contradiction", "the hosts start together; max_concurrency has them start in turns")
        now = (info.context or {}).get("now")
        if now is not None:
            ahead = value - datetime.fromtimestamp(now, UTC)
            if not timedelta(0) < ahead <= MAX_AHEAD:
                raise _fault("not_ahead", f"must lie ahead, by at most {MAX_AHEAD.days} days")
        return value

    @model_validator(mode="after")
    def _level_of_a_stop(self) -> Self:
        if self.command_type == "stop" and self.stop_level is None:
            older = self.target_hosts or {}
            named = self.pids or any(older.values()) or self.target_scope in WORKLOADS
            self.stop_level = "process" if named else "host"
        return self

    def targets(self) -> dict[str, list[int] | None]:
        """Each named host with its pids (`None`: the whole host); empty when the scope is not `host`."""
        if self.target_hosts is not None:
            return {host: sorted(set(pids)) if pids else self.pids for host, pids in self.target_hosts.items()}
        if self.target_scope != "host":
            return {}
        names = [each.hostname for each in self.target_entities or () if each.hostname is not None]
        return dict.fromkeys(self.target_hostnames or names, self.pids)

    @property
    def is_resolved(self) -> bool:
        """Whether its hosts and processes are found by what runs on the hosts of the service."""
        return self.target_scope in WORKLOADS


def unsupported_fields(body: dict[str, Any]) -> list[str]:
    """The fields of a body that this version refuses, because ignoring them would profile more than was asked."""
    return [name for name in NOT_YET if body.get(name) is not None]


def unknown_fields(body: dict[str, Any]) -> list[str]:
    """The fields of a body that no dialect knows: reported back as warnings, as one may be mistyped.

    The first few are told: a body of nothing else must not get an answer larger than itself.
    """
    return sorted(set(body) - set(ProfileRequest.model_fields) - set(NOT_YET))[:MOST_WARNINGS]


class RequestAccepted(BaseModel):
    """The answer to a request. `command_id` is one per request: (`command_id`, `hostname`) names an execution."""

    success: Literal[True] = True
    message: str
    request_id: UUID
    command_id: UUID
    command_ids: list[UUID]
    estimated_completion_time: AwareDatetime
    hosts: int = Field(ge=0)
    warnings: list[str] = Field(default_factory=list)
    dry_run: bool = False
    targets: list[str] = Field(default_factory=list)
    """Of a dry run: the hosts that would be meant, the first 100 by name."""
