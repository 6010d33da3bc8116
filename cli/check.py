"""`studio check`: one command for every check of a clone. CI and pre-commit call the same."""

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import click

from cli import options
from cli.errors import StudioError, Usage

ROOT: Final = Path(__file__).parents[1]
BIN: Final = Path(sys.executable).parent


@dataclass(frozen=True)
class Step:
    """One check: a name and its command line, run in the clone's root."""

    name: str
    command: Sequence[str]


TOOLS: Final = (
    "tools/lint_lua.py", "tools/redis_docs.py", "tools/write_requirements.py", "tools/write_agent_options.py",
    "tools/write_cli_page.py", "tools/write_console_api.py", "tools/build_console.py", "hatch_build.py",
    "scripts/build_executable.py",
    "examples/results_consumer.py",
)  # fmt: skip
SHELL: Final = sorted(str(script.relative_to(ROOT)) for script in (ROOT / "scripts").glob("*.sh"))
STEPS: Final = (
    Step("format", (str(BIN / "ruff"), "format", "--check", "--quiet", ".")),
    Step("lint", (str(BIN / "ruff"), "check", "--quiet", ".")),
    Step("types", (sys.executable, "-m", "mypy", "--no-error-summary")),
    Step("types of tools", (sys.executable, "-m", "mypy", "--no-error-summary", "studio.py", *TOOLS)),
    Step("imports", (str(BIN / "lint-imports"), "--no-logo")),
    Step("shell", (str(BIN / "shellcheck"), ".ci/run", *SHELL)),
    Step("page", (sys.executable, "tools/build_console.py", "--check")),
    Step("Lua", (sys.executable, "tools/lint_lua.py")),
)
SIDE_BY_SIDE: Final = min(8, (os.cpu_count() or 1) + 1)
"""Test processes: one more than cores, as most tests wait for processes most of the time."""
TESTS: Final = (
    sys.executable, "-m", "pytest", "-n", str(SIDE_BY_SIDE), "--dist", "loadfile", "--no-loadscope-reorder",
)  # fmt: skip
"""File by file, in the order that tests/conftest.py gives them: not those with the most tests first."""


class ToolsMissing(StudioError):
    """The environment was prepared for using the system, not for changing it."""

    def __init__(self, program: str) -> None:
        super().__init__(f"{program} is not there. `python3 studio.py setup --dev` prepares every tool of a check.")


@click.command(cls=options.StudioCommand, context_settings={"ignore_unknown_options": True})
@click.option("--no-tests", is_flag=True, help="Only the checks that run in seconds.")
@click.argument("pytest_options", nargs=-1, type=click.UNPROCESSED)
@click.pass_context
def command(ctx: click.Context, no_tests: bool, pytest_options: Sequence[str]) -> None:
    """Run every check and every test of a clone: format, lint, types, imports, Lua, then pytest.

    What follows goes to pytest: `studio check -k merger -x`. The tests run beside the checks, which use one core and
    are told of at the end, and also when a check fails; the exit code is 0 only when everything is good.
    """
    if not (ROOT / "tests").is_dir():
        raise Usage(f"check works in a clone of the repository; {ROOT} is none.")
    for step in STEPS:
        if shutil.which(step.command[0]) is None:
            raise ToolsMissing(step.command[0])
    code = 0
    with ThreadPoolExecutor(max_workers=1) as beside:
        verdicts = [(step, beside.submit(_verdict, step)) for step in STEPS]
        try:
            if not no_tests:
                code = subprocess.run([*TESTS, *pytest_options], cwd=ROOT, env=_environment(), check=False).returncode
        except BaseException:  # Ctrl-C above all: the checks that have not begun never do
            beside.shutdown(wait=False, cancel_futures=True)
            raise
        failed = [step.name for step, verdict in verdicts if not _is_good(step, verdict)]
    if failed:
        click.echo(f"studio: failed: {', '.join(failed)} (their reports are above)", err=True)
    ctx.exit(code or (1 if failed else 0))


def _environment() -> dict[str, str]:
    """Ours, but that what one process compiles spares the others the same: in containers it is often forbidden."""
    return {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}


@dataclass(frozen=True)
class Verdict:
    """How a check went, in how many seconds, and what it said."""

    passed: bool
    took: float
    said: str


def _verdict(step: Step) -> Verdict:
    started = time.monotonic()
    done = subprocess.run(
        step.command, cwd=ROOT, env=_environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False
    )
    return Verdict(done.returncode == 0, time.monotonic() - started, done.stdout.decode(errors="replace").strip())


def _is_good(step: Step, verdict: Future[Verdict]) -> bool:
    """Wait for a check's end and tell of it; what it says is shown only when it fails."""
    told = verdict.result()
    click.echo(f"{step.name:<15}{'ok' if told.passed else 'FAILED':<7}{told.took:5.1f} s", err=True)
    if not told.passed:
        click.echo(told.said, err=True)
    return told.passed
