"""JSON read however deep it is: readers of the library end at a depth that flame graphs do reach."""

import json
import re
from typing import Any, Final

_TOKEN: Final = re.compile(r'[\s,:]*(?:([{}\[\]])|("(?:[^"\\]|\\.)*")|([^\s{}\[\],:"]+))[\s,:]*')


def read(text: str) -> Any:
    """The value of a JSON text.

    Raises:
        ValueError: it is none.
    """
    try:
        return json.loads(text)
    except RecursionError:
        return _deep(text)


def _deep(text: str) -> Any:
    """The same without recursion. A text that nobody wrote as JSON may pass: only its tokens are looked at."""
    holders: list[Any] = [[]]
    names: list[str | None] = [None]
    at = 0
    while at < len(text):
        token = _TOKEN.match(text, at)
        if token is None:
            raise ValueError(f"no JSON at character {at}")
        at = token.end()
        bracket, string, word = token.groups()
        holder = holders[-1]
        if bracket in {"}", "]"}:
            holders.pop()
            names.pop()
            if not holders:
                raise ValueError(f"one bracket too many at character {at}")
            continue
        if string is not None and isinstance(holder, dict) and names[-1] is None:
            names[-1] = json.loads(string)
            continue
        value = {"{": dict, "[": list}[bracket]() if bracket else json.loads(string or word)
        if isinstance(holder, dict):
            holder[names[-1]] = value
            names[-1] = None
        else:
            holder.append(value)
        if bracket:
            holders.append(value)
            names.append(None)
    if len(holders) != 1 or len(holders[0]) != 1:
        raise ValueError("this is not one JSON value")
    return holders[0][0]
