"""Reading a Lua script, and the words that several of them are told."""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from broker.connection import Script
from protocol.names import HostKey

_FOLDER: Final = Path(__file__).parent
_COMMON: Final = (_FOLDER / "common.lua").read_text()


def load_script(name: str, *, shared: bool = False) -> Script:
    """A script by its name; `shared`: with the functions of common.lua before it."""
    text = (_FOLDER / f"{name}.lua").read_text()
    text = f"{_COMMON}\n{text}" if shared else text
    return Script(name, text, hashlib.sha1(text.encode()).hexdigest())  # noqa: S324 - the name Redis gives a script


def who(host: HostKey) -> tuple[str, str, str]:
    """A host as scripts are told of it: tenant, service, host name."""
    return host.tenant, host.service, host.host


def flat(facts: Mapping[str, str]) -> list[str]:
    """Facts as scripts take them: name, value, name, value."""
    return [text for pair in facts.items() for text in pair]
