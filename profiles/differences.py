"""Two selections side by side, in the formats that others read."""

from collections.abc import Callable, Mapping
from typing import Any, Final

from formats import flamegraph
from profiles.comparison import columns, compared
from profiles.renderings import Format, Merged, unit_of
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


def _collapsed(now: Merged, base: Merged, _most: int) -> bytes:
    both = columns(now.stacks, base.stacks)
    return "".join(f"{stack} {before} {count}\n" for stack, (before, count) in both.items()).encode(errors="replace")


def _html(now: Merged, base: Merged, _most: int) -> bytes:
    facts = {"now": _said(now), "base": _said(base), "colour": "red has grown, blue has shrunk"}
    page = flamegraph.render(now.stacks, base=base.stacks, title=f"{now.title}: compared", facts=facts)
    return page.encode(errors="backslashreplace")


def _said(merged: Merged) -> str:
    began, samples = merged.started_at, sum(merged.stacks.values())
    facts = ", ".join(f"{value} {label}" for label, value in merged.facts.items())
    return f"{merged.title} from {began:%Y-%m-%d %H:%M:%S} UTC, {samples:,} {unit_of(merged)}; {facts}"


DIFFERENCES: Final[Mapping[Format, Callable[[Merged, Merged, int], bytes]]] = {
    "json": _json, "collapsed": _collapsed, "html": _html,
}  # fmt: skip
"""Of the formats those that can hold two profiles; the first is what who does not say gets."""
