"""A runtime's profiler that is a program of somebody else's, used where the host has it."""

import asyncio
from abc import abstractmethod
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import ClassVar, Final

from agent.processes import Process, in_other_namespace, is_alive
from agent.profilers import attached
from agent.profilers.attached import AttachedProfiler, Ran, Sampler, Seen
from agent.profilers.base import Available, Result, RunRequest, Started, Unavailable
from agent.profilers.programs import found

MAX_FILE: Final = 64 << 20


class InstalledTool(AttachedProfiler):
    """One process of the tool for each target, which samples until SIGINT and then writes a file.

    A subclass names the tool and says how it is called and what it writes.
    """

    install: ClassVar[str]
    """What to do where the tool is missing."""
    event: ClassVar[str]
    says: ClassVar[bytes | None] = None
    """What it prints once it samples; None if it says nothing."""

    def __init__(self, binary: Path | None = None) -> None:
        self._binary = binary

    @abstractmethod
    def command(self, binary: Path, target: Process, request: RunRequest, file: Path) -> list[str]:
        """The command line that samples the target into the file."""

    @abstractmethod
    def read(self, file: Path, request: RunRequest) -> dict[str, int]:
        """Collapsed stacks out of what it wrote.

        Raises:
            OSError, ValueError: there is no such file, or it is not what the tool writes.
        """

    def probe(self) -> Available | Unavailable:
        """Whether the tool is on this host."""
        binary = self.find()
        return Available(str(binary)) if binary else Unavailable(self.install)

    def sampler(self, targets: Sequence[Process], request: RunRequest) -> Sampler | Result:  # noqa: ARG002 -- the base's
        """By one process of the tool each."""
        binary = self.find()
        return Sampler(partial(self._sample, binary), self.event) if binary else Result(error=self.install)

    def find(self) -> Path | None:
        """The tool, by the path that was given or on PATH."""
        return found(self.name, self._binary)

    async def _sample(
        self,
        binary: Path,
        target: Process,
        request: RunRequest,
        work_dir: Path,
        stop: asyncio.Event,
        started: Started,
    ) -> Seen:
        file = work_dir / f"{self.name}-{target.pid}"
        seconds = request.duration.total_seconds()
        try:
            ran = await attached.run_tool(
                self.command(binary, target, request, file), seconds=seconds, stop=stop, started=started, cwd=work_dir,
                says=self.says,
            )  # fmt: skip
        except OSError as problem:
            return Seen(failure=f"{self.name} cannot be started: {problem.strerror}")
        try:
            stacks = await asyncio.to_thread(self.read, file, request)
        except FileNotFoundError:
            # Stopped before it began, it has nothing to tell and that is no failure.
            return Seen() if stop.is_set() and ran.ended is None else Seen(failure=self._why(ran, target))
        except (OSError, ValueError) as problem:
            return Seen(failure=f"{self.name} on {_who(target)} left nothing readable: {problem}")
        failure = self._why(ran, target) if not stacks and ran.exit_code not in (0, None) else None
        return Seen(stacks, failure=failure, ended=ran.ended)

    def _why(self, ran: Ran, target: Process) -> str:
        """Why there are no stacks of a target, by what the tool printed."""
        lowered = ran.said.lower()
        if not is_alive(target) or "no such process" in lowered:
            return f"{_who(target)} ended before {self.name} could sample it"
        if "permission denied" in lowered or "not permitted" in lowered:
            return (
                f"no permission to read {_who(target)}: run the agent as root, or with CAP_SYS_PTRACE"
                " (in a container: --cap-add SYS_PTRACE, and the host's pid namespace)"
            )
        inside = " (it runs in a container with its own process numbers)" if in_other_namespace(target.pid) else ""
        lines = [line.strip() for line in ran.said.splitlines() if line.strip()]
        ended = "did not end and was killed" if ran.exit_code is None else "failed"
        return f"{self.name} {ended} on {_who(target)}{inside}: {(lines[-1] if lines else 'it said nothing')[:300]}"


def text_of(file: Path) -> str:
    """What a tool wrote.

    Raises:
        OSError: it is not there.
        ValueError: it is too large to be taken in.
    """
    size = file.stat().st_size
    if size > MAX_FILE:
        raise ValueError(f"{size} bytes, more than {MAX_FILE}")
    return file.read_text(encoding="utf-8", errors="replace")


def _who(target: Process) -> str:
    return f"process {target.pid} ({target.name})"
