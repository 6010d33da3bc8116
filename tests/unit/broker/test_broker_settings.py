"""Where the broker is: a URL, or a socket that every role derives from the state directory."""

import os
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from broker.embedded import write_config
from broker.errors import BadConfig, UnsafeSocketFolder
from broker.settings import LONGEST_SOCKET_PATH, BrokerSettings

SOMEBODY_ELSE = 65_534


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("PCS_")]:
        monkeypatch.delenv(name)


@pytest.fixture
def short_path(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The temporary folder that long state directories fall back to; not below pytest's own, which is long already."""
    with tempfile.TemporaryDirectory(prefix="pcs-") as folder:
        monkeypatch.setattr("tempfile.tempdir", folder)
        yield Path(folder)


def a_long_state_dir(tmp_path: Path) -> Path:
    return tmp_path / "/".join(["a-folder-with-a-rather-long-name"] * 4)


def test_the_environment_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PCS_REDIS_URL", "redis://:s3cret@broker:6379/0")
    monkeypatch.setenv("PCS_PARTITIONS", "32")
    settings = BrokerSettings()
    assert (settings.url, settings.partitions) == ("redis://:s3cret@broker:6379/0", 32)
    assert "s3cret" not in repr(settings), "a password is in no representation"


@pytest.mark.parametrize("partitions", ["0", "-1", "4097", "many"])
def test_an_impossible_number_of_partitions_is_refused(monkeypatch: pytest.MonkeyPatch, partitions: str) -> None:
    monkeypatch.setenv("PCS_PARTITIONS", partitions)
    with pytest.raises(BadConfig):
        BrokerSettings()


def test_the_socket_is_in_the_state_directory(tmp_path: Path) -> None:
    settings = BrokerSettings(state_dir=tmp_path)
    assert settings.socket_path == tmp_path / "broker" / "redis.sock"
    assert settings.url == f"unix://{settings.socket_path}"


def test_a_relative_state_directory_means_the_same_to_every_role(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert BrokerSettings(state_dir=Path("state")).socket_path == tmp_path / "state" / "broker" / "redis.sock"


def test_a_socket_path_too_long_for_linux_goes_to_a_private_folder(short_path: Path) -> None:
    settings = BrokerSettings(state_dir=a_long_state_dir(short_path))
    assert len(os.fsencode(settings.socket_path)) <= LONGEST_SOCKET_PATH
    assert settings.socket_path == BrokerSettings(state_dir=a_long_state_dir(short_path)).socket_path
    assert settings.socket_path != BrokerSettings(state_dir=a_long_state_dir(short_path) / "b").socket_path


def test_the_configuration_is_written_into_folders_closed_to_others(short_path: Path) -> None:
    for state_dir in (short_path / "state", a_long_state_dir(short_path)):
        settings = BrokerSettings(state_dir=state_dir)
        config = write_config(settings)
        assert config == state_dir / "broker" / "redis.conf"
        for folder in (config.parent, settings.socket_path.parent):
            assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_the_configuration_loses_nothing_and_listens_on_no_port(tmp_path: Path) -> None:
    settings = BrokerSettings(state_dir=tmp_path)
    lines = write_config(settings).read_text().splitlines()
    assert {"port 0", "appendonly yes", "appendfsync always", "maxmemory-policy noeviction"} <= set(lines)
    assert {"unixsocketperm 700", "stream-node-max-bytes 1024"} <= set(lines)
    assert f'unixsocket "{settings.socket_path}"' in lines
    assert "appendfsync everysec" in write_config(settings, fsync="everysec").read_text().splitlines()


def test_a_folder_that_is_not_there_yet_is_no_fault(short_path: Path) -> None:
    BrokerSettings(state_dir=a_long_state_dir(short_path)).check_socket_folder()


def test_a_folder_that_others_may_write_to_is_refused(short_path: Path) -> None:
    settings = BrokerSettings(state_dir=a_long_state_dir(short_path))
    write_config(settings)
    settings.socket_path.parent.chmod(0o722)
    with pytest.raises(UnsafeSocketFolder) as caught:
        settings.check_socket_folder()
    assert caught.value.path == str(settings.socket_path.parent)


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give a folder to somebody else")
def test_a_folder_of_another_user_is_refused(short_path: Path) -> None:
    settings = BrokerSettings(state_dir=a_long_state_dir(short_path))
    write_config(settings)
    os.chown(settings.socket_path.parent, SOMEBODY_ELSE, SOMEBODY_ELSE)
    with pytest.raises(UnsafeSocketFolder, match="must belong to this user"):
        settings.check_socket_folder()
    with pytest.raises(UnsafeSocketFolder):
        write_config(settings)


def test_a_link_in_place_of_the_folder_is_refused(short_path: Path) -> None:
    settings = BrokerSettings(state_dir=a_long_state_dir(short_path))
    elsewhere = short_path / "elsewhere"
    elsewhere.mkdir(mode=0o700)
    settings.socket_path.parent.symlink_to(elsewhere)
    with pytest.raises(UnsafeSocketFolder):
        settings.check_socket_folder()


def test_a_server_given_by_url_has_no_folder_to_check(short_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = BrokerSettings(state_dir=a_long_state_dir(short_path))
    write_config(settings)
    settings.socket_path.parent.chmod(0o777)
    monkeypatch.setenv("PCS_REDIS_URL", "redis://broker:6379/0")
    BrokerSettings(state_dir=settings.state_dir).check_socket_folder()
