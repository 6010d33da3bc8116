"""The real agent and its profiles: uploaded, kept while the server is away, and what a full disk does."""

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.stacks import collapsed
from agent.transport import UPLOAD_PATH
from tests.support.agents import GPROFILER, busy_python, log_lines, running_agent
from tests.support.fake_server import TOKEN, FakeServer, start, stop
from tests.support.processes import eventually


def test_a_profile_is_uploaded_as_agents_of_the_field_do(tmp_path: Path) -> None:
    with FakeServer() as server, busy_python() as pids, running_agent(server, tmp_path):
        server.names_profiles = True
        server.offer("c1", start(pids=pids, duration=1))
        completion = server.completion("c1")
        (upload,) = server.uploads
    assert completion["results_path"] == "profile-1"
    assert upload.headers["gprofiler-api-key"] == TOKEN
    assert upload.headers["authorization"] == f"Bearer {TOKEN}"
    assert upload.headers["gprofiler-service-name"] == "web"
    assert upload.headers["content-encoding"] == "gzip"
    assert "service=web" in upload.query
    assert TOKEN not in upload.query
    first, _, rest = upload.body["profile"].partition("\n")
    facts = json.loads(first.removeprefix("# "))
    assert facts["samples"] == completion["samples"] == sum(collapsed.parse(rest.splitlines()).values()) > 0
    assert list((tmp_path / "profiles").glob("2*.col")), "it stays on the host as well"
    assert list((tmp_path / "state" / "spool").glob("*.json.gz")) == []


def test_a_profile_waits_for_a_server_that_is_away_across_restarts(tmp_path: Path) -> None:
    with FakeServer() as server, busy_python() as pids:
        with running_agent(server, tmp_path) as process:
            fault = server.fail(1_000, status=503, path=UPLOAD_PATH)
            server.offer("c1", start(pids=pids, duration=1))
            completion = server.completion("c1")
            assert Path(completion["results_path"]).exists(), "the local path, as long as the server has none"
            eventually(lambda: fault.times < 1_000, what="a try")
            process.kill()
        assert len(list((tmp_path / "state" / "spool").glob("*.json.gz"))) == 1
        fault.times = 0
        tried = len(server.uploads)
        with running_agent(server, tmp_path):
            eventually(lambda: len(server.uploads) > tried, what="the upload")
            eventually(lambda: not list((tmp_path / "state" / "spool").glob("*.json.gz")), what="an empty spool")


def test_a_refused_profile_is_put_aside_and_the_completion_says_so(tmp_path: Path) -> None:
    with FakeServer() as server, busy_python() as pids, running_agent(server, tmp_path):
        server.fail(1, status=413, path=UPLOAD_PATH)
        server.offer("c1", start(pids=pids, duration=1))
        completion = server.completion("c1")
        assert completion["status"] == "completed"
        assert "the server refuses it (413" in completion["error_message"]
        assert len(list((tmp_path / "state" / "spool" / "refused").iterdir())) == 1
        server.offer("c2", start(pids=pids, duration=1))
        assert "error_message" not in server.completion("c2")


def test_a_run_without_heartbeats_uploads_as_well(tmp_path: Path) -> None:
    with FakeServer() as server, busy_python() as pids:
        argv = [
            GPROFILER, "-u", "--server-host", server.url, "--service-name", "web", "--hostname", "web-01", "-d", "1",
            "-o", str(tmp_path / "profiles"), "--pids", str(pids[0]), "--state-dir", str(tmp_path / "state"),
        ]  # fmt: skip
        done = subprocess.run(
            argv, env={**os.environ, "GPROFILER_TOKEN": TOKEN}, check=False, capture_output=True, text=True, timeout=60
        )
        (upload,) = server.uploads
    assert (done.returncode, done.stderr) == (0, "")
    assert upload.body["hostname"] == "web-01"
    assert list((tmp_path / "state" / "spool-local").glob("*.json.gz")) == []


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 64 KiB."""
    place = tmp_path / "small"
    place.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(place)], check=True)
    try:
        yield place
    finally:
        subprocess.run(["umount", "--lazy", str(place)], check=True)


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting needs root")
def test_a_full_disk_is_reported_and_survived(tmp_path: Path, small_disk: Path) -> None:
    with (
        FakeServer() as server,
        busy_python() as pids,
        running_agent(server, tmp_path / "home", "--output-dir", str(small_disk), "--min-free", "0") as process,
    ):
        (small_disk / "others").write_bytes(b"x" * (small_disk.stat().st_blksize * 15))
        server.names_profiles = True
        server.offer("c1", start(pids=pids, duration=1))
        full = server.completion("c1")
        assert "No space left on device" in full["error_message"]
        assert full["results_path"] == "profile-1", "it was uploaded none the less"
        assert [path.name for path in small_disk.iterdir() if path.name.startswith(".")] == []
        server.offer("c2", start(duration=60, pids=pids))
        server.running("c2")
        server.offer("s2", stop())
        server.completion("s2")
        assert process.process.poll() is None
    assert not [line for line in log_lines(process) if line["level"] == "critical"]
