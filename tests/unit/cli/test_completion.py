"""What completes commands in a shell. Where a shell is not installed, its script is looked at, and not run."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from cli.main import main

BASH = """\
source <(cat "$1"); COMP_WORDS=(studio profile --mo); COMP_CWORD=2; _studio_completion studio; echo "${COMPREPLY[@]}"
"""


def script(shell: str) -> str:
    told = CliRunner().invoke(main, ["completion", shell])
    assert told.exit_code == 0, told.output
    return told.stdout


def test_bash_completes_an_option(tmp_path: Path) -> None:
    file = tmp_path / "completion"
    file.write_text(script("bash"))
    env = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    done = subprocess.run(["bash", "-c", BASH, "bash", str(file)], env=env, capture_output=True, text=True, check=True)
    assert (done.stdout.split(), done.stderr) == (["--mode"], "")


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_the_other_shells_understand_their_scripts(shell: str, tmp_path: Path) -> None:
    file = tmp_path / "completion"
    file.write_text(script(shell))
    assert f"_STUDIO_COMPLETE={shell}_complete" in file.read_text()
    if (program := shutil.which(shell)) is not None:
        subprocess.run([program, "-n", str(file)], check=True)


def test_fish_tells_all_that_is_said_of_a_command() -> None:
    assert 'string split --max 1 "," $completion' in script("fish")
