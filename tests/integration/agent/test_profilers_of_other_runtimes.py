"""Ruby, PHP and .NET through stand-ins for their tools: see tests/support/stand_ins.py."""

import os
from pathlib import Path

import psutil
import pytest

from agent.capabilities import capabilities
from agent.profilers.base import Available, Profiler, Unavailable
from agent.profilers.dotnet import DotnetTrace
from agent.profilers.installed_tool import InstalledTool
from agent.profilers.php import Phpspy
from agent.profilers.ruby import Rbspy
from tests.support.stand_ins import process_named, stand_in, stopped_when_ready
from tests.support.targets import Run
from tests.unit.agent.test_stacks_runtime_tools import PHPSPY, RBSPY, speedscope

RBSPY_OPTIONS = """
parser.add_argument("record", choices=["record"])
for flag in ("--silent", "--nonblocking", "--on-cpu"): parser.add_argument(flag, action="store_true", required=True)
parser.add_argument("--format", choices=["collapsed"], required=True)
for number in ("--rate", "--duration", "--pid"): parser.add_argument(number, type=int, required=True)
parser.add_argument("--raw-file", required=True)
parser.add_argument("--file", type=pathlib.Path, required=True)
"""
PHPSPY_OPTIONS = """
for number in ("--rate-hz", "--time-limit-ms", "--pid"): parser.add_argument(number, type=int, required=True)
parser.add_argument("--output", type=pathlib.Path, required=True)
"""
DOTNET_OPTIONS = """
parser.add_argument("collect", choices=["collect"])
parser.add_argument("--process-id", type=int, required=True)
parser.add_argument("--format", choices=["Speedscope"], required=True)
parser.add_argument("--duration", required=True)
parser.add_argument("--output", type=pathlib.Path, required=True)
"""
SPEEDSCOPE = speedscope(("O", 0, 0.0), ("O", 1, 0.0), ("C", 1, 500.0), ("C", 0, 500.0), frames=["A!Main()", "CPU_TIME"])


def rbspy(folder: Path) -> Profiler:
    writes = f"arguments.file.write_text({RBSPY!r})"
    return Rbspy(stand_in(folder / "rbspy", options=RBSPY_OPTIONS, writes=writes))


def phpspy(folder: Path) -> Profiler:
    writes = f"arguments.output.write_text({PHPSPY!r})"
    return Phpspy(stand_in(folder / "phpspy", options=PHPSPY_OPTIONS, writes=writes))


def dotnet(folder: Path) -> Profiler:
    begins = "print('Output File    :', arguments.output, flush=True)"
    writes = f"arguments.output.with_suffix('.speedscope.json').write_text({SPEEDSCOPE!r})"
    return DotnetTrace(stand_in(folder / "dotnet-trace", options=DOTNET_OPTIONS, begins=begins, writes=writes))


@pytest.mark.parametrize(
    ("executable", "make", "stack", "count"),
    [
        ("ruby3.1", rbspy, "<main> (worker.rb);run (job.rb);sleep [c function]", 5),
        ("php-fpm8.2", phpspy, "<main> (index.php);App\\Job::work (Job.php);usleep", 2),
        ("dotnet", dotnet, "A!Main", 50),
    ],
)
async def test_a_runtime_is_sampled_by_the_tool_that_the_host_has(
    executable: str, make: type[Profiler], stack: str, count: int, tmp_path: Path
) -> None:
    profiler = make(tmp_path)  # type: ignore[call-arg]  # these make one with its stand-in
    with process_named(executable, tmp_path) as pid:
        run = Run(tmp_path / "work", pids=[pid], seconds=60, hz=100, profilers=[profiler])
        profile = await stopped_when_ready(run, tmp_path / profiler.name)
    assert (profile.error, profile.warnings, run.starts) == (None, [], 1)
    name = executable[:15]
    assert profile.stacks[f"{name};{stack}"] == count
    assert not [one for one in psutil.Process().children(recursive=True) if str(tmp_path) in " ".join(one.cmdline())]


@pytest.mark.parametrize("tool", [Rbspy, Phpspy, DotnetTrace])
def test_a_tool_that_is_missing_is_told_with_how_to_get_it(
    tool: type[InstalledTool], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path))
    assert tool().probe() == Unavailable(tool.install)
    told = capabilities([tool()])["profilers"][tool.name]
    assert told == {"available": False, "reason": tool.install}


def test_a_tool_on_path_is_offered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tool = stand_in(tmp_path / "rbspy", options=RBSPY_OPTIONS, writes="")
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    assert Rbspy().probe() == Available(str(tool))


@pytest.mark.parametrize(
    ("begins", "reason"),
    [
        ("sys.exit('Error: Permission denied (os error 13)')", "no permission to read process"),
        ("sys.exit('Something is wrong here')", "Something is wrong here"),
        ("sys.exit(3)", "it said nothing"),
    ],
)
async def test_a_tool_that_fails_says_why(begins: str, reason: str, tmp_path: Path) -> None:
    tool = stand_in(tmp_path / "rbspy", options=RBSPY_OPTIONS, begins=begins, writes="")
    with process_named("ruby", tmp_path) as pid:
        profile = await Run(tmp_path / "work", pids=[pid], seconds=60, profilers=[Rbspy(tool)]).profile()
    assert profile.error is not None
    assert reason in profile.error


async def test_what_a_tool_leaves_unreadable_is_a_failure_of_its_target(tmp_path: Path) -> None:
    writes = "arguments.file.write_text('no stacks at all')"
    tool = stand_in(tmp_path / "rbspy", options=RBSPY_OPTIONS, writes=writes)
    with process_named("ruby", tmp_path) as pid:
        run = Run(tmp_path / "work", pids=[pid], seconds=60, profilers=[Rbspy(tool)])
        profile = await stopped_when_ready(run, tool)
    assert profile.error is not None
    assert "left nothing readable: line 1 is no collapsed stack" in profile.error
