"""Telling a perf that has been started when to begin: by a pair of named pipes, `perf record --control`."""

import asyncio
import contextlib
import os
import time
from collections.abc import Iterator, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Final

from agent.profilers.written import last_write, untouched

PATIENCE: Final = timedelta(seconds=5)
_FLAGS: Final = os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOFOLLOW
_ENABLE: Final = b"enable\n"
_ENOUGH: Final = 64
_UNKNOWN: Final = ("control", "delay")
"""Of an option that a perf older than 5.11 does not know, or has without pipes, its complaint names one of these."""


class PerfControl:
    """One perf's ear. `options` are what perf needs to wait for us."""

    def __init__(self, tell: Path, hear: Path, *, telling: int, hearing: int) -> None:
        self.options: Sequence[str] = ("-D", "-1", "--control", f"fifo:{tell},{hear}")
        self._telling = telling
        self._hearing = hearing

    async def enable(self) -> float | None:
        """Have it count from now on: when it said that it does, by the monotonic clock; None if it did not."""
        asked, silent = time.monotonic(), untouched(self._hearing)
        os.write(self._telling, _ENABLE)
        loop = asyncio.get_running_loop()
        heard = asyncio.Event()
        loop.add_reader(self._hearing, heard.set)
        try:
            async with asyncio.timeout(PATIENCE.total_seconds()):
                await heard.wait()
        except TimeoutError:
            return None
        finally:
            loop.remove_reader(self._hearing)
        return last_write(self._hearing, silent, since=asked) if os.read(self._hearing, _ENOUGH) else None


@contextlib.contextmanager
def control(directory: Path) -> Iterator[PerfControl]:
    """Both pipes, in a directory that is nobody else's; they are gone at the end.

    Raises:
        OSError: they cannot be made.
    """
    pipes = [directory / "perf-control", directory / "perf-ack"]
    with contextlib.ExitStack() as undo:
        opened = []
        for pipe in pipes:
            os.mkfifo(pipe, 0o600)
            undo.callback(pipe.unlink)
            opened.append(os.open(pipe, _FLAGS))
            undo.callback(os.close, opened[-1])
        yield PerfControl(pipes[0], pipes[1], telling=opened[0], hearing=opened[1])


def is_unknown(said: str) -> bool:
    """Whether perf broke off because it cannot be told when to begin."""
    return any(f"`{word}'" in said for word in _UNKNOWN) or "Failed to parse --control" in said
