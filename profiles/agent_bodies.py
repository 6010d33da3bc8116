"""The JSON body of an upload, read as it comes. Pure.

Its long text is handed on piece by piece, and what nobody asks for is never made: a body may have 96 MB, and JSON takes
thirty times as much as values of Python.
"""

import json
import re
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator
from typing import Any, Final

from pydantic_core import from_json

MOST_VALUES: Final = 100_000
"""Of the whole body: those of agents have ten or so, and each costs time even where it is passed over."""
DEEPEST: Final = 64
LONGEST_FIELD: Final = 4_096
"""Characters of a field that is asked for, beside the long text."""
LONGEST_NUMBER: Final = 512
_BLANKS: Final = re.compile(r"[ \t\n\r]*+")
_LONGEST_ESCAPE: Final = len(r"\ud83d\ude00")
_HALF: Final = len(r"\ud83d")
_HIGH: Final = re.compile(r"\\u[dD][89abAB][0-9a-fA-F]{2}")
"""The first half of a character."""
_WORD: Final = re.compile(r"[-+.0-9A-Za-z]*+")
_IS_WORD: Final = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?|true|false|null|NaN|-?Infinity")
"""NaN is no JSON, and is what Python writes where an agent has the average of nothing."""
_CLOSING: Final = {"{": "}", "[": "]"}


class BadBody(ValueError):
    """A body that cannot be read. `field` is at fault."""

    def __init__(self, why: str, field: str = "body") -> None:
        super().__init__(why)
        self.field = field


def read(
    portions: Iterable[str], *, wanted: Collection[str], long: str, give: Callable[[str], None]
) -> dict[str, Any]:  # fmt: skip
    """Read a JSON object. Of its fields those that are wanted are given, lists and objects among them as empty ones.

    Args:
        portions: its text.
        wanted: names of fields.
        long: name of the one whose text is handed on; among the fields it is empty then.
        give: takes the next piece of that text.

    Raises:
        BadBody: it is none, or has too many values; what was handed on until then is void.
    """
    return _Reading(portions).fields(wanted, long, give)


