"""Print what a file of memray's holds, a JSON line for each stack: `[bytes, [[function, file, line], …]]`, leaf first.

Run as a program, `python memray_read.py FILE`: the file was written by a target, and memray reads it in native code. So
it is read in a process of its own, which may not take much memory or time, and as nobody where it is root: what breaks
out of it is no more than the target was.
"""

import json
import os
import resource
import sys
from typing import Final

MAX_MEMORY: Final = 1 << 30
MAX_SECONDS: Final = 60
NOBODY: Final = 65_534


def main(path: str) -> int:
    """Print the stacks that held memory when most of it was in use."""
    from memray import FileReader  # noqa: PLC0415 -- an extra, which the agent's own modules do without

    file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    confine(file)
    with FileReader(f"/proc/self/fd/{file}") as reader:
        for record in reader.get_high_watermark_allocation_records(merge_threads=True):
            sys.stdout.write(json.dumps([record.size, record.stack_trace()]) + "\n")
    return 0


def confine(file: int) -> None:
    """Bound this process, and let it be nobody who may read this one file."""
    resource.setrlimit(resource.RLIMIT_DATA, (MAX_MEMORY, MAX_MEMORY))
    resource.setrlimit(resource.RLIMIT_CPU, (MAX_SECONDS, MAX_SECONDS))
    if os.geteuid() == 0:
        os.fchown(file, NOBODY, NOBODY)  # it is opened again; the directory around it stays closed to others
        os.setgroups([])
        os.setgid(NOBODY)
        os.setuid(NOBODY)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
