"""The token: where it comes from, and how it stays out of process lists, logs and reprs."""

import os
import stat
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from agent.frozen import is_frozen

TOKEN_VARIABLE: Final = "GPROFILER_TOKEN"  # noqa: S105 - the name of a variable, not a secret
_FLAG: Final = "--token"
_MAX_TOKEN: Final = 4_096


class BadToken(ValueError):
    """The token cannot be used. The text never holds it."""


@dataclass(frozen=True)
class Secret:
    """A token that shows itself only to `reveal`."""

    _value: str = field(repr=False)

    def __str__(self) -> str:
        return "***"

    def reveal(self) -> str:
        """The token itself, for the one header that carries it."""
        return self._value


def read_token(text: str, *, source: str) -> Secret:
    """Check a token before it can reach a header, whose library would quote a bad one in its error.

    Raises:
        BadToken: it is empty, too long, or not printable ASCII without blanks.
    """
    token = text.strip()
    if not token:
        raise BadToken(f"the token from {source} is empty")
    if len(token) > _MAX_TOKEN or not token.isascii() or not token.isprintable() or " " in token:
        raise BadToken(f"the token from {source} is not one line of printable ASCII without blanks")
    return Secret(token)


def read_token_file(path: Path) -> Secret:
    """Read a token from a file that holds nothing else.

    Raises:
        BadToken: the file cannot be read, or does not hold a token.
    """
    try:
        return read_token(path.read_text(encoding="ascii", errors="replace")[: 2 * _MAX_TOKEN], source=str(path))
    except OSError as error:
        raise BadToken(f"the token file {path} cannot be read: {error.strerror}") from None


def is_exposed(path: Path) -> bool:
    """Whether others than the owner's group may read the token file."""
    try:
        return bool(path.stat().st_mode & stat.S_IROTH)
    except OSError:
        return False


def without_token(arguments: Sequence[str]) -> tuple[list[str], str | None]:
    """The arguments without `--token`, and the token; None when there is none. As with any option, the last wins."""
    kept: list[str] = []
    token: str | None = None
    rest = iter(arguments)
    for argument in rest:
        if argument == "--":
            kept += [argument, *rest]
        elif argument == _FLAG:
            value = next(rest, None)
            if value is None:
                kept.append(argument)  # the parser says what is missing
            else:
                token = value
        elif argument.startswith(f"{_FLAG}="):
            token = argument.partition("=")[2]
        else:
            kept.append(argument)
    return kept, token


def forget_token() -> None:
    """Take the token out of the environment, so that no profiler started from here inherits it."""
    os.environ.pop(TOKEN_VARIABLE, None)


def hide_token() -> None:
    """If the command line holds a token, start this program again with the token in its environment.

    A process list shows every user the command line of every process; the environment is shown to its owner and root.
    """
    kept, token = without_token(sys.argv[1:])
    if token is None:
        return
    os.environ[TOKEN_VARIABLE] = token
    interpreter = [] if is_frozen() else sys.orig_argv[1 : len(sys.orig_argv) - len(sys.argv) + 1]
    os.execv(sys.executable, [sys.executable, *interpreter, *kept])  # noqa: S606 - the same program, no shell
