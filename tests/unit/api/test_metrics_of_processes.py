"""Several processes of one server count as one."""

import os
import subprocess
import sys
from pathlib import Path

from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from api.metrics import FOLDER, counted, counting_together, gone, note_call

CALLS = "from api.metrics import note_call\nfor _ in range({count}): note_call('GET', '/x', 200, 0.02)"
TELLS = "import sys\nfrom prometheus_client import generate_latest\nfrom api.metrics import counted\n"
TELLS += "sys.stdout.buffer.write(generate_latest(counted()))"


def run(code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=Path(__file__).parents[3], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def calls_of(text: str) -> dict[str, float]:
    families = text_string_to_metric_families(text)
    return {
        sample.name: sample.value
        for family in families
        for sample in family.samples
        if sample.labels.get("route") == "/x" and "bucket" not in sample.name
    }


def test_each_of_them_tells_what_all_have_counted_and_the_folder_goes() -> None:
    with counting_together():
        folder = Path(os.environ[FOLDER])
        for count in (3, 4):
            run(CALLS.format(count=count))
        told = calls_of(run(TELLS))
        assert told["pcs_http_requests_total"] == told["pcs_http_request_duration_seconds_count"] == 7
    assert not folder.exists()
    assert FOLDER not in os.environ


def test_what_a_process_that_ended_had_under_way_is_over() -> None:
    with counting_together():
        run("from api.metrics import HELD\nHELD.inc()")
        assert "pcs_held_heartbeats 1.0" in run(TELLS)
        for file in Path(os.environ[FOLDER]).glob("gauge_livesum_*.db"):
            gone(int(file.stem.rpartition("_")[2]))
        assert "pcs_held_heartbeats 1.0" not in run(TELLS)


def test_a_process_by_itself_tells_its_own_and_a_made_up_method_is_no_label() -> None:
    note_call("BREW", "/x", 200, None)
    note_call("BREW", "/x", 200, 0.5)
    text = generate_latest(counted()).decode()
    assert calls_of(text)["pcs_http_requests_total"] == 2
    assert 'method="OTHER"' in text
    assert "BREW" not in text
    assert "process_resident_memory_bytes" in text
