"""Whatever is done to a chain of audit records is found, and the first record that is not as it was is named."""

from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from protocol import audit_chain
from protocol.audit_chain import GENESIS, LINK, BrokenChain, Link, Point, verify

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
NAME = st.sampled_from(["id", "actor", "action", "before", "count"])
BODY = st.dictionaries(NAME, TEXT, max_size=4)
START = st.sampled_from([Point(), Point(41, "ab" * 32)])
Chain = tuple[Point, list[dict[str, str]], Point]


@st.composite
def chains(draw: st.DrawFn, least: int = 1) -> Chain:
    """Where a chain begins, its records, and where it ends."""
    start = draw(START)
    records = audit_chain.append(draw(st.lists(BODY, min_size=least, max_size=8)), after=start)
    last = records[-1]
    return start, records, Point(int(last["number"]), last["hash"])


def links(records: list[dict[str, str]]) -> list[Link]:
    return [Link.of(record) for record in records]


def first_broken(chain: Chain, records: list[dict[str, str]]) -> int:
    """The number that verifying names, behind the start: 1 for the first record."""
    start, _, end = chain
    with pytest.raises(BrokenChain) as found:
        verify(links(records), start=start, end=end)
    return found.value.number - start.number


@given(chains())
def test_a_chain_that_nobody_touched_is_whole(chain: Chain) -> None:
    start, records, end = chain
    assert verify(links(records), start=start, end=end) == end
    for cut in range(len(records)):
        before = Point(start.number + cut, records[cut - 1]["hash"] if cut else start.hash)
        assert verify(links(records[cut:]), start=before, end=end) == end


@given(chains(), st.data())
def test_a_field_that_was_changed_added_or_removed_is_found_at_its_record(chain: Chain, data: st.DataObject) -> None:
    _, records, _ = chain
    index = data.draw(st.integers(0, len(records) - 1))
    spoilt = dict(records[index])
    name = data.draw(st.sampled_from([*spoilt, *NAME_AND_MORE]))
    value: str | None = data.draw(st.one_of(st.none(), TEXT, st.just(f"0{spoilt.get(name, '')}")))
    if value is None:
        spoilt.pop(name, None)
    else:
        spoilt[name] = value
    assume(spoilt != records[index])
    assert first_broken(chain, [*records[:index], spoilt, *records[index + 1 :]]) == index + 1


NAME_AND_MORE = ("id", "actor", "action", "before", "count", "unheard of")


@given(chains(), st.data())
def test_a_record_that_was_dropped_is_found_in_its_place(chain: Chain, data: st.DataObject) -> None:
    _, records, _ = chain
    index = data.draw(st.integers(0, len(records) - 1))
    assert first_broken(chain, records[:index] + records[index + 1 :]) == index + 1


@given(chains(2), st.data())
def test_records_that_were_swapped_are_found_at_the_first(chain: Chain, data: st.DataObject) -> None:
    _, records, _ = chain
    one = data.draw(st.integers(0, len(records) - 2))
    other = data.draw(st.integers(one + 1, len(records) - 1))
    moved = list(records)
    moved[one], moved[other] = moved[other], moved[one]
    assert first_broken(chain, moved) == one + 1


@given(chains(), st.data())
def test_a_chain_cut_at_either_end_is_found(chain: Chain, data: st.DataObject) -> None:
    _, records, _ = chain
    cut = data.draw(st.integers(1, len(records)))
    assert first_broken(chain, records[cut:]) == 1
    assert first_broken(chain, records[:-cut]) == len(records) - cut + 1


@given(chains(), BODY)
def test_a_record_that_was_put_behind_or_told_twice_is_found(chain: Chain, body: dict[str, str]) -> None:
    _, records, end = chain
    assert first_broken(chain, [*records, *audit_chain.append([body], after=end)]) == len(records) + 1
    assert first_broken(chain, [*records, records[-1]]) == len(records) + 1


@given(chains(2), st.data())
def test_a_rest_that_was_hashed_anew_does_not_end_where_the_chain_ended(chain: Chain, data: st.DataObject) -> None:
    start, records, _ = chain
    index = data.draw(st.integers(0, len(records) - 1))
    before = Point(start.number + index, records[index - 1]["hash"] if index else start.hash)
    bodies = [{name: text for name, text in record.items() if name not in LINK} for record in records[index:]]
    forged = audit_chain.append([{**bodies[0], "actor": "somebody else entirely"}, *bodies[1:]], after=before)
    assert first_broken(chain, [*records[:index], *forged]) == len(records)


@given(chains())
def test_a_chain_is_followed_across_records_that_one_may_not_read(chain: Chain) -> None:
    start, records, end = chain
    blind = [Link(each.number, each.prev, each.hash, each.digest) for each in links(records)]
    assert verify(blind, start=start, end=end) == end


@given(BODY, BODY)
def test_different_bodies_have_different_digests(one: dict[str, str], other: dict[str, str]) -> None:
    assert (audit_chain.digest_of(one) == audit_chain.digest_of(other)) == (one == other)


@pytest.mark.parametrize("record", [{}, {"number": "1"}, {"number": "1", "prev": GENESIS, "hash": ""}, {"number": "x"}])
def test_what_is_no_record_fits_nowhere(record: dict[str, Any]) -> None:
    with pytest.raises(BrokenChain):
        verify([Link.of(record)], start=Point())
