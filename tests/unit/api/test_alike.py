"""Of a call that was parsed the like are known, and nothing else is."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.alike import LONGEST, MOST_KNOWN, AlikeCalls

BODY = b'{"hostname":"a\\r\\n\\r\\n"}'
TOKENS = st.from_regex(r"[A-Za-z0-9._~+/=-]{1,64}", fullmatch=True).map(str.encode)


def call(
    token: bytes, *, before: bytes = b"Host: a\r\n", after: bytes = b"Accept: */*\r\n", body: bytes = BODY
) -> bytes:
    head = b"POST /api/metrics/heartbeat HTTP/1.1\r\n%bAuthorization: Bearer %b\r\n%bContent-Length: %d\r\n\r\n"
    return head % (before, token, after, len(body)) + body


def known(*calls: bytes, token: bytes = b"pcs_1") -> AlikeCalls:
    seen = AlikeCalls()
    for each in calls:
        seen.learn(each, b"Bearer " + token, len(BODY if each.endswith(BODY) else each.partition(b"\r\n\r\n")[2]))
    return seen


@given(TOKENS, TOKENS)
def test_another_token_in_the_same_call_is_found(first: bytes, second: bytes) -> None:
    seen = known(call(first), token=first)
    assert seen.authorization_in(call(second)) == b"Bearer " + second
    assert seen.authorization_in(call(second, body=BODY.replace(b"a", b"b"))) == b"Bearer " + second


@given(st.data())
def test_nothing_is_found_in_anything_else(data: st.DataObject) -> None:
    seen, sent = known(call(b"pcs_1")), call(b"pcs_2")
    at = data.draw(st.integers(0, len(sent)))
    to = data.draw(st.integers(at, len(sent)))
    changed = sent[:at] + data.draw(st.binary(max_size=8)) + sent[to:]
    found = seen.authorization_in(changed)
    if found is not None:  # then it is such a call: no other byte of its head has changed, nor its length
        token = found.removeprefix(b"Bearer ")
        assert changed[: -len(BODY)] == call(token)[: -len(BODY)]
        assert len(changed) == len(call(token))


@pytest.mark.parametrize(
    "sent",
    [
        call(b"pcs_1", before=b"X-Not-Authorization: Bearer pcs_1\r\n"),
        call(b"pcs_1").replace(b"Authorization", b"AUTHORIZATION"),
        call(b"pcs_1").replace(b"\r\n", b"\n"),
        call(b"pcs_1", after=b"X-Long: %b\r\n" % (b"a" * LONGEST)),
        call(b"pcs_2"),
        call(b"").replace(b"Authorization", b"AUTHORIZATION").replace(BODY, b"\r\nAuthorization: Bearer pcs_1\r\n\r\n"),
        b"",
        b"uthorization: Bearer pcs_1\r\n\r\n",
    ],
    ids=[
        "another header first",
        "spelling",
        "other ends of lines",
        "long",
        "another token",
        "in the body",
        "nothing",
        "its end alone",
    ],
)
def test_a_call_whose_token_stands_elsewhere_is_not_learned_from(sent: bytes) -> None:
    assert known(sent).authorization_in(sent) is None


@pytest.mark.parametrize("behind", [b"\n", b"\r\n", b"\r\n" * 100])
def test_a_call_with_ends_of_lines_behind_it_is_not_learned_from(behind: bytes) -> None:
    seen = AlikeCalls()
    seen.learn(call(b"pcs_1") + behind, b"Bearer pcs_1", len(BODY))
    assert seen.authorization_in(call(b"pcs_1") + behind) is None
    assert seen.authorization_in(call(b"pcs_1") + b"P" * len(behind)) is None


def test_the_last_header_may_be_the_token(subtests: pytest.Subtests) -> None:
    def sent(token: bytes) -> bytes:
        return call(token, before=b"Content-Length: 2\r\n").partition(b"Accept")[0] + b"\r\n{}"

    seen = known(sent(b"pcs_1"))
    whole = sent(b"pcs_2")
    assert seen.authorization_in(whole) == b"Bearer pcs_2"
    for end in range(len(whole)):
        with subtests.test(end=end):
            assert seen.authorization_in(whole[:end]) is None
            assert seen.authorization_in(whole[:end].replace(b"\r", b"") + b"a" * (len(whole) - end)) is None


def test_only_so_many_are_known() -> None:
    calls = [call(b"pcs_1", body=b" " * length) for length in range(MOST_KNOWN + 1)]
    seen = known(*calls)
    assert seen.authorization_in(calls[-1]) is not None
    assert len(seen._lengths) <= MOST_KNOWN
