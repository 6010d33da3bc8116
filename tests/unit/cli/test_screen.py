import os
import subprocess
import sys
from pathlib import Path

import pytest

from cli.screen import Screen

ROOT = Path(__file__).parents[3]


def test_a_pipe_gets_plain_lines_when_the_state_changes(capsys: pytest.CaptureFixture[str]) -> None:
    with Screen().progress("profiling", 5) as move:
        for state, done in (("pending", 0.0), ("running", 0.1), ("running", 1.0), ("completed", 7.0)):
            move(state, done)
    assert capsys.readouterr().out.splitlines() == [
        "studio: profiling: pending, 0 of 5 s",
        "studio: profiling: running, 0 of 5 s",
        "studio: profiling: completed, 5 of 5 s",
    ]


def test_stdout_is_left_to_programs_when_they_ask_for_json(capsys: pytest.CaptureFixture[str]) -> None:
    screen = Screen(json=True)
    screen.say("hello")
    screen.facts({"a": "1", "longer": "2"})
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == "studio: hello\n  a       1\n  longer  2\n"


def test_a_reader_that_has_gone_does_not_stop_the_writer(tmp_path: Path) -> None:
    code = "from cli.screen import Screen; s = Screen(); [s.say('x' * 999) for _ in range(99)]; open('done', 'w')"
    reader, writer = os.pipe()
    os.close(reader)
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", code], stdout=writer, stderr=subprocess.PIPE, cwd=tmp_path, env=environment, timeout=30,
        check=False,
    )  # fmt: skip
    os.close(writer)
    assert (done.returncode, done.stderr) == (0, b"")
    assert (tmp_path / "done").exists()


def test_a_terminal_without_our_characters_gets_question_marks() -> None:
    code = "from cli.screen import Screen; Screen().line('a █ b → c')"
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "latin-1"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, env=environment, check=True, timeout=30)
    assert done.stdout == b"a ? b ? c\n"
