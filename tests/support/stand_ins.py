"""Stand-ins for tools that no package index has: they take the tool's own arguments and write what it writes.

They show that the agent calls a tool as its manual says, ends it and reads its format; not that the tool itself works.
"""

import asyncio
import contextlib
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from agent.run_profile import Profile
from tests.support.targets import Run

PROGRAM = """#!{python}
import argparse, pathlib, signal, sys, time
parser = argparse.ArgumentParser(allow_abbrev=False)
{options}
arguments = parser.parse_args()
ended = []
signal.signal(signal.SIGINT, lambda *_: ended.append(True))
{begins}
pathlib.Path(sys.argv[0] + ".ready").touch()
while not ended:
    time.sleep(0.02)
{writes}
"""


def stand_in(path: Path, *, options: str, begins: str = "", writes: str) -> Path:
    """An executable that accepts these options, does `begins`, waits for SIGINT, and does `writes`."""
    path.write_text(PROGRAM.format(python=sys.executable, options=options, begins=begins, writes=writes))
    path.chmod(0o755)
    return path


async def stopped_when_ready(run: Run, tool: Path) -> Profile:
    """Stop a run once the stand-in samples, and give what it left."""
    ready = tool.with_name(f"{tool.name}.ready")
    async with asyncio.timeout(60):
        while not ready.exists() and not run.task.done():  # noqa: ASYNC110 -- another process makes the file
            await asyncio.sleep(0.02)
    run.stop.set()
    return await run.profile()


@contextlib.contextmanager
def process_named(name: str, folder: Path) -> Iterator[int]:
    """A process whose executable has this name, so that it counts as one of that runtime."""
    program = folder / name
    shutil.copy("/bin/sleep", program)
    process = subprocess.Popen([str(program), "600"])
    try:
        yield process.pid
    finally:
        process.kill()
        process.wait()
