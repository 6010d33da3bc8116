"""`.ci/run`, with a stand-in for the test run: what it makes of each kind of end."""

import os
import re
import subprocess
from pathlib import Path

import pytest

CI = Path(__file__).parents[3] / ".ci" / "run"
TOOLS = re.findall(r"^command -v ([\w-]+) ", CI.read_text(), re.MULTILINE)
"""What it installs where it is not there: a test of ours must not."""
PASSED = "======= 3 passed, 1 skipped in 2.50s ======="


def run(folder: Path, output: str, code: int) -> subprocess.CompletedProcess[str]:
    """CI on a machine whose python3 says this, and that has every tool."""
    (folder / "said").write_text(output)
    for name, script in {"python3": f"cat {folder}/said; exit {code}", **dict.fromkeys(TOOLS, "exit 0")}.items():
        (folder / name).write_text(f"#!/bin/sh\n{script}\n")
        (folder / name).chmod(0o755)
    environment = {**os.environ, "PATH": f"{folder}:{os.environ['PATH']}"}
    done = subprocess.run([str(CI)], env=environment, capture_output=True, text=True, check=False, timeout=60)
    assert "installing" not in done.stderr
    return done


def test_a_good_run_ends_with_pytests_summary(tmp_path: Path) -> None:
    done = run(tmp_path, f"format  ok\n...\n{PASSED}\nstudio: some last word\n", 0)
    assert (done.returncode, done.stdout.splitlines()[-1]) == (0, PASSED)


def test_colours_do_not_hide_the_summary(tmp_path: Path) -> None:
    done = run(tmp_path, "\x1b[32m====== \x1b[1m2 passed\x1b[0m\x1b[32m in 0.10s ======\x1b[0m\n", 0)
    assert (done.returncode, done.stdout.splitlines()[-1]) == (0, "====== 2 passed in 0.10s ======")


@pytest.mark.parametrize(
    ("output", "code", "expected"),
    [
        ("======= 1 failed, 3 passed in 2.50s =======\n", 1, 1),
        (f"{PASSED}\n", 1, 1),  # a check failed, the tests did not
        ("======= no tests ran in 0.01s =======\n", 5, 5),
        ("======= 7 skipped in 0.01s =======\n", 0, 1),
        ("======= 9 deselected in 0.01s =======\n", 0, 1),
    ],
)
def test_a_bad_run_fails_and_ends_with_the_summary_too(tmp_path: Path, output: str, code: int, expected: int) -> None:
    done = run(tmp_path, output, code)
    assert (done.returncode, done.stdout.splitlines()[-1]) == (expected, output.strip())


@pytest.mark.parametrize(("code", "expected"), [(3, 3), (0, 1)])
def test_a_run_that_never_came_to_its_tests_fails(tmp_path: Path, code: int, expected: int) -> None:
    done = run(tmp_path, "studio: uv could not be fetched\n", code)
    assert done.returncode == expected
    assert "did not get as far as its summary" in done.stdout
