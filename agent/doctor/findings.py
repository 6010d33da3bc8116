"""What the doctor finds, and how it is told. Pure: values in, text out."""

import json
import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Final, Literal

Verdict = Literal["ok", "note", "bad"]

WIDTH: Final = 80
_MARKS: Final = {"ok": "ok  ", "note": "note", "bad": "BAD "}
_NAME: Final = 14


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        name: what.
        verdict: `bad` makes the doctor's exit code 1; a `note` is worth knowing.
        said: what was found.
        advice: what to do about it; empty where nothing is to be done.
    """

    name: str
    verdict: Verdict
    said: str
    advice: str = ""


def is_well(findings: Iterable[Finding]) -> bool:
    """Whether nothing is bad."""
    return all(finding.verdict != "bad" for finding in findings)


def told(findings: Sequence[Finding]) -> str:
    """For people: lines of at most 80 columns."""
    lines: list[str] = []
    margin = " " * (len(_MARKS["ok"]) + 2 + _NAME)
    for finding in findings:
        head = f"{_MARKS[finding.verdict]}  {finding.name:<{_NAME}}"
        lines += _wrapped(finding.said, head, margin)
        if finding.advice:
            lines += _wrapped(finding.advice, f"{margin}-> ", f"{margin}   ")
    bad = sum(finding.verdict == "bad" for finding in findings)
    lines.append("all is well" if not bad else f"{bad} of {len(findings)} are bad")
    return "\n".join(lines)


def as_json(findings: Sequence[Finding]) -> str:
    """For programs."""
    return json.dumps({"ok": is_well(findings), "findings": [asdict(finding) for finding in findings]}, indent=2)


def _wrapped(text: str, first: str, later: str) -> list[str]:
    return textwrap.wrap(text, width=WIDTH, initial_indent=first, subsequent_indent=later, break_on_hyphens=False) or [
        first.rstrip()
    ]
