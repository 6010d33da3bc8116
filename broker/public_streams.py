"""The streams that others may build on, field by field: what docs/redis.md and docs/asyncapi.yaml are made from.

An entry is a flat record of texts, so these models say how each text reads. The scripts write the entries (`emit` and
`tell` in common.lua); tests hold what they write against the models.
"""

from collections.abc import Callable
from typing import Annotated, Final, Literal, NamedTuple, TypeAlias

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, TypeAdapter

from broker import keys
from protocol.lifecycle import State

VERSION: Final = "1"
STATES: Final = (*(state.value for state in State), "late_completion")


def _a_state(text: str) -> str:
    if text not in STATES:
        raise ValueError(f"no state: {text}")
    return text


def _a_decimal(text: str) -> str:
    float(text)
    return text


Moment = Annotated[str, StringConstraints(pattern=r"^\d{1,16}$")]
"""Milliseconds since 1970 by the server's clock."""
Count = Annotated[str, StringConstraints(pattern=r"^\d{1,19}$")]
Digest = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
Seconds = Annotated[str, AfterValidator(_a_decimal)]
Ids = Annotated[str, StringConstraints(pattern=r"^\S*( \S+)*$")]
StateName = Annotated[str, AfterValidator(_a_state), Field(json_schema_extra={"enum": list(STATES)})]


class AnyEntry(BaseModel):
    """What every entry of a public stream has. A field that a consumer does not know is to be ignored."""

    model_config = ConfigDict(extra="allow", frozen=True)

    v: Literal["1"] = Field(description="Version of the stream's fields; see the rules of versioning.")


class PublicEntry(AnyEntry):
    """What every entry on a host has."""

    tenant: str = Field(description="The tenant that the host belongs to.")
    service: str = Field(description="The service that the host belongs to.")
    hostname: str = Field(description="The host's name, as its agent says it; empty where it is about the service.")
    at: Moment = Field(description="When it happened: ms since 1970, by the server's clock.")


class Result(PublicEntry):
    """One change of state of one command, or of requests that have no command yet, on one host."""

    state: StateName = Field(
        description="The state after the change. `late_completion` is the agent's word on a command that had ended"
        " otherwise; it changes no outcome."
    )
    command_id: str = Field(description="The command; before there is one, the id that the request brought along.")
    generation: Count = Field(description="The command's generation on this host; 0 while there is no command.")
    request_ids: Ids = Field(description="The requests it concerns, parted by blanks; may be empty.")
    attempt: Count | None = Field(None, description="With `delivered`: how often it was handed out.")
    reason: str | None = Field(None, description="Why, in words, where there is something to say.")
    samples: Count | None = Field(None, description="With a completion: how many samples were taken.")
    execution_time: Seconds | None = Field(None, description="With a completion: how long it ran, in seconds.")
    results_path: str | None = Field(None, description="With a completion: where the agent put the profile.")
    started_at: str | None = Field(None, description="With a completion: by the agent's clock, RFC 3339.")
    finished_at: str | None = Field(None, description="With a completion: by the agent's clock, RFC 3339.")


class HostJoined(PublicEntry):
    """The first heartbeat of a host, or the first after it was forgotten (7 days of silence)."""

    kind: Literal["host_joined"]


class CredentialConflict(PublicEntry):
    """A token spoke for a host that it may not speak for, and was refused; told once in ten minutes for a host."""

    kind: Literal["credential_conflict"]
    credential: str = Field(description="The id of the token that was refused.")
    owner: str = Field(description="The id of the token that the host belongs to; empty where it belongs to none.")
    reason: str = Field(description="Why, in words: another owner, another host, another machine.")


class HostReturned(PublicEntry):
    """A heartbeat after a silence of more than three intervals and a wait."""

    kind: Literal["host_returned"]
    silent_since: Moment = Field(description="The host's last heartbeat before: ms since 1970.")


class HostLost(PublicEntry):
    """A host has been silent for so long that the command it held was given up on."""

    kind: Literal["host_lost"]
    silent_since: Moment = Field(description="The host's last heartbeat: ms since 1970.")
    command_id: str = Field(description="The command it held.")


