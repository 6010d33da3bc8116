"""Contexts: named servers, so that a command need not say each time which one it means and with which token.

They are one file, `contexts.json` in `$XDG_CONFIG_HOME/performance-studio`, which nobody else may read, for its tokens.
"""

import json
import os
import stat
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Final

from cli.errors import StudioError, Usage

OWN_ONLY: Final = 0o600


class BadContexts(StudioError):
    """The file of contexts is there and cannot be used."""


@dataclass(frozen=True)
class Context:
    """A server by its address, with a token; or what runs on a state directory, whose token is there."""

    url: str | None = None
    token: str | None = field(default=None, repr=False)
    state_dir: str | None = None


@dataclass(frozen=True)
class Contexts:
    """All of them, by name, and which is used where nothing else is said."""

    current: str | None = None
    named: Mapping[str, Context] = field(default_factory=dict)

    def get(self, name: str) -> Context:
        """A context by its name.

        Raises:
            Usage: there is none of that name.
        """
        if name not in self.named:
            known = ", ".join(sorted(self.named)) or "none yet; `studio context add` makes one"
            raise Usage(f"there is no context {name!r} (known: {known})")
        return self.named[name]

    def with_(self, name: str, context: Context, *, use: bool) -> "Contexts":
        """With one more, or another one of that name; the first one is used, and one that is to be."""
        current = name if use or self.current is None else self.current
        return Contexts(current, {**self.named, name: context})

    def using(self, name: str) -> "Contexts":
        """With another one in use.

        Raises:
            Usage: there is none of that name.
        """
        self.get(name)
        return replace(self, current=name)

    def without(self, name: str) -> "Contexts":
        """With one less; where it was in use, none is.

        Raises:
            Usage: there is none of that name.
        """
        self.get(name)
        left = {other: context for other, context in self.named.items() if other != name}
        return Contexts(None if self.current == name else self.current, left)


def file_of(environment: Mapping[str, str]) -> Path:
    """Where they are kept."""
    base = environment.get("XDG_CONFIG_HOME", "")
    return (Path(base) if base.startswith("/") else Path.home() / ".config") / "performance-studio" / "contexts.json"


def read(file: Path) -> Contexts:
    """The contexts of a file; none where it is not there.

    Raises:
        BadContexts: it cannot be used, or others may read it.
    """
    try:
        with file.open() as opened:
            open_to_others = stat.S_IMODE(os.fstat(opened.fileno()).st_mode) & ~OWN_ONLY
            found = json.load(opened)
        contexts = Contexts(found["current"], {name: Context(**each) for name, each in found["contexts"].items()})
    except FileNotFoundError:
        return Contexts()
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise BadContexts(f"{file} cannot be used as the file of contexts ({type(error).__name__}).") from None
    if open_to_others and any(each.token for each in contexts.named.values()):
        raise BadContexts(f"{file} holds tokens and is open to others: chmod 600 {file}")
    return contexts


def write(file: Path, contexts: Contexts) -> None:
    """Put them into the file, which nobody else may read, in one step.

    Raises:
        BadContexts: it cannot be written.
    """
    told = {"current": contexts.current, "contexts": {name: asdict(each) for name, each in contexts.named.items()}}
    unfinished = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        opened = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, OWN_ONLY)
        with os.fdopen(opened, "w") as out:
            json.dump(told, out, indent=2)
            out.write("\n")
        unfinished.replace(file)
    except OSError as error:
        raise BadContexts(f"{file} cannot be written: {error.strerror}") from None
