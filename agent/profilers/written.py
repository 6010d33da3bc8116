"""When a program wrote into a pipe, whenever that is read: what it says it does began then, not when we hear of it.

The kernel notes the time of a write with a pipe that has a name, as it does with a file, to a hundredth of a second or
better; with one that has none no more since Linux 6.15.
"""

import asyncio
import os
import secrets
import time
from pathlib import Path
from typing import Final

_FLAGS: Final = os.O_CLOEXEC | os.O_NOFOLLOW


class Output:
    """What a child prints: its reader, and when it last did."""

    def __init__(self, directory: Path) -> None:
        """Make the pipe for it; its name is in the directory for a moment."""
        self._since = time.monotonic()
        self.reader = asyncio.StreamReader()
        self._transport: asyncio.ReadTransport | None = None
        try:
            self._reading, self.writing = _named(directory / f"output-{secrets.token_hex(8)}")
        except OSError:  # a file system may have no pipes, and a full one no room
            self._reading, self.writing = os.pipe()
        self._untouched = untouched(self._reading)

    async def listen(self) -> None:
        """Read from now on, what the child has inherited."""
        file = os.fdopen(os.dup(self._reading), "rb", buffering=0)
        loop = asyncio.get_running_loop()
        self._transport, _ = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(self.reader), file)

    def last_write(self) -> float:
        """When the child last printed something, by the monotonic clock; now, where that cannot be told."""
        return last_write(self._reading, self._untouched, since=self._since)

    def close(self) -> None:
        """Hear no more."""
        if self._transport is not None:
            self._transport.close()
        os.close(self._reading)


def _named(name: Path) -> tuple[int, int]:
    os.mkfifo(name, 0o600)
    try:
        reading = os.open(name, os.O_RDONLY | os.O_NONBLOCK | _FLAGS)
        try:
            return reading, os.open(name, os.O_WRONLY | _FLAGS)
        except OSError:
            os.close(reading)
            raise
    finally:
        name.unlink()


def untouched(pipe: int) -> int:
    """How a pipe looks that nobody has written to since."""
    return os.fstat(pipe).st_mtime_ns


def last_write(pipe: int, before: int, *, since: float) -> float:
    """When somebody last wrote into a pipe that looked like `before`, by the monotonic clock.

    Now, where the file system does not note it. `since` is when it looked so: nothing is older, should the wall clock
    have been set meanwhile.
    """
    now, written = time.monotonic(), untouched(pipe)
    ago = time.time() - written / 1e9
    return now if written == before else max(now - max(ago, 0.0), min(since, now))
