"""`python -m workers`: which roles may be asked for, and what the environment says."""

import os
from pathlib import Path

import pytest

from workers import __main__ as command_line
from workers.settings import WorkerSettings


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("PCS_")]:
        monkeypatch.delenv(name)


@pytest.mark.parametrize(
    ("roles", "why"), [((), "required"), (("cook",), "invalid choice"), (("jobs", "merger"), "jobs runs alone")]
)
def test_roles_that_cannot_be_run_are_refused(
    roles: tuple[str, ...], why: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["workers", *roles])
    monkeypatch.setattr(command_line, "configure_logging", lambda: None)
    with pytest.raises(SystemExit) as caught:
        command_line.main()
    assert caught.value.code == 2
    assert why in capsys.readouterr().err


@pytest.mark.parametrize("webhooks", ["", "[]", '[{"name": "ops", "url": "s3cret"}]'])
def test_a_notifier_without_anybody_to_notify_ends_with_a_word(webhooks: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PCS_WEBHOOKS", webhooks)
    monkeypatch.setattr("sys.argv", ["workers", "notifier"])
    monkeypatch.setattr(command_line, "configure_logging", lambda: None)
    with pytest.raises(SystemExit, match="PCS_WEBHOOKS") as ended:
        command_line.main()
    assert "s3cret" not in str(ended.value)


def test_the_archive_is_in_the_state_directory_unless_told_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PCS_STATE_DIR", "/somewhere")
    assert WorkerSettings().archive_at == "/somewhere/archive"
    monkeypatch.setenv("PCS_ARCHIVE_URL", "s3://key:s3cret@bucket/x")
    assert WorkerSettings().archive_at == "s3://key:s3cret@bucket/x"
    assert "s3cret" not in repr(WorkerSettings())


def test_rq_keeps_its_jobs_in_the_brokers_server_unless_told_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PCS_STATE_DIR", "/somewhere")
    assert WorkerSettings().job_queue_url == "unix:///somewhere/broker/redis.sock"
    monkeypatch.setenv("PCS_REDIS_URL", "redis://broker/0")
    assert WorkerSettings().job_queue_url == "redis://broker/0"
    monkeypatch.setenv("PCS_RQ_URL", "redis://:s3cret@jobs/1")
    assert WorkerSettings().job_queue_url == "redis://:s3cret@jobs/1"


def test_a_password_in_a_url_is_in_no_representation(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PCS_RQ_URL", "redis://:s3cret@jobs/1")
    assert "s3cret" not in repr(WorkerSettings())
    assert WorkerSettings().state_dir == Path("/var/lib/performance-studio")
