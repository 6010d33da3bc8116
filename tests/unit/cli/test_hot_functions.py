import pytest

from cli.hot_functions import read_collapsed, shares

STACKS = {
    "python;main (sample.py:90);crunch (sample.py:10)": 60,
    "python;main (sample.py:90);sort (sample.py:20);<lambda> (sample.py:22)": 25,
    "python;main (sample.py:90);sort (sample.py:20);sort (sample.py:20)": 5,
    "python;main (sample.py:90)": 10,
}


def test_a_function_has_the_samples_it_is_on_the_stack_of() -> None:
    assert shares(STACKS, ["sort", "crunch"]) == {"crunch": 0.6, "sort": 0.3}


def test_recursion_counts_a_sample_once() -> None:
    assert shares({"a;a;a (x.py:1);a": 4}, ["a"]) == {"a": 1.0}


def test_the_busiest_function_comes_first() -> None:
    assert list(shares(STACKS, ["never", "sort", "crunch"])) == ["crunch", "sort", "never"]


def test_a_function_is_known_by_its_whole_name() -> None:
    assert shares({"root;crunch_more (a.py:1)": 3, "root;uncrunch": 1}, ["crunch"]) == {"crunch": 0.0}


def test_a_frame_without_a_file_is_a_function_too() -> None:
    assert shares({"root;crunch": 1, "root;other": 3}, ["crunch"]) == {"crunch": 0.25}


def test_no_samples_are_no_shares() -> None:
    assert shares({}, ["crunch"]) == {"crunch": 0.0}


def test_collapsed_text_is_read_with_its_comments_left_out_and_equal_stacks_joined() -> None:
    assert read_collapsed("# {}\n\na;b c 2\na;b c 3\nd 1\n") == {"a;b c": 5, "d": 1}


def test_a_line_without_a_count_is_refused() -> None:
    with pytest.raises(ValueError, match="invalid literal"):
        read_collapsed("a;b;c\n")
