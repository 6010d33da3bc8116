"""Let memray into a process by gdb, with an end that needs no gdb: a file that is put beside its own.

Run as a program, `python memray_attach.py PID FILE END SECONDS`: memray's own `attach`, whose payload gets one more
thread. That thread lives in the target as long as the tracking does. It ends the tracking when `END` is there, and
takes that file away once `FILE` is whole; memray itself ends the tracking after `SECONDS`.

`memray detach` would have gdb call into a process whose allocations are followed, which may be stopped while it holds
memray's lock: it then waits for itself for good.
"""

import sys
from typing import Final

NEEDED: Final = (
    "def deactivate_last_tracker():", "memray._last_tracker", "import threading", "import time", "import suppress",
)  # fmt: skip
"""What the thread below takes from memray's payload."""
ENDING: Final = """

def end_when_the_file_is_there(file, tracked):
    import os

    while id(getattr(memray, "_last_tracker", None)) == tracked:
        if os.path.exists(file):
            deactivate_last_tracker()
            with suppress(OSError):  # whoever waits for that has given up, and removed it
                os.unlink(file)
        time.sleep(0.1)


threading.Thread(
    target=end_when_the_file_is_there, args=(@FILE@, id(memray._last_tracker)), name="end-of-memray", daemon=True
).start()
"""


def payload(theirs: str, end: str) -> str:
    """Memray's payload, a template for `str.format`, with our thread at its end.

    Raises:
        ValueError: this memray's payload is another one than is known here.
    """
    if missing := [part for part in NEEDED if part not in theirs]:
        raise ValueError(f"this release of memray is not known here: its payload has no {missing[0]!r}")
    return theirs + ENDING.replace("@FILE@", repr(end).replace("{", "{{").replace("}", "}}"))


def run(pid: str, file: str, end: str, seconds: str) -> int:
    """Attach, and give memray's exit code."""
    from memray.commands import attach, main  # noqa: PLC0415 -- an extra, which the agent's own modules do without

    try:
        attach.PAYLOAD = payload(attach.PAYLOAD, end)
    except (AttributeError, ValueError) as problem:
        sys.stderr.write(f"{problem}\n")
        return 1
    return main([
        "attach", "--aggregate", "--no-compress", "--duration", seconds, "-o", file, "--method", "gdb", pid,
    ])  # fmt: skip


if __name__ == "__main__":
    sys.exit(run(*sys.argv[1:]))
