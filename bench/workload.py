"""What is slowed: one busy Python for each core, which counts what it does."""

import multiprocessing
import os
import signal
import time
from pathlib import Path
from typing import Any, Final, Self

_TICKS: Final = os.sysconf("SC_CLK_TCK")
_STEAL: Final = 8
"""Which number of the first line of `/proc/stat` it is: man 5 proc_stat."""


def work(counter: Any) -> None:
    """Count rounds of arithmetic, for ever: what a profiler takes is missing here."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    while True:
        total = 0
        for step in range(5_000):
            total += step * step
        counter.value += 1


class Workload:
    """One busy Python for each core."""

    def __init__(self) -> None:
        context = multiprocessing.get_context("spawn")
        self._counters = [context.Value("q", 0, lock=False) for _ in range(os.cpu_count() or 1)]
        self._processes = [context.Process(target=work, args=(counter,), daemon=True) for counter in self._counters]

    def __enter__(self) -> Self:
        for process in self._processes:
            process.start()
        while not all(counter.value for counter in self._counters):
            time.sleep(0.05)
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._processes:
            process.kill()
            process.join()

    @property
    def pids(self) -> list[int]:
        return [process.pid for process in self._processes if process.pid is not None]

    def done(self) -> int:
        """Rounds since it began."""
        return sum(counter.value for counter in self._counters)

    def used(self) -> float:
        """Seconds of processor time since it began, by the scheduler's own count, which is of nanoseconds."""
        return sum(int(Path(f"/proc/{pid}/schedstat").read_text().split()[0]) for pid in self.pids) / 1e9


def stolen() -> float:
    """Seconds of processor time that the machine below has kept from this one since it started, all cores together."""
    with Path("/proc/stat").open() as file:
        return int(file.readline().split()[_STEAL]) / _TICKS
