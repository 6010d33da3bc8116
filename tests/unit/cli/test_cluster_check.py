"""`studio cluster-check`: where the URL comes from, and that it is never shown."""

from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from cli import cluster_check
from cli.main import main

SECRET = "redis+cluster://:s3cret@a:7000"


@pytest.fixture
def ran(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What was started, in place of being started."""
    calls: list[dict[str, Any]] = []

    def hand_over(environment: dict[str, str], *argv: str) -> int:
        calls.append({"argv": argv, "env": environment})
        return 1

    monkeypatch.setattr(cluster_check, "hand_over", hand_over)
    for name in ("PCS_REDIS_URL", "MINE"):
        monkeypatch.delenv(name, raising=False)
    return calls


def test_the_url_is_handed_on_by_environment_alone(
    ran: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = tmp_path / "url"
    file.write_text(f"{SECRET}\n")
    monkeypatch.setenv("MINE", SECRET)
    monkeypatch.setenv("PCS_REDIS_URL", SECRET)
    for arguments in (["--redis-url-env", "MINE"], ["--redis-url-file", str(file)], [], ["--json"]):
        result = CliRunner().invoke(main, ["cluster-check", *arguments])
        assert result.exit_code == 1, "as the check said"
        assert "s3cret" not in result.output
        call = ran.pop()
        assert call["env"]["PCS_REDIS_URL"] == SECRET
        assert "s3cret" not in " ".join(call["argv"])
        assert ("--json" in call["argv"]) == ("--json" in arguments)


def test_a_url_that_is_nowhere_is_a_usage_error(ran: list[dict[str, Any]], tmp_path: Path) -> None:
    empty, odd = tmp_path / "empty", tmp_path / "odd"
    empty.write_text("\n")
    odd.write_bytes(b"\xff\xfe\xff")
    for arguments, why in (
        ([], "PCS_REDIS_URL is not set"),
        (["--redis-url-env", "MINE"], "MINE is not set"),
        (["--redis-url-file", str(empty)], "is empty"),
        (["--redis-url-file", str(odd)], "cannot be read"),
        (["--redis-url-file", str(tmp_path / "none")], "does not exist"),
        (["--redis-url-file", str(empty), "--redis-url-env", "MINE"], "one of them"),
    ):
        result = CliRunner().invoke(main, ["cluster-check", *arguments])
        assert result.exit_code == 2
        assert why in result.output.replace("\n", " ")
    assert not ran
