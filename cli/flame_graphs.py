"""Flame graphs of a request: waited for, downloaded in the format that a file's name says, opened in a browser."""

import os
import tempfile
import time
import webbrowser
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final
from urllib.parse import urlencode

from cli.answers import RequestProgress
from cli.client import StudioClient
from cli.errors import StudioError, Usage
from formats import svg

ENDINGS: Final = {
    ".speedscope.json": ".speedscope.json", ".html": ".html", ".pb.gz": ".pb.gz", ".json": ".json",
    ".collapsed": ".col", ".col": ".col", ".svg": ".col",
}  # fmt: skip
"""What a file's name ends with -> what the API calls it. A picture is drawn here, from the stacks."""
STORED: Final = "/api/v1/profiles/"
"""What a result's path begins with once the server has the profile; else the profile is on its host."""
EITHER_SIDE: Final = timedelta(hours=1)
"""A profile says when it began by its host's clock, which need not be ours."""
INDEXED_WITHIN_S: Final = 20.0
LOOK_EVERY_S: Final = 0.3


class NoFlameGraph(StudioError):
    """There is no profile to draw."""


@dataclass(frozen=True)
class FlameGraph:
    """What has come of a request so far: how many samples of how many hosts, and where that is shown."""

    selection: dict[str, str | list[str]]
    mode: str
    samples: int
    hosts: int
    url: str


def ending_of(file: Path) -> str:
    """What a file's name ends with.

    Raises:
        Usage: nothing that is known; or there is no such folder.
    """
    found = next((ending for ending in ENDINGS if file.name.endswith(ending)), None)
    if found is None:
        raise Usage(f"{file}: what format is that? Known endings: {', '.join(sorted(ENDINGS))}")
    if not file.absolute().parent.is_dir():
        raise Usage(f"{file}: there is no folder {file.absolute().parent}")
    return found


def find(client: StudioClient, progress: RequestProgress, *, within: float = INDEXED_WITHIN_S) -> FlameGraph | None:
    """The flame graph of a request, once every profile that the server was given is indexed; None where it has none."""
    stored = sum((host.results_path or "").startswith(STORED) for host in progress.hosts)
    accepted = progress.accepted_at or datetime.now(UTC)
    deadline = time.monotonic() + (within if stored else 0)
    while True:
        selection: dict[str, str | list[str]] = {
            "service": progress.service_name, "request_id": progress.request_id,
            "start": (accepted - EITHER_SIDE).isoformat(), "end": (datetime.now(UTC) + EITHER_SIDE).isoformat(),
        }  # fmt: skip
        rows = client.profiles(selection)
        if len({row.hostname for row in rows}) >= stored or time.monotonic() > deadline:
            break
        time.sleep(LOOK_EVERY_S)
    if not rows:
        return None
    modes = Counter({row.profiling_mode: 0 for row in rows})
    for row in rows:
        modes[row.profiling_mode] += row.samples
    mode, samples = modes.most_common(1)[0]
    selection["profiling_mode"] = mode
    hosts = len({row.hostname for row in rows if row.profiling_mode == mode})
    url = f"{client.url.rstrip('/')}/api/v1/flamegraph.html?{urlencode(selection, doseq=True)}"
    return FlameGraph(selection, mode, samples, hosts, url)


def save(client: StudioClient, graph: FlameGraph, file: Path) -> None:
    """Download it into a file.

    Raises:
        StudioError: it cannot be written.
    """
    ending = ending_of(file)
    content = client.flame_graph_file(graph.selection, ENDINGS[ending])
    if ending == ".svg":
        unit = "bytes" if graph.mode == "allocation" else "samples"
        title = f"{graph.selection['service']}, request {graph.selection['request_id']}, {graph.hosts} host(s)"
        content = svg.render(read_stacks(content.decode()), title=title, unit=unit).encode()
    try:
        file.write_bytes(content)
    except OSError as error:
        raise StudioError(f"{file} cannot be written: {error.strerror}") from None


def show(client: StudioClient, graph: FlameGraph) -> tuple[Path, bool]:
    """Open it in a browser, from a file that nobody else may read; gives that, and whether there was a browser."""
    opened, name = tempfile.mkstemp(prefix="flame-graph-", suffix=".html")
    os.close(opened)
    file = Path(name)
    save(client, graph, file)
    return file, webbrowser.open(file.as_uri())


def read_stacks(text: str) -> dict[str, int]:
    """Collapsed stacks: a line each, with its count last; lines of `#` are about the file."""
    stacks: dict[str, int] = {}
    for line in text.splitlines():
        stack, _, count = line.rpartition(" ")
        if stack and not line.startswith("#") and count.isdecimal():
            stacks[stack] = stacks.get(stack, 0) + int(count)
    return stacks
