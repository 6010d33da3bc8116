"""Collapsed stacks as they come: good lines are kept, the others are told by their number."""

import json
import random
import tracemalloc
from dataclasses import replace
from itertools import pairwise

import pytest

from profiles import collapsed
from profiles.collapsed import BadHeader, Reader, TooManyStacks, read


def test_good_lines_are_kept_and_the_same_stack_adds_up() -> None:
    found = read('# {"format": "collapsed"}\nmain;work 3\n\nmain;work 2\r\n# a comment\nmain;rest of it 1\nmain 4')
    assert found.stacks == {"main;work": 5, "main;rest of it": 1, "main": 4}
    assert found.header == {"format": "collapsed"}
    assert not found.bad_lines


@pytest.mark.parametrize(
    "line", ["main", "main;work", "main 0", "main -1", "main 1.5", "main 1e3", "main \u0661", " 3", ";; 3",
             f"main {10**30}",
             f"main {2**53 + 1}", "main NaN"],
)  # fmt: skip
def test_a_bad_line_is_left_out_and_told(line: str) -> None:
    found = read(f"a 1\n{line}\nb 2")
    assert found.stacks == {"a": 1, "b": 2}
    assert [(fault.line, bool(fault.why)) for fault in found.faults] == [(2, True)]
    assert found.bad_lines == 1


def test_of_very_many_bad_lines_the_first_are_told_and_all_are_counted() -> None:
    found = read("x\n" * 1_000)
    assert found.bad_lines == 1_000
    assert len(found.faults) == collapsed.MOST_FAULTS


def test_a_stack_of_ten_thousand_frames_is_cut_at_its_deep_end() -> None:
    found = read(";".join(f"f{number}" for number in range(10_000)) + " 7\nmain 1")
    (deep,) = (stack for stack in found.stacks if stack != "main")
    frames = deep.split(";")
    assert frames[:2] == ["f0", "f1"]
    assert frames[-1] == collapsed.CUT
    assert len(frames) == collapsed.DEEPEST + 1
    assert found.cut_stacks == 1
    assert found.stacks[deep] == 7


def test_more_distinct_stacks_than_a_profile_has_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(collapsed, "MOST_STACKS", 10)
    with pytest.raises(TooManyStacks, match="line 11"):
        read("\n".join(f"f{number} 1" for number in range(20)))


@pytest.mark.parametrize("header", ["# not JSON", "# [1]", "# {", '#{"a":' + "[" * 100_000, "# 3"])
def test_a_header_that_is_none_is_refused(header: str) -> None:
    with pytest.raises(BadHeader, match="line 1"):
        read(f"{header}\nmain 1")


def test_a_header_that_would_take_gigabytes_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(collapsed, "LONGEST_HEADER", 100)
    assert read(f'# {{"command_id":"{"c" * 50}"}}\nmain 1\n').header
    with pytest.raises(BadHeader, match="line 1 has more than 100"):
        read(f'# {{"command_id":"{"c" * 100}"}}\nmain 1\n')


@pytest.mark.parametrize(
    "said",
    ['{"junk":[' + "[]," * 200_000 + "[]]}", json.dumps({str(number): 1 for number in range(250_000)}),
     '{"a":' + "[" * 65 + "]" * 65 + "}"],
    ids=["lists", "names", "deep"],
)  # fmt: skip
def test_a_header_full_of_what_nobody_asks_for_is_refused_before_it_is_made(said: str) -> None:
    tracemalloc.start()
    with pytest.raises(BadHeader, match="line 1"):
        read(f"# {said}\nmain 1\n")
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert most < 12 * len(said) + 1_000_000
    told = json.dumps({"commas": "[,]" * 300_000})
    assert read(f"# {told}\nmain 1\n").stacks == {"main": 1}


def test_lines_are_the_same_wherever_the_text_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(collapsed, "PORTION", 40)
    dice = random.Random(3)
    for _ in range(200):
        lines = dice.choices(["main;work 3", "main;rest 1", "", "# no", "bad", "main 0", "x;y 12\r", ";a 3"], k=20)
        text = dice.choice(['# {"a": 1}\n', "first 1\n"]) + "\n".join(lines) + dice.choice(["", "\n"])
        cuts = [0, *sorted(dice.choices(range(len(text)), k=9)), len(text)]
        kept, counted = Reader(), Reader(keeps=False)
        for begin, end in pairwise(cuts):
            kept.feed(text[begin:end])
            counted.feed(text[begin:end])
        found, numbers = kept.end(), counted.end()
        assert found == read(text)
        assert numbers == replace(found, stacks={})
        assert (found.distinct, found.samples) == (len(found.stacks), sum(found.stacks.values()))


def test_a_line_without_end_is_a_bad_one_and_what_follows_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(collapsed, "PORTION", 10)
    monkeypatch.setattr(collapsed, "LONGEST_LINE", 100)
    reader = Reader()
    for piece in ("a 1\nlong", *["x" * 50] * 9, " 3\nb 2\n"):
        reader.feed(piece)
    found = reader.end()
    assert found.stacks == {"a": 1, "b": 2}
    assert [(fault.line, fault.why) for fault in found.faults] == [(2, "more than 100 characters")]


def test_more_samples_than_other_programs_can_tell_are_refused() -> None:
    for keeps in (True, False):
        for text, is_taken in ((f"a {2**53 - 1}\nb 1", True), (f"a {2**53}\nb 1", False)):
            reader = Reader(keeps=keeps)
            reader.feed(text)
            if is_taken:
                assert reader.end().samples == 2**53
            else:
                with pytest.raises(TooManyStacks, match="line 2"):
                    reader.end()
