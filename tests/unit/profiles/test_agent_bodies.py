"""The JSON of an upload, read in pieces of any size: as Python reads it, but for what nobody asks for."""

import json
import random
from itertools import pairwise
from typing import Any

import pytest

from profiles.agent_bodies import DEEPEST, LONGEST_FIELD, MOST_VALUES, BadBody, read

WANTED = ("hostname", "gpid")
ODD = ["", "a", "späť", "日本 \U0001f525", 'a "quoted" \\ text\n\t\r\b\f/', "\\u0041", "\\", '"', "\x7f\u2028", "\0"]


def told(text: str, sizes: random.Random | None = None) -> tuple[dict[str, Any], str]:
    """The fields, and what was handed on of `profile`; the text comes in pieces of some characters each."""
    cuts = [0, *sorted(sizes.choices(range(len(text) + 1), k=len(text) // 3)), len(text)] if sizes else [0, len(text)]
    pieces: list[str] = []
    found = read((text[a:b] for a, b in pairwise(cuts)), wanted=WANTED, long="profile", give=pieces.append)
    return found, "".join(pieces)


def test_any_body_is_read_as_python_reads_it_wherever_its_pieces_end() -> None:
    dice = random.Random(5)

    def value(depth: int = 0) -> Any:
        kind = dice.randrange(7 if depth < 4 else 5)
        if kind == 5:
            return [value(depth + 1) for _ in range(dice.randrange(4))]
        if kind == 6:
            return {dice.choice(ODD) + str(n): value(depth + 1) for n in range(dice.randrange(4))}
        return [None, True, dice.choice([0, -1, 2**70, 1.5e300, float("nan")]), dice.choice(ODD), -0.25][kind]

    for _ in range(300):
        body = {"hostname": dice.choice(ODD), "profile": "\n".join(dice.choices(ODD, k=5)), "gpid": 7}
        body |= {f"more{number}": value() for number in range(4)}
        fields = dice.sample(list(body.items()), len(body))
        indent = dice.choice([None, 2])
        text = json.dumps(dict(fields), ensure_ascii=dice.random() < 0.5, indent=indent)
        assert told(text, dice) == ({"hostname": body["hostname"], "gpid": 7, "profile": ""}, body["profile"])


@pytest.mark.parametrize(
    "text",
    ["", "[]", "3", '"a"', "{", '{"a"', '{"a":', '{"a":1', '{"a":1,', '{"a":1,}', "{,}", '{"a" 1}', '{"a":1 "b":2}',
     "{a:1}", '{"a":tru}', '{"a":01}', '{"a":+1}', '{"a":.5}', '{"a":1.}', '{"a":[1,]}', '{"a":[1}', '{"a":{"b"}}',
     '{"a":]}', '{"a":1} {', '{"a":1}x', '{"profile":"\n"}', '{"profile":"\\x"}', '{"profile":"\\ud800"}',
     '{"profile":"\\udc00"}', '{"profile":"\\ud800\\u0041 and on"}', '{"profile":"\\u12"}', '{"profile":"a',
     "\ufeff{}"],
)  # fmt: skip
def test_what_is_no_json_object_is_refused_wherever_its_pieces_end(text: str) -> None:
    for sizes in (None, random.Random(1), random.Random(2)):
        with pytest.raises(BadBody):
            told(text, sizes)


def test_fields_that_should_be_texts_are_told_as_what_they_are() -> None:
    found, handed = told('{"hostname": [1, 2], "gpid": {"a": 1}, "profile": 3}')
    assert (found, handed) == ({"hostname": [], "gpid": {}, "profile": 3}, "")


@pytest.mark.parametrize("name", ["profile", "hostname"])
def test_a_field_that_is_given_twice_is_refused(name: str) -> None:
    with pytest.raises(BadBody, match="twice") as refused:
        told(f'{{"{name}": "a", "{name}": "b"}}')
    assert refused.value.field == name


@pytest.mark.parametrize(
    ("junk", "why"),
    [("[" * (DEEPEST + 1) + "]" * (DEEPEST + 1), "deeper"), ("[" + "[]," * MOST_VALUES + "1]", "more than"),
     ("{" + '"":{},' * MOST_VALUES + '"a":1}', "more than"), ("9" * 10_000, "digits")],
    ids=["deep", "lists", "objects", "a number"],
)  # fmt: skip
def test_junk_that_nobody_asks_for_is_refused_before_it_takes_long(junk: str, why: str) -> None:
    with pytest.raises(BadBody, match=why):
        told(f'{{"junk": {junk}, "profile": "a 1"}}')
    nested, page = "[" * DEEPEST + "]" * DEEPEST, "x" * 100_000
    assert told(f'{{"junk": {nested}, "page": "{page}", "profile": "a 1"}}')[1] == "a 1"


def test_a_field_has_a_bound() -> None:
    assert told(json.dumps({"hostname": "x" * LONGEST_FIELD}))[0] == {"hostname": "x" * LONGEST_FIELD}
    with pytest.raises(BadBody) as refused:
        told(json.dumps({"hostname": "x" * (LONGEST_FIELD + 1)}))
    assert refused.value.field == "hostname"
