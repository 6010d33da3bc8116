"""Which server is meant, and the file of contexts."""

import json
import stat
from pathlib import Path

import pytest
from click.testing import CliRunner

from cli import contexts
from cli.contexts import BadContexts, Context, Contexts
from cli.errors import Usage
from cli.main import main
from cli.reaching import Server, choose

PROD = Context(url="https://prod", token="of-prod")
KNOWN = Contexts("prod", {"prod": PROD, "here": Context(state_dir="/here"), "bare": Context(url="https://bare")})
OF_ENVIRONMENT = {"STUDIO_URL": "https://env", "STUDIO_TOKEN": "of-env"}


@pytest.mark.parametrize(
    ("said", "environment", "meant"),
    [
        (Server(), {}, PROD),
        (Server(), OF_ENVIRONMENT, Context(url="https://env", token="of-env")),
        (Server(), {"STUDIO_TOKEN": "of-env"}, Context(url="https://prod", token="of-env")),
        (Server(), {"STUDIO_CONTEXT": "here"}, Context(state_dir="/here")),
        (Server(), {"PCS_STATE_DIR": "/env"}, Context(state_dir="/env")),
        (Server(url="https://flag"), OF_ENVIRONMENT, Context(url="https://flag", token="of-env")),
        (Server(context="here"), OF_ENVIRONMENT, Context(state_dir="/here")),
        (Server(context="bare"), OF_ENVIRONMENT, Context(url="https://bare")),
        (Server(state_dir=Path("/flag")), OF_ENVIRONMENT, Context(state_dir="/flag")),
    ],
)
def test_a_flag_goes_before_the_environment_and_that_before_the_file(
    said: Server, environment: dict[str, str], meant: Context
) -> None:
    assert choose(said, environment, KNOWN) == meant


def test_nothing_said_means_the_state_directory_of_this_user() -> None:
    assert choose(Server(), {}, Contexts()) == Context()


def test_two_servers_at_once_and_an_unknown_one_are_refused() -> None:
    with pytest.raises(Usage, match="two servers"):
        choose(Server(url="https://a", context="prod"), {}, KNOWN)
    with pytest.raises(Usage, match=r"no context 'prd' \(known: bare, here, prod\)"):
        choose(Server(context="prd"), {}, KNOWN)


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    for name in ("STUDIO_TOKEN", "STUDIO_URL", "STUDIO_CONTEXT"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path / "performance-studio" / "contexts.json"


def context(*words: str, stdin: str = "") -> str:
    done = CliRunner().invoke(main, ["context", *words], input=stdin)
    assert done.exit_code == 0, done.output
    return done.output


def test_contexts_are_added_used_listed_and_removed_and_no_token_is_shown(file: Path) -> None:
    assert context("add", "prod", "--url", "https://prod", "--token-file", "-", stdin="s3cret\n") == (
        "context prod, in use\n"
    )
    assert context("add", "here", "--state-dir", "/here") == "context here\n"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert contexts.read(file).get("prod") == Context(url="https://prod", token="s3cret")
    assert json.loads(context("list", "-o", "json")) == [
        {"name": "here", "server": "/here", "used": False, "token": "of the state directory"},
        {"name": "prod", "server": "https://prod", "used": True, "token": "its own"},
    ]
    context("use", "here")
    assert "*  here" in context("list")
    assert "s3cret" not in context("list") + repr(contexts.read(file))
    context("remove", "here")
    assert contexts.read(file).current is None
    assert [*file.parent.iterdir()] == [file]


def test_a_file_of_tokens_that_others_may_read_is_not_used(file: Path) -> None:
    contexts.write(file, Contexts("prod", {"prod": PROD}))
    file.chmod(0o640)
    with pytest.raises(BadContexts, match="chmod 600"):
        contexts.read(file)
    file.chmod(0o600)
    file.write_text("[]")
    assert CliRunner().invoke(main, ["hosts", "list"]).exit_code == 1


@pytest.mark.parametrize(
    "words", [["--url", "https://a"], [], ["--url", "prod", "--no-token"], ["--state-dir", "/a", "--url", "b"]]
)
def test_a_context_without_a_server_or_a_token_is_a_fault_of_usage(file: Path, words: list[str]) -> None:
    assert CliRunner().invoke(main, ["context", "add", "name", *words]).exit_code == 2
    assert not file.exists()


@pytest.mark.parametrize("text", ["", "two words", "späß"])
def test_what_is_no_token_is_refused(file: Path, text: str) -> None:
    done = CliRunner().invoke(main, ["hosts", "list", "--url", "http://127.0.0.1:1", "--token-file", "-"], input=text)
    assert done.exit_code == 2
    assert "holds no token" in done.stderr
