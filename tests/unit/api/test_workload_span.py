"""Which hosts a page of workloads looks at: all of a small fleet, and of a large one each in its turn."""

from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.workload_span import Span, span_of
from api.workloads import OF_A_HOST, Key
from protocol.field_status import Scope

Hosts = list[tuple[str, str]]
SCOPES: tuple[Scope, ...] = get_args(Scope)
fleets = st.lists(
    st.tuples(st.sampled_from(["a", "b", "c", "c-2"]), st.integers(0, 30).map(lambda number: f"h-{number:02}")),
    unique=True, max_size=40,
).map(sorted)  # fmt: skip


def all_spans(hosts: Hosts, scope: Scope, most: int) -> list[Hosts]:
    found, after = [], None
    for _ in range(len(hosts) + 2):
        seen = span_of(hosts, scope, after, most=most)
        found.append(hosts[seen.first : seen.end])
        if seen.resume is None:
            return found
        assert after is None or seen.resume > after, "a cursor never goes back"
        after = seen.resume
    raise AssertionError("it does not end")


@given(hosts=fleets, scope=st.sampled_from(SCOPES), most=st.integers(1, 12))
def test_spans_are_bounded_and_every_host_is_in_one_of_them(hosts: Hosts, scope: Scope, most: int) -> None:
    found = all_spans(hosts, scope, most)
    assert all(len(each) <= most for each in found)
    seen = [host for each in found for host in each]
    assert len(seen) == len(set(seen))
    if scope in OF_A_HOST:
        assert seen == hosts
        return
    for service in {service for service, _ in hosts}:
        of_service = [host for host in hosts if host[0] == service]
        assert [each for each in seen if each[0] == service] == of_service[:most], "the first ones of a large service"
        assert sum(any(host[0] == service for host in each) for each in found) == 1, "a service is in one span"


@pytest.mark.parametrize("scope", SCOPES)
@pytest.mark.parametrize("after", [None, ("a",), ("b", "h-1"), ("zzz",)])
def test_a_small_fleet_is_looked_at_whole_each_time(scope: Scope, after: Key | None) -> None:
    assert span_of([("a", "h-1"), ("b", "h-1")], scope, after, most=2) == Span(0, 2)


@pytest.mark.parametrize(
    ("scope", "after", "first"),
    [
        ("host", ("a", "h-2"), ("a", "h-2")), ("process", ("a", "h-2", "0000000007"), ("a", "h-2")),
        ("pod", ("b", "shop", "cart-0"), ("b", "h-1")), ("namespace", ("b", "shop"), ("b", "h-1")),
        ("service", ("a",), ("b", "h-1")),
    ],
)  # fmt: skip
def test_a_page_within_a_span_begins_at_the_host_or_service_of_its_last_row(
    scope: Scope, after: Key, first: tuple[str, str]
) -> None:
    hosts = [("a", "h-1"), ("a", "h-2"), ("b", "h-1"), ("b", "h-2"), ("c", "h-1")]
    assert hosts[span_of(hosts, scope, after, most=2).first] == first
