"""Two selections side by side, in the formats that others read."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from formats import flamegraph
from profiles.comparison import columns, compared, lightened_both
from profiles.renderings import Content, Format, Merged, in_pieces, unit_of
from profiles.trees import written


def difference_told(now: Merged, base: Merged, most: int) -> dict[str, Any]:
    """The two trees in one, as the API tells them."""
    found = compared(now.stacks, base.stacks, most=most)
    return {
        "root": found.root, "samples": found.samples, "base_samples": found.base_samples, "unit": unit_of(now),
        "stacks": found.stacks, "cut_nodes": found.cut_nodes, "cut_samples": found.cut_samples,
        "cut_base_samples": found.cut_base_samples,
    }  # fmt: skip


def _json(now: Merged, base: Merged, most: int) -> bytes:
    return written(difference_told(now, base, most))


def _collapsed(now: Merged, base: Merged, _most: int) -> Iterator[bytes]:
    """All of it, the heaviest first."""
    both = columns(now.stacks, base.stacks)
    heaviest = sorted(both, key=lambda stack: sum(both[stack]), reverse=True)
    return in_pieces(f"{stack} {both[stack][0]} {both[stack][1]}\n" for stack in heaviest)


def _html(now: Merged, base: Merged, most: int) -> bytes:
    stacks, base_stacks, cut = lightened_both(now.stacks, base.stacks, most=most)
    facts = {"now": _said(now), "base": _said(base), "colour": "red has grown, blue has shrunk"}
    notices = [f"{cut}."] if cut else []
    title = f"{now.title}: compared"
    page = flamegraph.render(stacks, base=base_stacks, title=title, facts=facts, notices=notices)
    return page.encode(errors="backslashreplace")


def _said(merged: Merged) -> str:
    began, samples = merged.started_at, sum(merged.stacks.values())
    facts = ", ".join(f"{value} {label}" for label, value in merged.facts.items())
    return f"{merged.title} from {began:%Y-%m-%d %H:%M:%S} UTC, {samples:,} {unit_of(merged)}; {facts}"


DIFFERENCES: Final[Mapping[Format, Callable[[Merged, Merged, int], Content]]] = {
    "json": _json, "collapsed": _collapsed, "html": _html,
}  # fmt: skip
"""Of the formats those that can hold two profiles; the first is what who does not say gets."""
