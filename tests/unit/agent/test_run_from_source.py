"""The agent run from its source: by the names of the field's start scripts, with what `requirements.txt` names."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.processes import ROOT
from tools.write_requirements import requirements


def test_the_requirements_are_those_of_the_lock_file() -> None:
    told = (ROOT / "requirements.txt").read_text()
    assert told == requirements(), "run tools/write_requirements.py"
    assert "\npy-spy==" in told
    assert "\nredis==" not in told


@pytest.mark.parametrize(
    "words", [[str(ROOT / "gprofiler/main.py")], ["gprofiler/main.py"], ["-m", "gprofiler"]], ids=str
)
def test_it_starts(words: list[str], tmp_path: Path) -> None:
    folder = tmp_path if Path(words[0]).is_absolute() else ROOT
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    said = subprocess.run(
        [sys.executable, *words, "--version"], cwd=folder, env=environment, capture_output=True, text=True, timeout=60,
        check=False,
    )  # fmt: skip
    assert said.stdout.startswith("gprofiler, version "), said.stderr


def test_the_executable_gathers_every_package_of_ours_that_the_agent_imports() -> None:
    ours = {path.parent.name for path in ROOT.glob("*/__init__.py")} - {"tests"}
    waiting, needed = ["agent"], set[str]()
    while waiting:
        package = waiting.pop()
        needed.add(package)
        text = "\n".join(path.read_text() for path in (ROOT / package).rglob("*.py"))
        imported = set(re.findall(r"^\s*(?:from|import) (\w+)", text, re.MULTILINE))
        waiting += sorted((imported & ours) - needed)
    told = re.search(r"^PACKAGES = \((.*)\)$", (ROOT / "scripts" / "build_executable.py").read_text(), re.MULTILINE)
    assert told is not None
    assert set(re.findall(r'"(\w+)"', told[1])) == needed
