"""Which runtime a process has, by the name of its executable and the libraries it maps. Pure: texts in, a word out."""

import re
from collections.abc import Iterable
from typing import Final, Literal

Runtime = Literal["python", "java", "node", "ruby", "php", "dotnet", "go", "native"]

_VERSION: Final = r"\d*(?:\.\d+)*"
_EXECUTABLES: Final[tuple[tuple[re.Pattern[str], Runtime], ...]] = (
    (re.compile(rf"python{_VERSION}[a-z]*", re.IGNORECASE), "python"),
    (re.compile(r"java"), "java"),
    (re.compile(rf"node(?:js)?{_VERSION}"), "node"),
    (re.compile(rf"ruby{_VERSION}"), "ruby"),
    (re.compile(rf"php(?:-fpm|-cgi|-cli)?{_VERSION}"), "php"),
    (re.compile(r"dotnet"), "dotnet"),
)
_LIBRARIES: Final[tuple[tuple[re.Pattern[str], Runtime], ...]] = (
    (re.compile(rf"libpython{_VERSION}[a-z]*\.so(?:\.\d+)*", re.IGNORECASE), "python"),
    (re.compile(r"libjvm\.so"), "java"),
    (re.compile(r"libnode\.so(?:\.\d+)*"), "node"),
    (re.compile(rf"libruby(?:-?{_VERSION})?\.so(?:\.\d+)*"), "ruby"),
    (re.compile(rf"libphp{_VERSION}(?:-embed)?\.so(?:\.\d+)*"), "php"),
    (re.compile(r"libcoreclr\.so"), "dotnet"),
)
_GO_NOTE: Final = b"\x04\x00\x00\x00Go\x00\x00"
"""The note that Go's linker puts at the start of an executable: of type 4, its build id, with the owner `Go`."""


def by_name(executable: str) -> Runtime | None:
    """The runtime that the executable is, `/usr/bin/python3.11 (deleted)`; None for a program of its own."""
    name = executable.removesuffix(" (deleted)").rpartition("/")[2]
    return next((runtime for pattern, runtime in _EXECUTABLES if pattern.fullmatch(name)), None)


def by_library(mapped: Iterable[str]) -> Runtime | None:
    """The runtime that a program embeds, by the first library of one among the files that it maps."""
    for path in mapped:
        name = path.removesuffix(" (deleted)").rpartition("/")[2]
        if not name.startswith("lib"):
            continue
        for pattern, runtime in _LIBRARIES:
            if pattern.fullmatch(name):
                return runtime
    return None


def by_contents(head: bytes) -> Runtime:
    """What a program without a runtime was made with, by the first bytes of its executable."""
    return "go" if _GO_NOTE in head else "native"
