"""Settings from flags, the environment, a file, or the code: in this order, and never a secret shown."""

import argparse
import json
import os
from pathlib import Path

import pytest

from broker import config
from broker.errors import BadConfig
from broker.settings import BrokerSettings
from workers.settings import WorkerSettings

SECRET = "rediss://user:hunter2@redis.example"
CLASSES = (BrokerSettings, WorkerSettings)


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "studio.toml"
    path.touch(mode=0o600)
    monkeypatch.setenv("PCS_CONFIG_FILE", str(path))
    for name in ("PCS_PARTITIONS", "PCS_REDIS_URL", "PCS_FAN_OUT_ABOVE", "PCS_STATE_DIR", "PCS_ARCHIVE_AFTER"):
        monkeypatch.delenv(name, raising=False)
    return path


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Flags are put into the environment: into a copy of it here."""
    monkeypatch.setattr(os, "environ", os.environ.copy())


def flags(*words: str) -> config.Flags:
    parser = argparse.ArgumentParser()
    config.add_arguments(parser)
    return config.apply(parser.parse_args(words), CLASSES)


def rows(told: config.Flags) -> dict[str, tuple[str, str]]:
    answer = json.loads(config.as_json(CLASSES, told))
    return {row["name"]: (row["value"], row["source"]) for row in answer["settings"]}


def test_a_flag_goes_before_the_environment_and_that_before_the_file(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file.write_text('partitions = 3\nfan_out_above = 5\narchive_after = 7.5\nstate_dir = "/srv/studio"\n')
    monkeypatch.setenv("PCS_FAN_OUT_ABOVE", "6")
    monkeypatch.setenv("PCS_ARCHIVE_AFTER", "8")
    found = rows(flags("--set", "archive_after=9"))
    assert found["PCS_PARTITIONS"] == ("3", "file")
    assert found["PCS_FAN_OUT_ABOVE"] == ("6", "environment")
    assert found["PCS_ARCHIVE_AFTER"] == ("9.0", "flag")
    assert found["PCS_STATE_DIR"] == ("/srv/studio", "file")
    assert found["PCS_HEARTBEAT_INTERVAL"] == ("30", "default")


def test_a_secret_is_masked_wherever_it_is_from(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file.write_text(f'redis_url = "{SECRET}"\n')
    assert BrokerSettings().url == SECRET
    monkeypatch.setenv("PCS_ARCHIVE_URL", SECRET)
    told = config.as_json(CLASSES, flags())
    assert "hunter2" not in told
    found = rows(flags())
    assert found["PCS_REDIS_URL"] == (config.MASKED, "file")
    assert found["PCS_ARCHIVE_URL"] == (config.MASKED, "environment")
    assert found["PCS_RQ_URL"] == ("", "default")


def test_a_secret_is_no_flag(file: Path) -> None:
    with pytest.raises(BadConfig, match="redis_url is a secret") as refused:
        flags("--set", f"redis_url={SECRET}")
    assert "hunter2" not in str(refused.value)


def test_what_is_no_setting_is_told(file: Path) -> None:
    with pytest.raises(BadConfig, match=r"no setting: PARTITION$"):
        flags("--set", "PARTITION=3")
    file.write_text("partition = 3\n")
    assert json.loads(config.as_json(CLASSES, flags("--set", "nothing=1", "--show-config")))["unknown"] == [
        "nothing", "partition",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "reason"),
    [("partitions", "not TOML"), ("[api]\npartitions = 3", "one value: api"), ("partitions = [3]", "one value")],
)
def test_a_file_that_cannot_be_read_as_settings_is_refused(file: Path, text: str, reason: str) -> None:
    file.write_text(text)
    with pytest.raises(BadConfig, match=reason):
        BrokerSettings()


def test_a_file_that_others_may_write_to_or_that_is_not_there_is_refused(file: Path) -> None:
    file.chmod(0o620)
    with pytest.raises(BadConfig, match="others may write"):
        BrokerSettings()
    file.unlink()
    with pytest.raises(BadConfig, match="No such file"):
        BrokerSettings()


def test_a_value_that_is_not_valid_is_named_and_never_quoted(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file.write_text("")
    monkeypatch.setenv("PCS_PARTITIONS", "s3cret")
    with pytest.raises(BadConfig, match="PCS_PARTITIONS: Input should be a valid integer") as refused:
        BrokerSettings()
    assert "s3cret" not in str(refused.value)
    assert refused.value.__suppress_context__, "pydantic's error quotes it: no traceback may show that"


def test_a_value_of_the_file_is_held_to_the_same_rules(file: Path) -> None:
    file.write_text("partitions = 0\n")
    with pytest.raises(BadConfig, match="PCS_PARTITIONS"):
        BrokerSettings()
    file.write_text("partitions = 4\n")
    assert BrokerSettings(partitions=2).partitions == 2, "what the code says goes before everything"
