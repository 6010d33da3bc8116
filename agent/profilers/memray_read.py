"""Print what a file of memray's holds, a JSON line for each stack: `[bytes, [[function, file, line], …]]`, leaf first.

Run as a program, `python memray_read.py FILE`: the file was written by a target, and memray reads it in native code, so
it is read in a process of its own that can only break itself.
"""

import json
import sys


def main(path: str) -> int:
    """Print the stacks that held memory when most of it was in use."""
    from memray import FileReader  # noqa: PLC0415 -- an extra, which the agent's own modules do without

    with FileReader(path) as reader:
        for record in reader.get_high_watermark_allocation_records(merge_threads=True):
            sys.stdout.write(json.dumps([record.size, record.stack_trace()]) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