class AuditRecord(AnyEntry):
    """One act of somebody, accepted, refused or failed; a link of the chain of its partition."""

    id: str = Field(description="Random, of this record. What is told again after a failure has the same.")
    tenant: str = Field(description="The tenant of who called; empty where nobody knows who called.")
    service: str = Field(description="The service that was acted upon; empty where it is about none.")
    at: Moment = Field(description="When: ms since 1970, by the server's clock.")
    action: str = Field(description="What, as `request.submit`; `call` for refused calls that are no act.")
    outcome: Literal["accepted", "refused", "failed"] = Field(
        description="`accepted` is written before the effect, and `failed` follows it where the effect did not come."
    )
    code: str | None = Field(None, description="Of a refusal or failure: the code that was answered.")
    actor: str | None = Field(None, description="The id of the token; absent where nobody knows who called.")
    actor_kind: str | None = Field(None, description="The kind of the token, or `schedule`.")
    objects: Ids | None = Field(None, description="Ids of what was acted upon, percent-encoded, parted by blanks.")
    hosts: Count | None = Field(None, description="How many hosts it was for.")
    targets: Digest | None = Field(None, description="SHA-256 of their names, sorted, one a line.")
    before: str | None = Field(None, description="What was, where there is such a thing: JSON.")
    after: str | None = Field(None, description="What was to be: JSON.")
    details: str | None = Field(None, description="What else there is to say: JSON.")
    address: str | None = Field(None, description="The network address that the call came from.")
    route: str | None = Field(None, description="Method and path of the route.")
    http_request_id: str | None = Field(None, description="The id of the HTTP call.")
    act: str | None = Field(None, description="Of a failure: the id of the accepted record before it.")
    count: Count | None = Field(None, description="How many refused calls it stands for, where that is not one.")
    last_at: Moment | None = Field(None, description="When the last of them came.")
    number: Count = Field(description="Its place in the chain of its partition, from 1 on, without a gap.")
    prev: Digest = Field(description="`hash` of the record before; 64 zeros for the first.")
    hash: Digest = Field(
        description="SHA-256 of `number`, `prev` and the digest of all other fields; see protocol/audit_chain.py."
    )


class ServiceSilent(PublicEntry):
    """More than half of a service's hosts, of three or more, are silent at once: they are given more time."""

    kind: Literal["service_silent"]
    known_hosts: Count = Field(description="Its hosts that are known.")
    silent_hosts: Count = Field(description="Those of them that are silent.")


class ServiceHeard(PublicEntry):
    """A silent service is heard again, or so little of it is left to hear that its hosts are judged one by one."""

    kind: Literal["service_heard"]
    silent_since: Moment = Field(description="When `service_silent` was told: ms since 1970.")
    known_hosts: Count = Field(description="Its hosts that are known.")
    silent_hosts: Count = Field(description="Those of them that are silent.")


class Stream(NamedTuple):
    """One public stream: its name, the builder of its key, what it tells, and the models of its entries."""

    name: str
    key: Callable[[int], str]
    about: str
    entries: tuple[type[AnyEntry], ...]


AnyEvent: TypeAlias = HostJoined | HostReturned | HostLost | ServiceSilent | ServiceHeard | CredentialConflict
FleetEvent = Annotated[AnyEvent, Field(discriminator="kind")]
FleetEventReader: Final[TypeAdapter[AnyEvent]] = TypeAdapter(FleetEvent)
"""Reads an entry of `events` whose kind is known; a consumer skips the kinds that it does not know."""

RESULTS: Final = Stream(
    "results",
    keys.results,
    "Every change of state of every command on every host, in the order it happened.",
    (Result,),
)
EVENTS: Final = Stream(
    "events",
    keys.events,
    "Facts of the fleet; `kind` says which.",
    (HostJoined, HostReturned, HostLost, ServiceSilent, ServiceHeard, CredentialConflict),
)  # fmt: skip
AUDIT: Final = Stream(
    "audit", keys.audit, "Every act of somebody: who, what, when, from where, and what came of it.", (AuditRecord,)
)  # fmt: skip
STREAMS: Final = (RESULTS, EVENTS, AUDIT)

READABLE: Final = frozenset(
    {"results", "events", "host", "beats", "request", "request_hosts", "request_counts", "layout"}
)
"""Builders of the keys that others may read. Nobody but us writes to any key, a consumer's own group apart."""
