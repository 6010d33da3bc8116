"""Tables in a terminal of 80 columns, and in none."""

import re
import subprocess
import sys
from typing import Final

from tests.support.processes import ROOT
from tests.support.terminals import COLUMNS, in_terminal

PRINTED: Final = """
from datetime import UTC, datetime
from cli.output import table
ID, NEXT = "e3d69097-8866-440c-9bf7-5aa2341a7a01", f"{datetime.now(UTC):%Y}-11-27 02:30:00Z"
table(("ID", "NAME", "SERVICE", "CRON", "NEXT"), [(ID, "nightly", "local", "30 2 * * *", NEXT), (ID, *4 * "-")])
"""


def test_heads_stay_whole_and_moments_are_told_shorter_where_there_is_little_room() -> None:
    code, said = in_terminal([sys.executable, "-c", PRINTED], {"PYTHONPATH": str(ROOT), "NO_COLOR": "1"})
    assert code == 0, said
    first, second, third = said.replace("\x1b[1m", "").replace("\x1b[0m", "").splitlines()
    assert first.split() == ["ID", "NAME", "SERVICE", "CRON", "NEXT"]
    assert second.split(maxsplit=3)[3].rstrip() == "30 2 * * *  11-27 02:30Z"
    assert len(second) <= COLUMNS
    assert third.split()[1:] == ["-"] * 4


def test_what_is_no_terminal_gets_each_row_whole() -> None:
    done = subprocess.run([sys.executable, "-c", PRINTED], cwd=ROOT, capture_output=True, text=True, check=True)
    assert re.search(r"30 2 \* \* \*  \d{4}-11-27 02:30:00Z$", done.stdout.splitlines()[1])
