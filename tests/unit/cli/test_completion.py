"""What completes commands in a shell: in each shell itself."""

import os
import subprocess
import sys
from pathlib import Path

from click.testing import CliRunner

from cli.main import main
from tests.support.tools import needs

BASH = """\
source <(cat "$1"); COMP_WORDS=(studio profile --mo); COMP_CWORD=2; _studio_completion studio; echo "${COMPREPLY[@]}"
"""
ZSH = """\
zmodload zsh/zpty
zpty inner zsh -f -i
zpty -w inner "autoload -Uz compinit; compinit -u -D; source $1; print rea''dy"
zpty -r -m inner said '*ready*'
zpty -w -n inner $'studio profile --mo\\t'
zpty -r -m inner said '*--mode*'
print -r -- "$said"
"""
"""Its completion works where somebody types alone: in a terminal of its own."""
FISH = 'source $argv[1]; complete -C "studio profile --mo"'


def script(shell: str) -> str:
    told = CliRunner().invoke(main, ["completion", shell])
    assert told.exit_code == 0, told.output
    return told.stdout


def completed(command: list[str], shell: str, folder: Path) -> str:
    """What a shell that has read its script says to a Tab behind `studio profile --mo`."""
    file = folder / "completion"
    file.write_text(script(shell))
    env = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "HOME": str(folder)}
    done = subprocess.run([*command, str(file)], env=env, capture_output=True, text=True, check=True, timeout=60)
    assert done.stderr == ""
    return done.stdout


def test_bash_completes_an_option(tmp_path: Path) -> None:
    assert completed(["bash", "-c", BASH, "bash"], "bash", tmp_path) == "--mode\n"


@needs("zsh")
def test_zsh_completes_an_option(tmp_path: Path) -> None:
    assert "studio profile --mode" in completed(["zsh", "-f", "-c", ZSH, "zsh"], "zsh", tmp_path)


@needs("fish")
def test_fish_completes_an_option(tmp_path: Path) -> None:
    assert completed(["fish", "--no-config", "-c", FISH], "fish", tmp_path) == "--mode\t[default: cpu]\n"


def test_fish_tells_all_that_is_said_of_a_command() -> None:
    assert 'string split --max 1 "," $completion' in script("fish")