class _Reading:
    """A text and a place in it; of what lies before that place nothing is kept."""

    def __init__(self, portions: Iterable[str]) -> None:
        self._portions = iter(portions)
        self._text = ""
        self._at = self._before = self._values = 0

    def fields(self, wanted: Collection[str], long: str, give: Callable[[str], None]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        if self._next() != "{":
            raise BadBody("must be a JSON object")
        self._at += 1
        is_over = self._next() == "}"
        while not is_over:
            name = self._key()
            if name in found:
                raise BadBody("is given twice", name)
            if name == long and self._next() == '"':
                found[name] = ""
                for piece in self._string():
                    give(piece)
            elif name == long or name in wanted:
                found[name] = self._small(name)
            else:
                self._pass_over()
            is_over = self._next() == "}"
            if not is_over:
                self._expect(",")
        self._at += 1
        if self._next():
            raise self._bad("something follows its end")
        return found

    def _small(self, name: str) -> Any:
        """The value of a field. What it may not be is made small, for who says what it should be."""
        first = self._next()
        if first == '"':
            text = "".join(self._begun(LONGEST_FIELD + 1))
            if len(text) > LONGEST_FIELD:
                raise BadBody(f"may have {LONGEST_FIELD:,} characters", name)
            return text
        if first in _CLOSING:
            self._pass_over()
            return json.loads(first + _CLOSING[first])
        return json.loads(self._word())

    def _pass_over(self) -> None:
        """Go behind a value, without recursion and without making it."""
        inside: list[str] = []
        while True:
            self._values += 1
            if self._values > MOST_VALUES:
                raise BadBody(f"more than {MOST_VALUES:,} values beside the profile")
            first = self._next()
            if first in _CLOSING:
                if self._opens(first, inside):
                    continue
            elif first == '"':
                deque(self._string(), maxlen=0)
            else:
                self._word()
            while inside and self._next() == _CLOSING[inside[-1]]:
                self._at += 1
                inside.pop()
            if not inside:
                return
            self._expect(",")
            if inside[-1] == "{":
                self._key()

    def _opens(self, bracket: str, inside: list[str]) -> bool:
        """Go into a list or an object. False: there is nothing in it."""
        self._at += 1
        inside.append(bracket)
        if len(inside) > DEEPEST:
            raise BadBody(f"nested deeper than {DEEPEST} levels")
        is_empty = self._next() == _CLOSING[bracket]
        if bracket == "{" and not is_empty:
            self._key()
        return not is_empty

    def _key(self) -> str:
        """The name of a field, of a very long one only the beginning."""
        if self._next() != '"':
            raise self._bad("the name of a field is missing")
        name = "".join(self._begun(LONGEST_FIELD))
        self._expect(":")
        return name

    def _begun(self, most: int) -> Iterator[str]:
        """A string, until it has so many characters; what is behind them is passed over."""
        seen = 0
        for piece in self._string():
            if seen < most:
                yield piece
            seen += len(piece)

    def _string(self) -> Iterator[str]:
        """A string, piece by piece; none ends inside of a character."""
        self._at += 1
        while True:
            end = _unescaped(self._text, '"', self._at, self._at)
            is_whole = end >= 0
            if not is_whole:  # up to an escape that may not be all there
                end = _unescaped(self._text, "\\", self._at, len(self._text) - _LONGEST_ESCAPE)
                end = len(self._text) if end < 0 else end
                if _HIGH.fullmatch(self._text, end - _HALF, end) and self._is_escape(end - _HALF):
                    end -= _HALF
            try:
                piece: str = from_json(
                    f'"{self._text[self._at : end]}"', cache_strings="none"
                )  # four times json's pace
            except ValueError:
                raise self._bad("a string has an escape that is none, or half a character") from None
            self._at = end + is_whole
            yield piece
            if is_whole:
                return
            if not self._more():
                raise self._bad("it is cut short")

    def _is_escape(self, at: int) -> bool:
        """Whether a backslash is the first of its escape."""
        return at >= self._at and _unescaped(self._text, "\\", self._at, at) == at

    def _word(self) -> str:
        """A number, or another value without quotes."""
        while True:
            found = _WORD.match(self._text, self._at)
            end = found.end() if found is not None else self._at
            if end - self._at > LONGEST_NUMBER:
                raise self._bad(f"a number has more than {LONGEST_NUMBER} digits")
            if end < len(self._text) or not self._more():
                break
        word, self._at = self._text[self._at : end], end
        if _IS_WORD.fullmatch(word) is None:
            raise self._bad("there is no value" if word or end < len(self._text) else "it is cut short")
        return word

    def _expect(self, mark: str) -> None:
        found = self._next()
        if found != mark:
            raise self._bad(f"there is no `{mark}`" if found else "it is cut short")
        self._at += 1

    def _next(self) -> str:
        """The next character that is no blank; empty at the end."""
        while True:
            found = _BLANKS.match(self._text, self._at)
            self._at = found.end() if found is not None else self._at
            if self._at < len(self._text):
                return self._text[self._at]
            if not self._more():
                return ""

    def _more(self) -> bool:
        """Read on. False: there is no more."""
        portion = next(self._portions, None)
        if portion is None:
            return False
        self._before += self._at
        self._text, self._at = self._text[self._at :] + portion, 0
        return True

    def _bad(self, why: str) -> BadBody:
        return BadBody(f"no JSON: character {self._before + self._at}: {why}")


def _unescaped(text: str, mark: str, begin: int, after: int) -> int:
    """Where a mark stands that no backslash is for, at `after` or later; -1: nowhere. The string begins at `begin`."""
    at = max(begin, after) - 1
    while (at := text.find(mark, at + 1)) >= 0:
        first = at
        while first > begin and text[first - 1] == "\\":
            first -= 1
        if (at - first) % 2 == 0:
            break
    return at
