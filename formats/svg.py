"""A flame graph as a still picture: SVG, for pages and letters that take no script. Values in, text out."""

import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final
from xml.sax.saxutils import escape

from formats.frames import SEPARATOR

WIDTH: Final = 1200
ROW: Final = 17
MARGIN: Final = 10
HEADER: Final = 36
NARROWEST: Final = 0.2
"""Pixels below which a frame cannot be seen, and is left out with all that it called."""
LETTER: Final = 6.6
"""Pixels that a character of the monospaced font takes at its size."""
FEWEST_LETTERS: Final = 3
MOST_ROWS: Final = 400
"""Rows that a picture has room for; what is deeper is left out, and the title says so."""


@dataclass
class _Node:
    value: int = 0
    children: dict[str, "_Node"] = field(default_factory=dict)


@dataclass(frozen=True)
class _Box:
    name: str
    value: int
    start: int
    depth: int


def render(stacks: Mapping[str, int], *, title: str, unit: str = "samples") -> str:
    """The picture, with roots at the bottom and callees above, the names in order.

    Args:
        stacks: `root;caller;callee` -> how often.
        title: above it.
        unit: what is counted.
    """
    root = _Node()
    for stack, count in stacks.items():
        root.value += count
        node = root
        for name in stack.split(SEPARATOR)[: MOST_ROWS - 1]:
            node = node.children.setdefault(name, _Node())
            node.value += count
    cut = any(stack.count(SEPARATOR) >= MOST_ROWS - 1 for stack in stacks)
    boxes = list(_boxes(root))
    height = HEADER + (1 + max((box.depth for box in boxes), default=0)) * ROW + MARGIN
    heading = f"{title}{f' (the first {MOST_ROWS - 1} frames of each stack)' if cut else ''}"
    size = f'width="{WIDTH}" height="{height}"'
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} font-family="monospace" font-size="11">',
        f"<title>{escape(heading)}</title>",
        f'<rect {size} fill="#fff"/>',
        f'<text x="{MARGIN}" y="22" font-size="14">{escape(heading)}</text>',
        *(_drawn(box, root.value, height, unit) for box in boxes),
        "</svg>\n",
    ]
    return "\n".join(parts)


def _boxes(root: _Node) -> Iterator[_Box]:
    """Every frame that can be seen. A loop of its own: stacks are deeper than calls of Python may be."""
    waiting = [(f"all ({root.value})", root, 0, 0)] if root.value else []
    while waiting:
        name, node, start, depth = waiting.pop()
        yield _Box(name, node.value, start, depth)
        for child_name, child in sorted(node.children.items()):
            if child.value * (WIDTH - 2 * MARGIN) >= NARROWEST * root.value:
                waiting.append((child_name, child, start, depth + 1))
            start += child.value


def _drawn(box: _Box, total: int, height: int, unit: str) -> str:
    scale = (WIDTH - 2 * MARGIN) / total
    x, width = MARGIN + box.start * scale, box.value * scale
    y = height - MARGIN - (box.depth + 1) * ROW
    room = int((width - 6) / LETTER)
    told = f"{box.name}: {box.value:,} {unit}, {box.value / total:.2%}"
    name = box.name if len(box.name) <= room else f"{box.name[: room - 1]}…"
    label = f'<text x="{x + 3:.1f}" y="{y + 12}">{escape(name)}</text>' if room >= FEWEST_LETTERS else ""
    return (
        f'<g><title>{escape(told)}</title><rect x="{x:.1f}" y="{y}" width="{width:.1f}" height="{ROW - 1}"'
        f' fill="{_colour(box.name)}" rx="1"/>{label}</g>'
    )


def _colour(name: str) -> str:
    """Warm, and the same for a name in every picture."""
    number = zlib.crc32(name.encode("utf-8", "replace"))
    return f"hsl({number % 48 + 8},{70 + number // 48 % 20}%,{62 + number // 960 % 12}%)"
