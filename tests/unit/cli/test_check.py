import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from cli import check
from cli.check import STEPS, Step
from cli.main import main

GOOD = Step("good", (sys.executable, "-c", "print('all is well')"))
BAD = Step("bad", (sys.executable, "-c", "print('what is wrong'); raise SystemExit(1)"))
TESTS_PASS = (sys.executable, "-c", "import sys; print('tests ran with', sys.argv[1:])")
TESTS_FAIL = (sys.executable, "-c", "raise SystemExit(5)")


@pytest.mark.parametrize(
    ("steps", "tests", "code"),
    [([GOOD], TESTS_PASS, 0), ([GOOD, BAD], TESTS_PASS, 1), ([GOOD], TESTS_FAIL, 5), ([BAD], TESTS_FAIL, 5)],
)
def test_one_thing_that_is_wrong_is_enough_to_fail(
    monkeypatch: pytest.MonkeyPatch, steps: list[Step], tests: tuple[str, ...], code: int
) -> None:
    monkeypatch.setattr(check, "STEPS", steps)
    monkeypatch.setattr(check, "TESTS", tests)
    assert CliRunner().invoke(main, ["check"]).exit_code == code


def test_a_step_is_quiet_unless_it_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(check, "STEPS", [GOOD, BAD])
    said = CliRunner().invoke(main, ["check", "--no-tests"]).stderr
    assert "all is well" not in said
    assert "what is wrong" in said
    assert "failed: bad" in said


def test_a_tool_that_is_not_installed_is_named_with_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(check, "STEPS", [Step("format", ("/nowhere/ruff",))])
    result = CliRunner().invoke(main, ["check"])
    assert result.exit_code == 1
    assert result.stderr == (
        "studio: /nowhere/ruff is not there. `python3 studio.py setup --dev` prepares every tool of a check.\n"
    )


def test_a_check_runs_beside_the_tests_and_is_told_of_when_they_have_ended(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """The tests of this wait for the check, and the check waits for the tests: neither could end alone."""
    meet = "import sys, pathlib, time\nmine, theirs = map(pathlib.Path, sys.argv[1:3])\nmine.touch()\n"
    meet += "while not theirs.exists(): time.sleep(0.01)\nprint('they met', file=sys.stderr)"
    one, other = str(tmp_path / "check"), str(tmp_path / "tests")
    monkeypatch.setattr(check, "STEPS", [Step("meeting", (sys.executable, "-c", meet, one, other))])
    monkeypatch.setattr(check, "TESTS", (sys.executable, "-c", meet, other, one))
    result = CliRunner().invoke(main, ["check"])
    assert result.exit_code == 0
    assert capfd.readouterr().err == "they met\n"
    assert result.stderr.startswith("meeting        ok")


def test_what_follows_goes_to_pytest(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(check, "STEPS", [])
    monkeypatch.setattr(check, "TESTS", TESTS_PASS)
    CliRunner().invoke(main, ["check", "-k", "merger", "-x", "tests/unit"])
    assert "tests ran with ['-k', 'merger', '-x', 'tests/unit']" in capfd.readouterr().out


def test_every_step_of_the_house_is_there() -> None:
    assert [step.name for step in STEPS] == [
        "format",
        "lint",
        "types",
        "types of tools",
        "imports",
        "shell",
        "page",
        "Lua",
    ]
