"""What `python -m api` refuses to serve."""

import sys
from pathlib import Path

import pytest

from api.__main__ import is_loopback, main


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.1.2.3", "::1"])
def test_loopback_is_told_from_everything_else(host: str) -> None:
    assert is_loopback(host)


@pytest.mark.parametrize(
    "host", ["", "0.0.0.0", "::", "10.0.0.1", "studio.example", "127.0.0.1.example", "localhost.x"]
)
def test_what_others_may_reach_is_no_loopback(host: str) -> None:
    assert not is_loopback(host)


@pytest.mark.parametrize(
    ("name", "value"), [("PCS_HEARTBEAT_INTERVAL", "0"), ("PCS_HEARTBEAT_INTERVAL", "often"), ("PCS_PARTITIONS", "0")]
)
def test_a_setting_that_makes_no_sense_is_told_without_a_traceback(
    name: str, value: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["api"])
    monkeypatch.setenv("PCS_STATE_DIR", str(tmp_path))
    monkeypatch.setenv(name, value)
    with pytest.raises(SystemExit, match=r"^api: ") as refused:
        main()
    assert f"{name}: " in str(refused.value)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("flags", "env"),
    [
        (["--insecure-no-auth", "--host", "0.0.0.0"], {}),
        (["--insecure-no-auth", "--host", ""], {}),
        (["--insecure-no-auth", "--host", "studio.example"], {}),
        (["--host", "::"], {"PCS_INSECURE_NO_AUTH": "1"}),
    ],
)
def test_no_authentication_is_refused_off_loopback(
    flags: list[str],
    env: dict[str, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(sys, "argv", ["api", *flags])
    for name, value in {"PCS_STATE_DIR": str(tmp_path), **env}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SystemExit) as refused:
        main()
    assert refused.value.code == 2
    assert "loopback only" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
