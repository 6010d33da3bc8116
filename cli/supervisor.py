"""Starts roles, starts them again when they end, and stops them in order. One thread, and signals taken as values."""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Final, Self

from cli import processes
from cli.leftovers import end_leftovers
from cli.roles import Role
from cli.signals import TakenSignals
from cli.state import RunningRole, RunningSystem, StateDir

FIRST_PAUSE_S: Final = 0.2
LONGEST_PAUSE_S: Final = 10.0
STEADY_AFTER_S: Final = 10.0
"""A role that lived this long starts again after the first pause; one that did not waits twice as long each time."""
LOOK_EVERY_S: Final = 0.25


class StopRequested(Exception):
    """Ctrl-C, SIGTERM or SIGHUP came."""

    def __init__(self, signum: int) -> None:
        super().__init__(signal.Signals(signum).name)
        self.signum = signum


@dataclass
class Child:
    """A role and the process that fills it now, if any."""

    role: Role
    process: subprocess.Popen[bytes] | None = None
    born: int | None = None
    started_at: float = 0.0
    start_next_at: float = 0.0
    pause: float = FIRST_PAUSE_S
    starts: int = 0
    last_exit: str | None = None

    @property
    def is_due(self) -> bool:
        """Whether it should be running, and it is time to start it."""
        wanted = self.process is None and (self.starts == 0 or self.role.restart)
        return wanted and time.monotonic() >= self.start_next_at

    @property
    def has_ended(self) -> bool:
        """Whether its process has ended and waits to be buried."""
        return self.process is not None and processes.has_ended(self.process)

    def bury(self) -> None:
        """Take the exit of the process that has ended, and end what it left in its group."""
        if self.process is not None:
            self.last_exit = processes.describe_exit(processes.bury(self.process))
            self.process = self.born = None


class Supervisor:
    """Keeps a set of roles running while it is entered; leaving it stops every one of them, broker last.

    Needs the main thread, and the claim on the state directory.
    """

    def __init__(self, roles: Sequence[Role], state: StateDir, *, url: str, tell: Callable[[str], None]) -> None:
        self.children = [Child(role) for role in roles]
        self._state = state
        self._url = url
        self._tell = tell
        self._signals = TakenSignals()

    def __enter__(self) -> Self:
        self._signals.__enter__()
        end_leftovers(self._state, self._tell)
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self._stop_all()
        finally:
            self._signals.__exit__()

    def __getitem__(self, name: str) -> Child:
        return next(child for child in self.children if child.role.name == name)

    def wait(self, seconds: float) -> None:
        """Keep the roles running for this long.

        Raises:
            StopRequested: a signal asked for the end.
        """
        deadline = time.monotonic() + seconds
        while True:
            self._tend()
            left = deadline - time.monotonic()
            signum = self._signals.interrupt_within(min(max(left, 0), LOOK_EVERY_S))
            if signum is not None:
                raise StopRequested(signum)
            if left <= 0:
                return

    # Tending ------------------------------------------------------------------------------------------------------

    def _tend(self) -> None:
        """One look at every child: note those that ended, start those that are due."""
        changed = False
        for child in self.children:
            if child.has_ended:
                child.bury()
                self._put_off(child)
                changed = True
            if child.is_due:
                changed |= self._start(child)
        if changed:
            self._record()

    def _start(self, child: Child) -> bool:
        """Start a role, if what it needs is there; whether anything changed."""
        further = child.role.environment()
        if further is None:
            return False
        child.started_at = time.monotonic()
        child.starts += 1
        with self._state.open_log(child.role.name) as log:
            try:
                child.process = processes.start(
                    child.role.command, environment=self._environment(further), log=log, folder=self._state.path
                )
            except OSError as error:
                child.last_exit = f"cannot start {child.role.command[0]}: {error.strerror}"
                log.write(f"{child.last_exit}\n".encode())
                self._put_off(child)
            else:
                child.born = processes.born(child.process.pid)
        return True

    def _environment(self, further: Mapping[str, str]) -> dict[str, str]:
        inherited = {name: value for name, value in os.environ.items() if name != "GPROFILER_TOKEN"}
        ours = {"PCS_STATE_DIR": str(self._state), "PYTHONUNBUFFERED": "1", processes.MARK: str(self._state)}
        return {**inherited, **ours, **further}

    def _put_off(self, child: Child) -> None:
        """A role has ended by itself, or could not start: when to try again."""
        now = time.monotonic()
        lived = now - child.started_at
        if lived >= STEADY_AFTER_S:
            child.pause = FIRST_PAUSE_S
        child.start_next_at = now + child.pause
        again = f"; starting it again in {child.pause:.1f} s" if child.role.restart else ""
        log = self._state.log_file(child.role.name)
        self._tell(f"{child.role.name} ended ({child.last_exit}) after {lived:.1f} s{again}; see {log}")
        child.pause = min(child.pause * 2, LONGEST_PAUSE_S)

    def _record(self) -> None:
        roles = [
            RunningRole(
                name=child.role.name,
                pid=child.process.pid if child.process else None,
                born=child.born,
                restarts=max(0, child.starts - 1),
                last_exit=child.last_exit,
            )
            for child in self.children
        ]
        own = os.getpid()
        self._state.write_record(RunningSystem(pid=own, born=processes.born(own), url=self._url, roles=roles))

    # Stopping -----------------------------------------------------------------------------------------------------

    def _stop_all(self) -> None:
        """Stop rank after rank; a second signal ends everything at once. Then end what has left its role's group."""
        by_rank = sorted(self.children, key=lambda child: child.role.stop_rank)
        hurry = False
        for _, rank in groupby(by_rank, key=lambda child: child.role.stop_rank):
            if running := [child for child in rank if child.process is not None]:
                self._tell(f"stopping {', '.join(child.role.name for child in running)}")
                hurry = self._stop_together(running, hurry=hurry)
        for pid in processes.marked(str(self._state)):
            processes.tell(pid, signal.SIGKILL)
        self._state.clear_record()

    def _stop_together(self, children: Sequence[Child], *, hurry: bool) -> bool:
        """Stop these, each within its patience; whether what comes after has to hurry."""
        started = time.monotonic()
        late: set[str] = set()
        for child in children:
            if child.process is not None and not child.has_ended:
                processes.tell(child.process.pid, signal.SIGTERM)
        while left := [child for child in children if child.process is not None]:
            for child in left:
                if child.has_ended:
                    child.bury()
                elif child.process is not None:
                    is_late = time.monotonic() - started > child.role.patience.total_seconds()
                    if is_late and child.role.name not in late:
                        late.add(child.role.name)
                        self._tell(f"{child.role.name} did not stop in time; ending it")
                    if is_late or hurry:
                        processes.kill_group(child.process.pid)
            signum = self._signals.interrupt_within(LOOK_EVERY_S) if any(child.process for child in left) else None
            if signum is not None and not hurry:
                self._tell("asked again: ending everything at once")
                hurry = True
        return hurry
