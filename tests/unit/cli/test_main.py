import subprocess
import sys

import click
import pytest
from click.testing import CliRunner

from cli.main import COMMANDS, SUMMARIES, main, read

MOST_MODULES = 200
"""Python's own and click's, with room for another version of them."""
HEAVY = ("httpx", "pydantic", "rich", "asyncio", "subprocess", "cli.up", "cli.demo")


def test_help_reads_nothing_heavy() -> None:
    code = "import sys; from cli.main import main; main(['--help'], standalone_mode=False); print(*sorted(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=30)
    read_now = set(done.stdout.splitlines()[-1].split())
    assert not set(HEAVY) & read_now
    ours = {name for name in read_now if name.partition(".")[0] in {"cli", "protocol", "formats"}}
    assert ours == {"cli", "cli.main"}, "what no help needs"
    assert len(read_now) < MOST_MODULES, "each takes its part of the 150 ms that a person does not notice"


BY_NATURE_HEAVY = ("up", "demo")
"""Commands that start everything; what they read is read for their help too."""


@pytest.mark.parametrize("name", [name for name in COMMANDS if name not in BY_NATURE_HEAVY])
def test_the_help_of_a_command_reads_nothing_that_speaks_http(name: str) -> None:
    code = f"import sys; from cli.main import read; read({name!r}); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=30)
    assert not {"httpx", "pydantic", "rich", "asyncio"} & set(done.stdout.split()), "a third of a second"


def test_a_token_is_printed_without_what_speaks_http() -> None:
    code = "import sys; import cli.show_token, cli.context, cli.completing; print(*sorted(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=30)
    assert not {"httpx", "pydantic", "rich"} & set(done.stdout.split())


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_says_the_same_in_the_list_and_in_its_own_help(name: str) -> None:
    command = read(name)
    own = (command.help or "").replace("\n", " ")
    assert own.startswith(SUMMARIES[name].rstrip(".").split(",")[0]), own
    assert name in CliRunner().invoke(main, ["--help"]).output


@pytest.mark.parametrize("arguments", [["--help"], *([name, "--help"] for name in COMMANDS)])
def test_help_fits_a_narrow_terminal(arguments: list[str]) -> None:
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 0
    assert max(map(len, result.output.splitlines())) <= 80


GROUPS = [name for name in COMMANDS if isinstance(read(name), click.Group)]


@pytest.mark.parametrize("name", GROUPS)
def test_the_commands_below_a_command_are_told_in_whole_sentences(name: str) -> None:
    result = CliRunner().invoke(main, [name, "-h"], terminal_width=60)
    assert result.exit_code == 0
    listed = result.output.partition("Commands:\n")[2]
    assert "..." not in listed
    assert listed.rstrip().endswith("."), listed
    assert max(map(len, listed.splitlines())) <= 60


@pytest.mark.parametrize("name", ["status", "tokens"])
def test_ctrl_c_is_told_from_a_failure(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(read(name), "invoke", interrupted)
    result = CliRunner().invoke(main, [name, *(["list"] if name == "tokens" else [])])
    assert (result.exit_code, result.stderr.strip()) == (130, "studio: interrupted")


@pytest.mark.parametrize("url", ["localhost:8000", "ftp://localhost", ""])
def test_an_address_that_is_none_is_a_usage_error_that_shows_a_good_one(url: str) -> None:
    result = CliRunner().invoke(main, ["tokens", "list", "--url", url])
    assert result.exit_code == 2
    assert "as http://127.0.0.1:8000" in result.stderr


def test_an_unknown_command_is_a_usage_error() -> None:
    result = CliRunner().invoke(main, ["profil"])
    assert result.exit_code == 2
    assert "No such command 'profil'" in result.output


def test_the_version_is_that_of_the_distribution() -> None:
    assert CliRunner().invoke(main, ["--version"]).output.startswith("studio, version 0.")
