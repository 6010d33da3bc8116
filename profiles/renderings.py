"""Stored stacks in the formats that others read."""

import gzip
import json
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any, Final, Literal

from formats import flamegraph, pprof, speedscope
from profiles.flamegraph import MOST_NODES, lightened, tree_of
from profiles.trees import written

Format = Literal["json", "collapsed", "html", "pprof", "speedscope"]
Unit = Literal["samples", "bytes"]
ALLOCATION: Final = "allocation"
EXPORTER: Final = "Performance Studio"
MORE_IN_FILES: Final = 10
"""Times as many nodes as in a tree to draw: other programs show more at once, but minutes of writing are too many."""
LINES_AT_ONCE: Final = 2_000
GZIP_LEVEL: Final = 6
"""The highest takes several times as long, for some hundredths of the size."""


@dataclass(frozen=True)
class Merged:
    """What is to be shown.

    Attributes:
        stacks: stack -> count.
        title: of the page, or the file.
        mode: what a count is: of `allocation` bytes, of others samples.
        frequency_hz: samples a second; 0: several, or not known.
        started_at: of the first profile in it.
        duration: from there to the end of the last.
        facts: what else to say, label -> value.
    """

    stacks: Mapping[str, int]
    title: str
    mode: str
    frequency_hz: int
    started_at: datetime
    duration: timedelta
    facts: Mapping[str, str]


Content = bytes | Iterator[bytes]
"""A file: whole, or in pieces that are made as they are sent."""


@dataclass(frozen=True)
class Rendering:
    """A format: how it is asked for, what it is called, and how it is made."""

    ending: str
    media_type: str
    write: Callable[[Merged, int], Content]


def tree_told(merged: Merged, most: int) -> dict[str, Any]:
    """The tree as the API tells it."""
    tree = tree_of(merged.stacks, most=most)
    return {
        "root": tree.root, "samples": tree.samples, "stacks": tree.stacks, "unit": unit_of(merged),
        "cut_nodes": tree.cut_nodes, "cut_samples": tree.cut_samples,
    }  # fmt: skip


def unit_of(merged: Merged) -> Unit:
    """What its counts are."""
    return unit_of_mode(merged.mode)


def unit_of_mode(mode: str) -> Unit:
    """What the counts of a mode are."""
    return "bytes" if mode == ALLOCATION else "samples"


def _json(merged: Merged, most: int) -> bytes:
    return written(tree_told(merged, most))


def _collapsed(merged: Merged, _most: int) -> Iterator[bytes]:
    """All of it, the heaviest first: who stops reading has what matters."""
    stacks = merged.stacks
    heaviest = sorted(sorted(stacks), key=stacks.__getitem__, reverse=True)
    return in_pieces(f"{stack} {stacks[stack]}\n" for stack in heaviest)


def in_pieces(lines: Iterable[str]) -> Iterator[bytes]:
    """Lines as a file, some thousand at a time."""
    waiting = iter(lines)
    while piece := "".join(islice(waiting, LINES_AT_ONCE)):
        yield piece.encode(errors="replace")


def _html(merged: Merged, most: int) -> bytes:
    stacks, cut = lightened(merged.stacks, most=most)
    began = merged.started_at.astimezone(UTC)
    facts = {
        "started": f"{began:%Y-%m-%d %H:%M:%S} UTC", "span": f"{merged.duration.total_seconds():.0f} s",
        unit_of(merged): f"{sum(merged.stacks.values()):,}", "stacks": f"{len(merged.stacks):,}", **merged.facts,
    }  # fmt: skip
    page = flamegraph.render(stacks, title=merged.title, facts=facts, notices=[f"{cut}."] if cut else [])
    return page.encode(errors="backslashreplace")


def _pprof(merged: Merged, most: int) -> bytes:
    stacks, cut = lightened(merged.stacks, most=MORE_IN_FILES * most)
    values: tuple[pprof.Value, ...]
    if merged.mode == ALLOCATION:
        values = pprof.ALLOCATED
    elif merged.frequency_hz:
        values = pprof.cpu(merged.frequency_hz)
    else:
        values = (pprof.Value("samples", "count"),)
    comments = [merged.title, cut] if cut else [merged.title]
    content = pprof.encode(stacks, values, started_at=merged.started_at, duration=merged.duration, comments=comments)
    return gzip.compress(content, GZIP_LEVEL, mtime=0)


def _speedscope(merged: Merged, most: int) -> bytes:
    stacks, cut = lightened(merged.stacks, most=MORE_IN_FILES * most)
    unit = "bytes" if merged.mode == ALLOCATION else "none"
    title = f"{merged.title} ({cut})" if cut else merged.title
    document = speedscope.document(stacks, title=title, unit=unit, exporter=EXPORTER)
    return json.dumps(document, separators=(",", ":")).encode()


RENDERINGS: Final[Mapping[Format, Rendering]] = {
    "json": Rendering(".json", "application/json", _json),
    "collapsed": Rendering(".col", "text/plain", _collapsed),
    "html": Rendering(".html", "text/html", _html),
    "pprof": Rendering(".pb.gz", "application/vnd.google.protobuf+gzip", _pprof),
    "speedscope": Rendering(".speedscope.json", "application/speedscope+json", _speedscope),
}
"""The first is what who does not say gets."""
MOST: Final = MOST_NODES


def by_ending(name: str) -> tuple[str, Format | None]:
    """A name without the ending of a format, and the format; None: it has none of them."""
    for kind, rendering in sorted(RENDERINGS.items(), key=lambda one: -len(one[1].ending)):
        if name.endswith(rendering.ending):
            return name[: -len(rendering.ending)], kind
    return name, None


def by_accept(accept: str, among: Collection[Format] = RENDERINGS.keys()) -> Format | None:
    """The format that an Accept header names first among ours, by its weights; None: it names none, or everything."""
    wanted: list[tuple[float, int, Format]] = []
    for number, part in enumerate(accept.split(",")):
        media, *parameters = (each.strip() for each in part.split(";"))
        weight = next((_weight(each[2:]) for each in parameters if each.startswith("q=")), 1.0)
        wanted += [
            (-weight, number, kind) for kind in among if media.lower() == RENDERINGS[kind].media_type and weight > 0
        ]
    return min(wanted)[2] if wanted else None


def _weight(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return 0.0
