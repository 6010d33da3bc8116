"""Put a profile and the viewer together."""

import base64
import hashlib
import html
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import cache
from importlib import resources
from string import Template
from typing import Any

from formats.frames import SEPARATOR, shared


def render(
    stacks: Mapping[str, int],
    *,
    title: str,
    facts: Mapping[str, str],
    notices: Sequence[str] = (),
    base: Mapping[str, int] | None = None,
) -> str:
    """The page's whole text.

    Args:
        stacks: collapsed stack → count.
        title: heading and window title.
        facts: what to say of the profile below the title, label → value.
        notices: what the reader must know before trusting it: the error, the warnings.
        base: what to compare it with: frames are then coloured by how their share has grown.
    """
    template, style, script = _viewer()
    return template.substitute(
        title=html.escape(title),
        style=style,
        script=script,
        style_hash=_hash(style),
        script_hash=_hash(script),
        facts="".join(
            f"<div><dt>{html.escape(label)}</dt><dd>{html.escape(value)}</dd></div>" for label, value in facts.items()
        ),
        notices="".join(f"<li>{html.escape(notice)}</li>" for notice in notices),
        profile=_harmless(encode(stacks) if base is None else encode_both(stacks, base)),
    )


def encode(stacks: Mapping[str, int]) -> dict[str, Any]:
    """The profile in few bytes: `frames`, the most used first, and `stacks`, sorted, as one row of integers.

    Each stack gives: how many frames it shares with the one before, how many follow, their indices in `frames`, the
    count.
    """
    return _encoded({stack: (count,) for stack, count in stacks.items()})


def encode_both(stacks: Mapping[str, int], base: Mapping[str, int]) -> dict[str, Any]:
    """Two profiles likewise, with two counts for each stack, here and in the base; `totals` are the sums of each."""
    counts = {stack: (stacks.get(stack, 0), base.get(stack, 0)) for stack in {*stacks, *base}}
    return {**_encoded(counts), "totals": [sum(stacks.values()), sum(base.values())]}


def _encoded(counts: Mapping[str, tuple[int, ...]]) -> dict[str, Any]:
    uses: Counter[str] = Counter()
    fresh: list[tuple[int, list[str], tuple[int, ...]]] = []
    previous: list[str] = []
    for stack, counted in sorted(counts.items()):
        path = stack.split(SEPARATOR)
        known = shared(path, previous)
        fresh.append((known, path[known:], counted))
        uses.update(path[known:])
        previous = path
    frames = [name for name, _ in uses.most_common()]
    index = {name: number for number, name in enumerate(frames)}
    row: list[int] = []
    for known, path, counted in fresh:
        row += (known, len(path), *(index[name] for name in path), *counted)
    return {"frames": frames, "stacks": row}


def _harmless(value: Any) -> str:
    """JSON that may stand in a script element: no frame's name can end the element or open a comment."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


def _hash(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


@cache
def _viewer() -> tuple[Template, str, str]:
    folder = resources.files("formats.flamegraph")
    page, style, tree, view = (
        (folder / name).read_text(encoding="utf-8") for name in ("page.html", "style.css", "tree.js", "view.js")
    )
    return Template(page), style, f'"use strict";\n{tree}\n{view}'
