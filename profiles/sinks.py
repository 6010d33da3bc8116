"""A profile as others take it in over HTTP: Pyroscope's `POST /ingest`, and OTLP's profiles. Pure.

Pyroscope 1.x and 2.x take collapsed text with all else in the query. OTLP is `v1development` as opentelemetry-proto
1.45 has it: tables in a dictionary, in which number 0 means nothing, and stacks with the leaf first.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, Literal
from urllib.parse import urlencode

from profiles.upload import Upload

Kind = Literal["pyroscope", "otlp"]
INGEST: Final = "/ingest"
EXPORT: Final = "/v1development/profiles"
SCOPE: Final = "performance-studio"
_UNFIT: Final = re.compile(r"[{}=,\s\"]")
_OF_MODE: Final[Mapping[str, tuple[str, str]]] = {
    "allocation": ("alloc_space", "bytes"),
    "in_use": ("inuse_space", "bytes"),
}
"""Mode -> what is counted and in what; of others samples."""


@dataclass(frozen=True)
class Outgoing:
    """A call: `target` is the path and query below the sink's address."""

    target: str
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)


def outgoing(kind: Kind, upload: Upload, stacks: Mapping[str, int]) -> Outgoing:
    """The call that hands a profile to a sink."""
    return _MADE[kind](upload, stacks)


def _pyroscope(upload: Upload, stacks: Mapping[str, int]) -> Outgoing:
    facts = upload.facts
    counted, unit = _OF_MODE.get(facts.mode, (facts.mode, "samples"))
    labels = {"hostname": facts.host.host, "service_name": facts.host.service, "tenant": facts.host.tenant}
    told = ",".join(f"{name}={_UNFIT.sub('_', value)}" for name, value in labels.items())
    query = {
        "name": f"{_UNFIT.sub('_', facts.host.service)}.{_UNFIT.sub('_', counted)}{{{told}}}",
        "from": int(facts.started_at.timestamp()), "until": max(int(facts.ended_at.timestamp()), 1),
        "format": "folded", "units": unit, "aggregationType": "sum", "spyName": SCOPE,
        **({"sampleRate": facts.frequency_hz} if facts.frequency_hz else {}),
    }  # fmt: skip
    body = "".join(f"{stack} {count}\n" for stack, count in stacks.items()).encode(errors="replace")
    return Outgoing(f"{INGEST}?{urlencode(query)}", body, {"Content-Type": "text/plain"})


class _Table(dict[str, int]):
    """Text -> its number, from 1; 0 means nothing."""

    def number(self, text: str) -> int:
        return self.setdefault(text, len(self) + 1)


def _otlp(upload: Upload, stacks: Mapping[str, int]) -> Outgoing:
    # An extra, and for who has such a sink alone.
    from opentelemetry.proto.collector.profiles.v1development import profiles_service_pb2 as service  # noqa: PLC0415
    from opentelemetry.proto.common.v1 import common_pb2 as common  # noqa: PLC0415
    from opentelemetry.proto.profiles.v1development import profiles_pb2 as otlp  # noqa: PLC0415
    from opentelemetry.proto.resource.v1 import resource_pb2 as resources  # noqa: PLC0415

    facts = upload.facts
    strings, frames = _Table(), _Table()
    counted, unit = _OF_MODE.get(facts.mode, ("samples", "count"))
    profile: Any = otlp.Profile(
        sample_type=otlp.ValueType(type_strindex=strings.number(counted), unit_strindex=strings.number(unit)),
        time_unix_nano=_ns(facts.started_at), duration_nano=_ns(facts.ended_at) - _ns(facts.started_at),
        profile_id=bytes.fromhex(facts.profile_id.partition("-")[2]),
    )  # fmt: skip
    if facts.frequency_hz:
        profile.period_type.CopyFrom(
            otlp.ValueType(type_strindex=strings.number("cpu"), unit_strindex=strings.number("nanoseconds"))
        )
        profile.period = 1_000_000_000 // facts.frequency_hz
    dictionary: Any = otlp.ProfilesDictionary(
        mapping_table=[otlp.Mapping()], link_table=[otlp.Link()], attribute_table=[otlp.KeyValueAndUnit()],
        location_table=[otlp.Location()], function_table=[otlp.Function()], stack_table=[otlp.Stack()],
    )  # fmt: skip
    for number, (stack, count) in enumerate(stacks.items(), start=1):
        leaf_first = [frames.number(name) for name in reversed(stack.split(";"))]
        dictionary.stack_table.append(otlp.Stack(location_indices=leaf_first))
        profile.samples.append(otlp.Sample(stack_index=number, values=[count]))
    for number, name in enumerate(frames, start=1):
        dictionary.function_table.append(otlp.Function(name_strindex=strings.number(name)))
        dictionary.location_table.append(otlp.Location(lines=[otlp.Line(function_index=number)]))
    dictionary.string_table.extend(["", *(text.encode(errors="replace").decode() for text in strings)])
    about = {"service.name": facts.host.service, "host.name": facts.host.host, "studio.tenant": facts.host.tenant}
    resource = resources.Resource(
        attributes=[
            common.KeyValue(key=name, value=common.AnyValue(string_value=value)) for name, value in about.items()
        ]
    )
    scoped = otlp.ScopeProfiles(scope=common.InstrumentationScope(name=SCOPE), profiles=[profile])
    request = service.ExportProfilesServiceRequest(
        resource_profiles=[otlp.ResourceProfiles(resource=resource, scope_profiles=[scoped])], dictionary=dictionary
    )
    return Outgoing(EXPORT, request.SerializeToString(), {"Content-Type": "application/x-protobuf"})


def _ns(moment: datetime) -> int:
    return int(moment.timestamp()) * 1_000_000_000 + moment.microsecond * 1_000


_MADE: Final = {"pyroscope": _pyroscope, "otlp": _otlp}
