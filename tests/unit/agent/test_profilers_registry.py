"""Profilers of this package and of others, by their entry points."""

import importlib.metadata
import subprocess
import sys
import tomllib
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from agent.capabilities import capabilities
from agent.processes import Process
from agent.profilers.base import Available, Unavailable, matching, probed
from agent.profilers.registry import BUILT_IN, GROUP, collect, installed
from tests.support.processes import ROOT

OURS = [make().name for make in BUILT_IN]

PLUG_INS = """
class Good:
    name, scope, modes = "gpu", "process", frozenset({"cpu"})
    def probe(self): raise ZeroDivisionError("no driver")
    def match(self, process): raise KeyError("what")
    async def run(self, targets, request, work_dir, stop, started): ...

class Thief(Good):
    name = "perf"

class Unfinished:
    name = "unfinished"

class Angry:
    def __init__(self): raise RuntimeError("no licence")
"""


def point(name: str, value: str) -> EntryPoint:
    return EntryPoint(name, value, GROUP)


@pytest.fixture
def plug_ins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (tmp_path / "their_profilers.py").write_text(PLUG_INS)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "their_profilers", raising=False)
    return "their_profilers"


def test_ours_are_registered_as_they_are_listed() -> None:
    registered = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["entry-points"][GROUP]
    assert registered == {make().name: f"{make.__module__}:{make.__qualname__}" for make in BUILT_IN}


def test_without_any_metadata_ours_are_known() -> None:
    assert [profiler.name for profiler in collect([])] == OURS
    assert [
        profiler.name for profiler in collect(point("x", f"{make.__module__}:{make.__qualname__}") for make in BUILT_IN)
    ] == OURS


def test_a_plain_source_tree_knows_them_too() -> None:
    program = "from agent.profilers.registry import installed; print([one.name for one in installed()])"
    isolated = [sys.executable, "-c", f"import importlib.metadata as m; m.entry_points = lambda **_: []; {program}"]
    done = subprocess.run(isolated, capture_output=True, text=True, cwd=ROOT, check=True, timeout=60)
    assert done.stdout.strip() == str(OURS)


def test_a_profiler_of_another_package_is_found(plug_ins: str) -> None:
    assert [profiler.name for profiler in collect([point("gpu", f"{plug_ins}:Good")])] == [*OURS, "gpu"]


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("their_profilers:Missing", "cannot be loaded: AttributeError"),
        ("their_profilers_nowhere:Good", "cannot be loaded: ModuleNotFoundError"),
        ("their_profilers:Angry", "cannot be loaded: RuntimeError('no licence')"),
        ("their_profilers:Unfinished", "is no profiler: it has no scope, modes, probe, match, run"),
    ],
)
async def test_one_that_is_broken_is_unavailable_with_its_reason(value: str, reason: str, plug_ins: str) -> None:
    *ours, broken = collect([point("theirs", value)])
    assert [profiler.name for profiler in ours] == OURS
    answer = probed(broken)
    assert isinstance(answer, Unavailable)
    assert reason in answer.reason
    told = capabilities([broken])["profilers"]["theirs"]
    assert (told["available"], told["reason"]) == (False, answer.reason)


def test_a_name_that_is_taken_stays_with_the_first(plug_ins: str) -> None:
    *ours, second = collect([point("perf", f"{plug_ins}:Thief")])
    assert [profiler.name for profiler in ours] == OURS
    assert second.name == "perf (their_profilers)"
    assert second.modes == frozenset()


def test_one_that_breaks_when_it_is_asked_takes_nothing_along(plug_ins: str) -> None:
    theirs = collect([point("gpu", f"{plug_ins}:Good")])[-1]
    answer = probed(theirs)
    assert isinstance(answer, Unavailable)
    assert "gpu cannot say whether it works here: ZeroDivisionError('no driver')" in answer.reason
    assert matching(theirs, [Process(1, 0.0, "init", None)]) == []


def test_what_is_installed_is_looked_up_once(monkeypatch: pytest.MonkeyPatch) -> None:
    first = installed()
    monkeypatch.setattr(importlib.metadata, "entry_points", lambda **_: pytest.fail("looked up again"))
    assert installed() is first
    assert all(isinstance(probed(profiler), Available | Unavailable) for profiler in first)
