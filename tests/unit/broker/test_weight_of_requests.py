"""A small body must not become gigabytes in the broker."""

import pytest

from broker.errors import NotSubmittable
from broker.submission import MOST_COPIED_BYTES, check_weight
from protocol.requests import MAX_HOSTS, ProfileRequest


def asked(hosts: int, **fields: object) -> ProfileRequest:
    names = [f"h{number}" for number in range(hosts)]
    return ProfileRequest.model_validate({"service_name": "web", "target_hostnames": names, **fields})


@pytest.mark.parametrize(
    ("fields", "field"),
    [({"pids": list(range(1, 1_001))}, "pids"), ({"additional_args": {"key": "v" * 16_000}}, "additional_args")],
)
def test_what_is_large_is_not_copied_to_every_host(fields: dict[str, object], field: str) -> None:
    request = asked(MAX_HOSTS, **fields)
    with pytest.raises(NotSubmittable) as refused:
        check_weight(request, request.targets())
    assert (refused.value.faults[0].field, refused.value.faults[0].code) == (field, "too_large")


@pytest.mark.parametrize(
    ("hosts", "fields"),
    [
        (MAX_HOSTS, {"additional_args": {"profiler_configs": {"perf": "enabled_restricted"}}}),
        (MAX_HOSTS, {"pids": [1, 2, 3]}),
        (1_000, {"pids": list(range(1, 1_001)), "additional_args": {"key": "v" * 16_000}}),
    ],
)
def test_what_people_ask_for_passes(hosts: int, fields: dict[str, object]) -> None:
    request = asked(hosts, **fields)
    check_weight(request, request.targets())


def test_the_bound_fits_a_small_server() -> None:
    assert MOST_COPIED_BYTES <= 128 * 1024 * 1024
