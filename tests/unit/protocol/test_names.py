"""Names, and the path that identifies one agent."""

from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from protocol.names import MAX_NAME, HostKey, Name

NameReader: TypeAdapter[str] = TypeAdapter(Name)
PRINTABLE = st.text(st.characters(exclude_categories=["Cc", "Cs"]), min_size=1, max_size=MAX_NAME).filter(str.strip)
KEYS = st.builds(HostKey, PRINTABLE, PRINTABLE, PRINTABLE)


@given(PRINTABLE)
def test_every_printable_text_is_a_name(text: str) -> None:
    assert NameReader.validate_python(text) == text


BLANK = st.text(" \u00a0\u3000")
WITH_A_CONTROL = st.builds(
    "{}{}{}".format, st.text(max_size=5), st.characters(categories=["Cc", "Cs"]), st.text(max_size=5)
)


@given(BLANK | WITH_A_CONTROL)
def test_blank_text_and_control_characters_are_no_name(text: str) -> None:
    with pytest.raises(ValidationError):
        NameReader.validate_python(text)


@given(KEYS)
def test_a_path_reads_back_as_the_key_it_was_made_of(key: HostKey) -> None:
    assert HostKey.from_path(key.path) == key


@given(KEYS)
def test_a_path_is_percent_encoded(key: HostKey) -> None:
    assert key.path == "/".join(quote(part, safe="") for part in key)


@given(KEYS, KEYS)
def test_two_keys_never_share_a_path(one: HostKey, other: HostKey) -> None:
    assert (one == other) == (one.path == other.path)


@given(KEYS)
def test_no_name_can_forge_a_separator_or_a_hash_tag(key: HostKey) -> None:
    assert key.path.count("/") == 2
    assert not set(key.path) & set("{}: \n")
    assert key.path.isascii()


@pytest.mark.parametrize("path", ["", "a", "a/b", "a/b/c/d", "/////"])
def test_a_text_that_has_not_three_parts_is_no_path(path: str) -> None:
    with pytest.raises(ValueError, match="unpack"):
        HostKey.from_path(path)
