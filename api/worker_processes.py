"""Several API processes on one port: starts them, starts one again that ended, ends them all on SIGTERM or SIGINT.

Each listens for itself (`SO_REUSEPORT`): the system deals connections out among those that live, and none of them waits
for another. A worker ends by itself when this process is gone, however that came about.
"""

import os
import selectors
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from types import FrameType
from typing import Final

import structlog

from api import metrics
from api.lifeline import LIFELINE
from broker.logs import configure_logging

log = structlog.get_logger(__name__)

DRAIN_SECONDS: Final = 10
"""How long calls that are under way may take when a process goes down."""
KILLED_AFTER_SECONDS: Final = DRAIN_SECONDS + 5
FIRST_PAUSE_SECONDS: Final = 0.2
LONGEST_PAUSE_SECONDS: Final = 10.0
STEADY_AFTER_SECONDS: Final = 10.0
"""A worker that lived this long is started again after the first pause; each time sooner doubles it."""
LOOK_EVERY_SECONDS: Final = 0.1


def listener(host: str, port: int) -> socket.socket:
    """A socket that others may share the address of, bound and not yet listening.

    Raises:
        OSError: the address cannot be had.
    """
    family, kind, proto, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[
        0
    ]
    bound = socket.socket(family, kind, proto)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        bound.bind(address)
    except OSError:
        bound.close()
        raise
    return bound


def claim(host: str, port: int) -> socket.socket:
    """The address for our workers alone: held, but never listened on, by this process.

    Raises:
        OSError: somebody else listens there.
    """
    family, kind, proto, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[
        0
    ]
    with socket.socket(family, kind, proto) as probe:  # without SO_REUSEPORT: of others that have it we want to hear
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(address)
        probe.listen()
        chosen: int = probe.getsockname()[1]
    return listener(host, chosen)


@dataclass
class Worker:
    """One of the processes, or the place of one that is to be started again."""

    number: int
    process: subprocess.Popen[bytes] | None = None
    lifeline: socket.socket | None = None
    has_served: bool = False
    started_at: float = 0.0
    start_next_at: float = 0.0
    pause: float = field(default=FIRST_PAUSE_SECONDS)

    def start(self, command: Sequence[str]) -> None:
        """Start the process."""
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        with theirs:
            self.process = subprocess.Popen(
                command, pass_fds=(theirs.fileno(),), env={**os.environ, LIFELINE: str(theirs.fileno())}
            )
        self.lifeline, self.has_served, self.started_at = ours, False, time.monotonic()

    def listen(self) -> None:
        """Take note of what it said: that it serves."""
        if self.lifeline is not None and not self.has_served:
            try:
                self.has_served = bool(self.lifeline.recv(1))
            except BlockingIOError:
                return
            except OSError:
                return  # it died; its exit code says more

    def ended(self) -> int | None:
        """Its exit code, once it has ended; until it is asked for the first time after that."""
        if self.process is None or (code := self.process.poll()) is None:
            return None
        self.listen()
        metrics.gone(self.process.pid)
        if self.lifeline is not None:
            self.lifeline.close()
        self.process = self.lifeline = None
        return code

    def put_off(self) -> None:
        """When to start it again."""
        if time.monotonic() - self.started_at >= STEADY_AFTER_SECONDS:
            self.pause = FIRST_PAUSE_SECONDS
        self.start_next_at = time.monotonic() + self.pause
        self.pause = min(self.pause * 2, LONGEST_PAUSE_SECONDS)


class Workers:
    """The processes of one address. Needs the main thread."""

    def __init__(self, count: int, command: Sequence[str], *, drain_seconds: float) -> None:
        """`drain_seconds`: how long a worker may take to end before it is killed."""
        self._workers = [Worker(number) for number in range(count)]
        self._command = list(command)
        self._drain_seconds = drain_seconds
        self._asked = 0
        self._code = 0

    def run(self) -> int:
        """Keep them running until a signal; gives the exit code: 0, or that of a worker that could not start."""
        self._woken, waker = socket.socketpair()
        with self._woken, waker:
            for end in (self._woken, waker):
                end.setblocking(False)
            before = {signum: signal.signal(signum, self._ask) for signum in (signal.SIGTERM, signal.SIGINT)}
            was_waking = signal.set_wakeup_fd(waker.fileno())
            try:
                while not self._asked:
                    self._tend()
                    self._wait()
            finally:
                self._end_all()
                signal.set_wakeup_fd(was_waking)
                for signum, handler in before.items():
                    signal.signal(signum, handler)
        return self._code

    def _ask(self, signum: int, frame: FrameType | None) -> None:  # noqa: ARG002 - as signal.signal calls it
        self._asked += 1

    def _wait(self) -> None:
        """Until a signal comes, or it is time for another look."""
        with selectors.DefaultSelector() as selector:
            selector.register(self._woken, selectors.EVENT_READ)
            if selector.select(LOOK_EVERY_SECONDS):
                self._woken.recv(64)

    def _tend(self) -> None:
        for worker in self._workers:
            worker.listen()
            code = worker.ended()
            if code is not None:
                if code > 0 and not worker.has_served:
                    # What cannot be served will not be served next time either. A kill has a negative code.
                    self._code, self._asked = code, 1
                    return
                log.warning("worker ended", number=worker.number, code=code)
                worker.put_off()
            if worker.process is None and time.monotonic() >= worker.start_next_at:
                worker.start(self._command)

    def _end_all(self) -> None:
        """Ask each to end; kill those that take too long, or all of them when asked a second time."""
        asked = self._asked
        alive = [worker.process for worker in self._workers if worker.process is not None]
        for process in alive:
            process.send_signal(signal.SIGTERM)
        deadline = time.monotonic() + self._drain_seconds
        for process in alive:
            while process.poll() is None:
                if time.monotonic() > deadline or self._asked > max(asked, 1):
                    process.kill()
                    process.wait()
                else:
                    self._wait()
        for worker in self._workers:
            if worker.lifeline is not None:
                worker.lifeline.close()


def command_of(arguments: Sequence[str]) -> list[str]:
    """The command line of a worker: as this process was started, with these arguments."""
    safe_path = ["-P"] if sys.flags.safe_path else []
    return [sys.executable, *safe_path, "-m", "api", *arguments]


def serve_with(workers: int, *, host: str, port: int) -> int:
    """Serve by several processes; gives the exit code."""
    configure_logging()
    try:
        claimed = claim(host, port)
    except OSError as error:
        sys.exit(f"api: {error}")
    with claimed, metrics.counting_together():
        # Of a flag that is given twice the last one counts.
        command = command_of([*sys.argv[1:], "--port", str(claimed.getsockname()[1])])
        return Workers(workers, command, drain_seconds=KILLED_AFTER_SECONDS).run()
