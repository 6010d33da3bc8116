"""A flame graph as a still picture."""

import re
from xml.etree import ElementTree as ET

from formats import svg

RECT = "{http://www.w3.org/2000/svg}rect"
TITLE = "{http://www.w3.org/2000/svg}title"


def boxes(picture: str) -> dict[str, tuple[float, float]]:
    """Name -> x and width, as drawn."""
    root = ET.fromstring(picture)
    found = {}
    for group in root.iter("{http://www.w3.org/2000/svg}g"):
        told, box = group.find(TITLE), group.find(RECT)
        assert told is not None
        assert told.text is not None
        assert box is not None
        found[told.text.partition(":")[0]] = (float(box.attrib["x"]), float(box.attrib["width"]))
    return found


def test_widths_are_shares_and_callees_stand_above_their_callers() -> None:
    drawn = boxes(svg.render({"main;a": 3, "main;b": 1}, title="t"))
    whole = drawn["main"][1]
    assert drawn["all (4)"][1] == whole
    assert abs(drawn["a"][1] - whole * 0.75) < 0.2
    assert abs(drawn["b"][0] - (drawn["a"][0] + drawn["a"][1])) < 0.2


def test_what_is_in_a_name_is_text_and_no_markup() -> None:
    picture = svg.render({'<script>&";b': 2}, title="<t> & more")
    ET.fromstring(picture)
    assert "<script>" not in picture


def test_what_cannot_be_seen_is_left_out_and_nothing_is_an_empty_picture() -> None:
    drawn = boxes(svg.render({"a": 1_000_000, "b": 1}, title="t"))
    assert set(drawn) == {"all (1000001)", "a"}
    assert boxes(svg.render({}, title="t")) == {}


def test_a_stack_deeper_than_the_picture_is_cut_and_that_is_said() -> None:
    picture = svg.render({";".join(f"f{number}" for number in range(2_000)): 1}, title="t")
    assert len(boxes(picture)) == svg.MOST_ROWS
    assert re.search(r"t \(the first \d+ frames of each stack\)", picture)
