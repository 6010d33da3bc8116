"""`studio config show`: what each role would read, asked of the roles themselves."""

import json
from pathlib import Path

import pytest

from tests.support.studio import studio


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("PCS_CONFIG_FILE", raising=False)
    path = tmp_path / "studio.toml"
    path.touch(mode=0o600)
    return path


def test_every_setting_is_told_with_its_source(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file.write_text('limits = "large"\nredis_url = "redis://:hunter2@redis.example"\nfan_out_above = 7\n')
    monkeypatch.setenv("PCS_FAN_OUT_ABOVE", "9")
    done = studio(
        "config", "show", "--json", "--config", str(file), "--set", "archive_after=60", "--set", "limits=small"
    )
    assert done.returncode == 0, done.stderr
    assert "hunter2" not in done.stdout
    found = {row["name"]: row for row in json.loads(done.stdout)["settings"]}
    assert (found["PCS_LIMITS"]["value"], found["PCS_LIMITS"]["source"]) == ("small", "flag")
    assert found["PCS_LIMITS"]["roles"] == ["api"]
    assert (found["PCS_FAN_OUT_ABOVE"]["value"], found["PCS_FAN_OUT_ABOVE"]["source"]) == ("9", "environment")
    assert found["PCS_FAN_OUT_ABOVE"]["roles"] == ["api", "workers"]
    assert (found["PCS_REDIS_URL"]["value"], found["PCS_REDIS_URL"]["source"]) == ("********", "file")
    assert (found["PCS_ARCHIVE_AFTER"]["value"], found["PCS_ARCHIVE_AFTER"]["roles"]) == ("60.0", ["workers"])


def test_what_nobody_reads_and_what_is_wrong_end_with_one_and_say_why(file: Path) -> None:
    file.write_text("limit = 5\n")
    done = studio("config", "show", "--config", str(file))
    assert done.returncode == 1
    assert "no setting: limit" in done.stderr
    assert "PCS_LIMITS" in done.stdout
    wrong = studio("config", "show", "--set", "partitions=none")
    assert wrong.returncode == 1
    assert "PCS_PARTITIONS: Input should be a valid integer" in wrong.stderr
    assert "errors.pydantic.dev" not in wrong.stderr
    assert "Traceback" not in wrong.stderr
