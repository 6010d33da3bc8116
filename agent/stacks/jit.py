"""What a JIT compiler tells of its code in a perf map: lines of `START SIZE NAME`, the numbers hexadecimal.

The format is the kernel's (`tools/perf/Documentation/jit-interface.txt`). A compiler reuses memory: a later line is
truer than an earlier one.
"""

import re
from bisect import bisect_left
from collections.abc import Iterable
from typing import Final

from agent.stacks.collapsed import frame
from agent.stacks.py_spy import short_path

_LINE: Final = re.compile(r"(?:0x)?(?P<start>[0-9a-fA-F]{1,16}) (?:0x)?(?P<size>[0-9a-fA-F]{1,16}) (?P<name>.+)")
_NODE: Final = re.compile(
    r"(?:JS|LazyCompile|Function|Script|Eval):[*~^+']?(?P<name>.*?) ?(?:file://)?(?P<file>/\S*|node:\S*):(?P<line>\d+):\d+"
)
_PYTHON: Final = re.compile(r"py::(?P<name>[^:]+):(?P<file>.+)")
_MAP: Final = re.compile(r"(?:.*/)?perf-\d+\.map")


def is_map(mapped: str) -> bool:
    """Whether perf found the address in code that a JIT compiler made."""
    return _MAP.fullmatch(mapped) is not None


def resolve(lines: Iterable[str], addresses: Iterable[int]) -> dict[int, str]:
    """The names of those addresses that the map covers. It may be large: it is read once and not kept."""
    wanted = sorted(set(addresses))
    found: dict[int, str] = {}
    for line in lines:
        if entry := _LINE.match(line):
            start = int(entry["start"], 16)
            end = start + int(entry["size"], 16)
            position = bisect_left(wanted, start)
            while position < len(wanted) and wanted[position] < end:
                found[wanted[position]] = entry["name"].strip()
                position += 1
    return found


def readable(symbol: str) -> str:
    """A compiled function in our words: `JS:*add /srv/app/sums.js:3:17` is `add (sums.js:3)`.

    How well it was compiled (`*`, `~`) is left out: it is the same function before and after.
    """
    if found := _NODE.fullmatch(symbol):
        where = found["file"] if found["file"].startswith("node:") else short_path(found["file"])
        return frame(f"{found['name'].strip() or '(anonymous)'} ({where}:{found['line']})")
    if found := _PYTHON.fullmatch(symbol):
        return frame(f"{found['name']} ({short_path(found['file'])})")
    return frame(symbol)
