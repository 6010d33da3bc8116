"""A worker of jobs that is killed with the job in its hand, at a moment that nobody hits from outside each time.

python -m tests.support.mortal_jobs COUNT: right after it has appended so many times, and before it has noted the last.
"""

import os
import runpy
import signal
import sys
from itertools import count
from pathlib import Path
from typing import Any

from broker.request_log import RequestLog
from tests.support.processes import Role


def mortal_jobs(state_dir: Path, *, appends: int) -> Role:
    """Such a worker, of whatever is in the queue."""
    return Role(
        "mortal jobs", [sys.executable, "-m", __name__, str(appends)], env={"PCS_STATE_DIR": str(state_dir)},
        log=state_dir / "mortal-jobs.log",
    )  # fmt: skip


def arm(appends: int) -> None:
    """Have this process, and the worker that forked it, die as SIGKILL does it."""
    append, calls = RequestLog.append, count(1)

    async def deadly_append(*given: Any, **named: Any) -> int:
        appended = await append(*given, **named)
        if next(calls) == appends:
            os.kill(os.getppid(), signal.SIGKILL)
            os.kill(os.getpid(), signal.SIGKILL)
        return appended

    RequestLog.append = deadly_append  # type: ignore[method-assign]  # in this process alone


if __name__ == "__main__":
    arm(int(sys.argv[1]))
    sys.argv[1:] = ["jobs"]
    runpy.run_module("workers", run_name="__main__", alter_sys=True)
