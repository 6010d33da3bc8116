"""What a role logs is JSON, whoever logs it."""

import json
import os
import subprocess
import sys
from typing import Final

from tests.support.processes import ROOT

LOGS: Final = """
import logging, structlog
from broker.logs import call_id, configure_logging
configure_logging()
call_id.set("a-call")
structlog.get_logger("ours").info("of ours", host="web-01")
logging.getLogger("a.library").warning("of %s", "theirs")
logging.getLogger("a.library").info("of no interest")
try:
    1 / 0
except ZeroDivisionError:
    logging.getLogger("a.library").exception("broken")
"""


def test_what_libraries_log_comes_in_the_form_of_our_own_lines() -> None:
    done = subprocess.run(
        [sys.executable, "-c", LOGS], cwd=ROOT, capture_output=True, text=True, check=True, timeout=60
    )
    ours, theirs, broken = (json.loads(line) for line in done.stderr.splitlines())
    assert (ours["event"], ours["level"], ours["host"]) == ("of ours", "info", "web-01")
    assert (theirs["event"], theirs["level"], theirs["logger"]) == ("of theirs", "warning", "a.library")
    assert "ZeroDivisionError" in broken["exception"], "on the line itself"
    assert {line["call_id"] for line in (ours, theirs, broken)} == {"a-call"}
    assert all(line["timestamp"] for line in (ours, theirs, broken))


def test_a_line_is_one_write_so_that_those_of_two_processes_are_not_one() -> None:
    """The API's processes share a stderr; and who is killed between two writes leaves a line that the next goes on."""
    ours, theirs = os.pipe2(os.O_DIRECT)  # a reading gives what one write wrote
    try:
        subprocess.run([sys.executable, "-c", LOGS], cwd=ROOT, stderr=theirs, check=True, timeout=60)
        os.close(theirs)
        writes = [*iter(lambda: os.read(ours, 65_536), b"")]
    finally:
        os.close(ours)
    assert len(writes) == 3
    assert all(json.loads(each) and each.endswith(b"}\n") for each in writes)
