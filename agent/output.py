"""A profile on disk: collapsed stacks, a flame graph that opens without a network, pprof, speedscope."""

import gzip
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, timedelta
from pathlib import Path
from typing import Any, Final, Literal

from agent import shelf
from agent.folder import Folder
from agent.host import agent_version
from agent.profile_facts import metadata
from agent.run_profile import Profile
from agent.stacks import collapsed
from formats import flamegraph, pprof, speedscope

Format = Literal["collapsed", "flamegraph", "pprof", "speedscope"]

ENDINGS: Final[Mapping[Format, str]] = {
    "collapsed": ".col",
    "flamegraph": ".html",
    "pprof": ".pb.gz",
    "speedscope": ".speedscope.json",
}
"""What a profile's file ends in."""
LAST: Final[Mapping[Format, str]] = {
    "collapsed": "last_profile.col",
    "flamegraph": "last_flamegraph.html",
    "pprof": "last_profile.pb.gz",
    "speedscope": "last_profile.speedscope.json",
}
SHOWN_PROCESSES: Final = 3


class BadOutput(ValueError):
    """The settings make no sense; the text says why."""


@dataclass(frozen=True)
class OutputSettings:
    """What is written of a profile.

    Attributes:
        formats: in which formats.
        rotating: keep nothing but the last profile in the directory.

    Raises:
        BadOutput: no format, or one that there is not.
    """

    formats: frozenset[Format] = frozenset({"collapsed", "flamegraph"})
    rotating: bool = False

    def __post_init__(self) -> None:
        if unknown := self.formats - ENDINGS.keys():
            raise BadOutput(f"no such format: {', '.join(sorted(unknown))} (there are {', '.join(ENDINGS)})")
        if not self.formats:
            raise BadOutput(f"a profile is written in one format at least: {', '.join(ENDINGS)}")


@dataclass(frozen=True)
class SavedProfile:
    """Where a profile was written; None for a format that was not asked for."""

    collapsed: Path | None = None
    flamegraph: Path | None = None
    pprof: Path | None = None
    speedscope: Path | None = None

    @property
    def best(self) -> Path:
        """The file that a person opens first.

        Raises:
            ValueError: there is none.
        """
        for path in (self.flamegraph, self.speedscope, self.pprof, self.collapsed):
            if path is not None:
                return path
        raise ValueError("the profile was saved in no format")


DEFAULT: Final = OutputSettings()


def save(
    profile: Profile, directory: Path, *, name: str, title: str, settings: OutputSettings = DEFAULT
) -> SavedProfile:
    """Write `name` with the ending of each format, and replace the `last_…` file of each by the same content.

    Every file appears whole or not at all, also after a crash. The last ones are hard links where the file system has
    them: the folder may be moved or copied.

    Raises:
        OSError: the directory cannot be made or written to.
        ValueError: the name is no plain file stem.
    """
    if not name or Path(name).name != name or name in {".", ".."}:
        raise ValueError(f"{name!r} is no file stem")
    kinds = [kind for kind in ENDINGS if kind in settings.formats]
    with Folder(directory) as folder:
        folder.sweep()
        for kind in kinds:
            content = _WRITERS[kind](profile, title)
            folder.write(f"{name}{ENDINGS[kind]}", content)
            folder.also(f"{name}{ENDINGS[kind]}", called=LAST[kind], content=content)
        if settings.rotating:
            for other in folder.names():
                if shelf.is_profile(other) and not other.startswith(f"{name}."):
                    folder.remove(other)
        folder.keep()
    return SavedProfile(**{kind: directory / f"{name}{ENDINGS[kind]}" for kind in kinds})


def _collapsed(profile: Profile, title: str) -> bytes:  # noqa: ARG001 -- as the others
    header = f"# {json.dumps(metadata(profile), ensure_ascii=True, separators=(',', ':'))}\n"
    return (header + collapsed.render(profile.stacks)).encode(errors="backslashreplace")


def _flamegraph(profile: Profile, title: str) -> bytes:
    facts = _shown(profile, metadata(profile))
    page = flamegraph.render(profile.stacks, title=title, facts=facts, notices=_notices(profile))
    return page.encode(errors="backslashreplace")


def _pprof(profile: Profile, title: str) -> bytes:
    content = pprof.encode(
        profile.stacks,
        pprof.ALLOCATED if profile.unit == "bytes" else pprof.cpu(profile.frequency_hz),
        started_at=profile.started_at,
        duration=timedelta(seconds=profile.elapsed_seconds),
        comments=[title, json.dumps(metadata(profile), ensure_ascii=True, separators=(",", ":"))],
    )
    return gzip.compress(content, mtime=0)


def _speedscope(profile: Profile, title: str) -> bytes:
    document = speedscope.document(
        profile.stacks,
        title=title,
        unit="bytes" if profile.unit == "bytes" else "none",
        exporter=f"gprofiler {agent_version()}",
    )
    return json.dumps(document, separators=(",", ":")).encode()


_WRITERS: Final[Mapping[Format, Callable[[Profile, str], bytes]]] = {
    "collapsed": _collapsed,
    "flamegraph": _flamegraph,
    "pprof": _pprof,
    "speedscope": _speedscope,
}


def _shown(profile: Profile, facts: dict[str, Any]) -> dict[str, str]:
    """What the page says below its title."""
    started = profile.started_at.astimezone(UTC)
    named = [f"{process.name} ({process.pid})" for process in profile.processes[:SHOWN_PROCESSES]]
    more = len(profile.processes) - len(named)
    return {
        "host": facts["host"],
        "started": f"{started:%Y-%m-%d %H:%M:%S} UTC",
        "took": f"{profile.elapsed_seconds:.1f} s",
        "frequency": f"{profile.frequency_hz} Hz",
        profile.unit: f"{profile.samples:,}",
        "stacks": f"{len(profile.stacks):,}",
    } | ({"processes": ", ".join(named) + (f" and {more} more" if more > 0 else "")} if named else {})


def _notices(profile: Profile) -> Sequence[str]:
    return [*([profile.error] if profile.error else []), *profile.warnings]
