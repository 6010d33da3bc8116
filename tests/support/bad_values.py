"""Values that no field takes, by what is wrong with them: rows for the tests of refusals."""

import math
from collections.abc import Iterable, Iterator
from typing import Any

import pytest

from tests.support.refusals import MISSING, Bad

LONG = "x" * 257
NO_NAMES: dict[str, Any] = {
    "missing": MISSING,
    "null": None,
    "empty": "",
    "blank": " \t ",
    "a number": 7,
    "a list": ["web"],
    "with NUL": "we\0b",
    "with a line feed": "web\n",
    "a lone surrogate": "we\ud800b",
    "257 characters": LONG,
}
NO_COUNTS: dict[str, Any] = {
    "zero": 0,
    "minus one": -1,
    "a text": "x",
    "digits in a text": "60",
    "10^9": 10**9,
    "10^30": 10**30,
    "true": True,
    "a fraction": 1.5,
    "a float": 60.0,
    "infinite": math.inf,
    "a list": [60],
    "an object": {},
}
NO_IDS: dict[str, Any] = {"empty": "", "a number": 7, "129 characters": "c" * 129, "a lone surrogate": "\udc00"}
NO_PIDS: dict[str, tuple[Any, str]] = {
    "none": ([], "pids"),
    "1,001 of them": (list(range(1, 1_002)), "pids"),
    "no list": (7, "pids"),
    "a text": ("7", "pids"),
    "zero": ([0], "pids.0"),
    "minus one": ([1, -1], "pids.1"),
    "10^18": ([10**18], "pids.0"),
    "a text in it": (["7"], "pids.0"),
    "true": ([True], "pids.0"),
    "a fraction": ([1.5], "pids.0"),
    "null in it": ([None], "pids.0"),
}


def infinite_is_no_json(values: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """`Infinity` does not parse: a test of bodies, not of fields."""
    return ((name, value) for name, value in values.items() if value is not math.inf)


def each(rows: Iterable[Bad]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("bad", list(rows), ids=str)
