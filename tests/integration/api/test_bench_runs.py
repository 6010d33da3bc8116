"""The benchmark runs and measures what it says; how fast is another matter."""

import importlib.util
import json
import subprocess
import sys
from types import ModuleType

import pytest

from tests.support.processes import ROOT

HEARTBEATS = ROOT / "bench" / "heartbeats.py"


@pytest.fixture(scope="module")
def heartbeats() -> ModuleType:
    spec = importlib.util.spec_from_file_location("bench_heartbeats", HEARTBEATS)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_tiny_run_measures_both_servers_and_leaves_nothing_behind(heartbeats: ModuleType) -> None:
    tiny = ["--connections", "4", "--hosts", "8", "--rounds", "1", "--seconds", "5", "--most", "50", "--json"]
    done = subprocess.run(
        [sys.executable, str(HEARTBEATS), *tiny], capture_output=True, text=True, timeout=90, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    measured = json.loads(done.stdout)
    for name in ("api", "constant"):
        one = measured[name]
        assert 50 <= one["answers"] <= 50 + 4, "every connection has at most one heartbeat under way"
        assert one["per_second"] > 0
        assert 0 < one["ms"]["p50"] <= one["ms"]["p99"] <= one["ms"]["max"]
    assert measured["ratio"] == pytest.approx(measured["api"]["per_second"] / measured["constant"]["per_second"])
    assert measured["machine"]["cores"] >= 1
    table = heartbeats.told(measured).splitlines()
    assert [line.split()[0] for line in table if line.startswith(("api", "constant"))] == ["constant", "api"]


@pytest.mark.parametrize("wrong", ["--connections", "--hosts", "--rounds", "--seconds", "--most"])
def test_a_number_that_makes_no_sense_is_refused(
    heartbeats: ModuleType, wrong: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as refused:
        heartbeats.options([wrong, "0"])
    assert refused.value.code == 2
    assert "positive" in capsys.readouterr().err
