"""Real processes for tests: started, waited for, stopped by their own id."""

import contextlib
import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]
LOOPED_ROLES: Final = ("merger", "recoverer", "projector", "janitor", "dispatcher", "pacer", "greeter", "scheduler")


PORTS: Final = range(10_000, 32_000)
"""Below those that the system hands to outgoing connections: none of them takes a port between the look and its use.

The port + 10,000 on which a node of a cluster talks unless it is told another may be one of those.
"""


_given: Final[set[int]] = set()


def free_port() -> int:
    """A port nobody listens on just now; which one is up to chance, so that runs side by side do not meet.

    None is given twice, for whoever was given one need not listen yet, or be away for a moment. Of the processes of one
    run each has ports of its own.
    """
    number, count = (os.environ.get(f"PYTEST_XDIST_WORKER{end}", "") for end in ("", "_COUNT"))
    ours = PORTS[int(number.removeprefix("gw")) :: int(count)] if number and count else PORTS
    while True:
        port = random.SystemRandom().choice(ours)
        if port in _given:
            continue
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            _given.add(port)
            return port


def eventually(
    check: Callable[[], object], *, within: float = 15.0, what: str = "it", of: "Role | None" = None
) -> None:
    """Wait until `check` gives something true; `of` is the process that must be alive for that.

    Raises:
        AssertionError: it did not in time, or that process ended.
    """
    end, pause = time.monotonic() + within, 0.01
    while time.monotonic() < end:
        if check():
            return
        if of is not None:
            of.expect_alive()
        time.sleep(pause)
        pause = min(pause * 1.3, 0.05)  # a look may cost more than what it waits for
    if check():  # this process may have been the one that was kept waiting
        return
    told = f"; {of.name} says: {of.said()}" if of is not None else ""
    raise AssertionError(f"{what} did not happen within {within} s{told}")


class Role:
    """One process of the system. Its output goes to a file that a failing test can show."""

    def __init__(self, name: str, argv: Sequence[str], *, env: Mapping[str, str], log: Path) -> None:
        self.name = name
        self.log = log
        self._argv = list(argv)
        self._env = {**os.environ, **env, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}
        self.process = self._spawn()

    def _spawn(self) -> subprocess.Popen[bytes]:
        with self.log.open("ab") as output:
            return subprocess.Popen(self._argv, env=self._env, cwd=ROOT, stdout=output, stderr=output)

    @property
    def pid(self) -> int:
        return self.process.pid

    def expect_alive(self) -> None:
        """Say at once why it ended, where waiting for it would only say that it did not come.

        Raises:
            AssertionError: it ended; with the end of its output.
        """
        code = self.process.poll()
        if code is not None:
            raise AssertionError(f"{self.name} ended with {code}: {self.said()}")

    def lines(self) -> list[str]:
        """Its output as far as it has come to the end of a line: of one that it is just writing there may be a part."""
        return self.log.read_text(errors="replace").rpartition("\n")[0].splitlines()

    def said(self) -> str:
        """The end of its output."""
        return self.log.read_text(errors="replace")[-2000:]

    def kill(self) -> None:
        """As if the machine had taken it: SIGKILL."""
        self.process.kill()
        self.process.wait()

    def restart(self) -> None:
        """Start it again, as its supervisor would."""
        if self.process.poll() is None:
            self.stop()
        self.process = self._spawn()

    def pause(self) -> None:
        self.process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        self.process.send_signal(signal.SIGCONT)

    def stop(self, *, within: float = 15.0) -> int:
        """Ask it to end; gives its exit code."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)
            self.process.terminate()
            try:
                self.process.wait(within)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
                raise AssertionError(f"{self.name} did not end on SIGTERM within {within} s") from None
        code: int = self.process.returncode
        return code


@contextlib.contextmanager
def started(role: Role) -> Iterator[Role]:
    """A role that is stopped on the way out."""
    try:
        yield role
    finally:
        role.stop()


def broker_role(state_dir: Path) -> Role:
    """The embedded server on a state directory."""
    return Role(
        "broker",
        [sys.executable, "-m", "broker.embedded", "--state-dir", str(state_dir)],
        env={},
        log=state_dir / "broker.log",
    )


def api_role(
    state_dir: Path, port: int, *, env: Mapping[str, str] | None = None, log: str = "api.log", workers: int = 1
) -> Role:
    """An API of one process or of several `workers`; `log` tells the files of several on one state directory apart.

    Without limits unless they are asked for: one token calls more often in a test than a whole fleet's operators do.
    """
    return Role(
        "api",
        [sys.executable, "-m", "api", "--port", str(port), "--workers", str(workers)],
        env={"PCS_STATE_DIR": str(state_dir), "PCS_LIMITS": "off", **(env or {})},
        log=state_dir / log,
    )


def worker_role(state_dir: Path, *roles: str, env: Mapping[str, str] | None = None) -> Role:
    """Worker roles in one process; all looped ones by default."""
    names = roles or LOOPED_ROLES
    return Role(
        "+".join(names),
        [sys.executable, "-m", "workers", *names],
        env={"PCS_STATE_DIR": str(state_dir), **(env or {})},
        log=state_dir / f"{'-'.join(names)}.log",
    )
