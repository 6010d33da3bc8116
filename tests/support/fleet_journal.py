"""What simulated agents did, line by line, over all their lives: their ledger, and the evidence against the server.

A line is one write to a file opened for appending: it outlives the process that is killed right after it. A ledger is
what the lines say since the last `forgot`; that the file itself goes on is how the test knows better than the agent.
"""

import json
import os
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

LOST_WITHIN_SECONDS: Final = 2.0
"""Replicas on the same machine are milliseconds behind: what was told longer before a failover is not lost by it."""


class Journal:
    """One process' journal, for writing."""

    def __init__(self, path: Path) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    def write(self, host: str, what: str, command_id: str = "", **facts: Any) -> None:
        """Append a line. Returns once it would survive a SIGKILL."""
        line = {"at": time.time(), "host": host, "what": what, "command": command_id, **facts}
        os.write(self._file, json.dumps(line).encode() + b"\n")


def lines_of(path: Path) -> Iterator[dict[str, Any]]:
    """Everything a journal says, oldest first."""
    if path.exists():
        for line in path.read_text().splitlines():
            yield json.loads(line)


def last_up(path: Path) -> float:
    """When the agents that write a journal came up last, in seconds since the epoch; 0 when they never did."""
    text = path.read_bytes() if path.exists() else b""
    sign = text.rfind(b'"what": "up"')
    return float(json.loads(text[text.rfind(b"\n", 0, sign) + 1 :].partition(b"\n")[0])["at"]) if sign >= 0 else 0.0


@dataclass
class Held:
    """A command in an agent's ledger. `stage`: received, begun, finished, or settled when the server has its end."""

    command_id: str
    kind: str
    stage: str = "received"
    status: str = "completed"
    is_acked: bool = False


def ledgers(path: Path) -> dict[str, dict[str, Held]]:
    """What each host's agent remembers: host -> command id -> what it knows of it, in the order they came."""
    found: dict[str, dict[str, Held]] = {}
    for line in lines_of(path):
        if line["what"] == "up":
            continue
        ledger = found.setdefault(line["host"], {})
        match line["what"]:
            case "forgot":
                ledger.clear()
            case "received":
                ledger[line["command"]] = Held(line["command"], line["kind"])
            case "begun" | "settled" as stage:
                ledger[line["command"]].stage = stage
            case "finished":
                ledger[line["command"]].stage = "finished"
                ledger[line["command"]].status = line["status"]
            case "acked":
                ledger[line["command"]].is_acked = True
            case "offered" if line["command"] in ledger and ledger[line["command"]].stage == "settled":
                ledger[line["command"]].stage = "finished"  # its end is to be told again
    return found


@dataclass
class _Seen:
    begun: int = 0
    received: int = 0
    told_at: float | None = None
    told_before: float | None = None
    """As it was when it was received last: where the ledger is lost, what comes later is of the next time."""


@dataclass
class Evidence:
    """What the journals of all agents prove."""

    begun: Counter[tuple[str, str]] = field(default_factory=Counter)
    """(host, command) -> how often it was begun."""
    twice: list[str] = field(default_factory=list)
    """Commands begun again although the server had answered the agent's ack or completion of the first time."""
    offered_after_the_word: list[str] = field(default_factory=list)
    """Commands handed out to a beat that was sent after their ack or completion had been answered."""
    excused: list[str] = field(default_factory=list)
    """What would stand in the two lists above, but that a failover had just taken the agent's word."""
    never_told: int = 0
    """Begun again: the ledger was lost before the server had been told of the first time."""
    completions: Counter[str] = field(default_factory=Counter)
    """How the server answered completions: status code -> how often."""


def evidence_of(paths: Iterable[Path], *, failovers: Sequence[float] = ()) -> Evidence:
    """Read the journals. `failovers`: when masters were killed; each may have taken what it had just been told."""
    evidence = Evidence()
    for path in paths:
        seen: dict[tuple[str, str], _Seen] = {}
        for line in lines_of(path):
            one = seen.setdefault((line["host"], line["command"]), _Seen())
            _weigh(line, one, evidence, failovers)
    return evidence


def _weigh(line: dict[str, Any], one: _Seen, evidence: Evidence, failovers: Sequence[float]) -> None:
    host, command = line["host"], line["command"]
    told_at = one.told_before if line["what"] == "begun" and one.received > 1 else one.told_at
    is_excused = told_at is not None and any(
        told_at - 0.5 <= moment <= told_at + LOST_WITHIN_SECONDS for moment in failovers
    )
    name = f"{host} {command}, at {line['at']:.3f}, told at {told_at}"
    match line["what"]:
        case "begun":
            evidence.begun[host, command] += 1
            if one.begun and told_at is None:
                evidence.never_told += 1
            elif one.begun:
                (evidence.excused if is_excused else evidence.twice).append(name)
            one.begun += 1
        case "received":
            one.received += 1
            one.told_before = one.told_at
        case "acked":
            one.told_at = line["at"]
        case "settled":
            evidence.completions[str(line["code"])] += 1
            one.told_at = line["at"]
        case "offered" if told_at is not None and line["sent_at"] > told_at:
            (evidence.excused if is_excused else evidence.offered_after_the_word).append(name)
