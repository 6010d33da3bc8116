"""studio.py, the file that a bare Python runs. Loaded by path: it is part of no package."""

import ast
import contextlib
import fcntl
import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).parents[3]
SCRIPT = ROOT / "studio.py"


@pytest.fixture
def studio(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The bootstrap, on a clone of its own."""
    spec = importlib.util.spec_from_file_location("studio_bootstrap", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    venv, tools = tmp_path / ".venv", tmp_path / ".tools"
    for name, value in {
        "ROOT": tmp_path, "VENV": venv, "TOOLS": tools, "LOCK": tools / "lock", "STAMP": venv / ".studio.json",
    }.items():  # fmt: skip
        monkeypatch.setattr(module, name, value)
    (tmp_path / "pyproject.toml").write_text("[project]\n")
    (tmp_path / "uv.lock").write_text("version = 1\n")
    return module


def stamp(studio: Any, **changes: object) -> None:
    """Leave what a preparation leaves."""
    (studio.VENV / "bin").mkdir(parents=True, exist_ok=True)
    for program in ("python", "studio"):
        (studio.VENV / "bin" / program).touch()
    facts = {"digest": studio.digest(), "root": str(studio.ROOT), "extras": list(studio.ROLES)}
    studio.STAMP.write_text(json.dumps({**facts, **changes}))


def test_it_needs_the_standard_library_alone() -> None:
    tree = ast.parse(SCRIPT.read_text())
    modules = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    modules |= {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    assert {str(module).partition(".")[0] for module in modules} <= sys.stdlib_module_names


def test_an_old_python_can_read_it_far_enough_to_be_told(
    studio: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ast.parse(SCRIPT.read_text(), feature_version=(3, 7))
    monkeypatch.setattr(sys, "version_info", (3, 10, 12))
    assert studio.main(["demo"]) == 1
    assert "needs Python 3.11 or newer" in capsys.readouterr().err


def test_every_command_of_its_help_is_one_of_studios() -> None:
    done = subprocess.run([sys.executable, str(SCRIPT)], capture_output=True, text=True, check=False, timeout=30)
    assert done.returncode == 2
    listed = {line.split()[0] for line in done.stdout.splitlines() if line.startswith("  ") and line.strip()}
    assert listed == {"demo", "up", "status", "test", "setup"}
    assert max(map(len, done.stdout.splitlines())) <= 80


def test_setup_takes_nothing_else(studio: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert studio.main(["setup", "--fast"]) == 2
    assert "usage: python3 studio.py setup" in capsys.readouterr().err


# When there is nothing to do ------------------------------------------------------------------------------------------


def test_a_stamp_that_holds_is_enough(studio: Any) -> None:
    stamp(studio)
    assert studio.is_prepared(studio.ROLES)


def test_tests_need_more_than_the_roles(studio: Any) -> None:
    stamp(studio)
    assert not studio.is_prepared(studio.EVERYTHING)
    stamp(studio, extras=list(studio.EVERYTHING))
    assert studio.is_prepared(studio.EVERYTHING)
    assert studio.is_prepared(studio.ROLES)


@pytest.mark.parametrize("change", ["digest", "root", "extras"])
def test_a_stamp_of_something_else_is_not(studio: Any, change: str) -> None:
    stamp(studio, **{change: "other"})
    assert not studio.is_prepared(studio.ROLES)


def test_a_changed_lock_file_is_noticed(studio: Any) -> None:
    stamp(studio)
    (studio.ROOT / "uv.lock").write_text("version = 2\n")
    assert not studio.is_prepared(studio.ROLES)


def test_a_python_that_has_gone_is_noticed(studio: Any) -> None:
    stamp(studio)
    (studio.VENV / "bin" / "python").unlink()
    (studio.VENV / "bin" / "python").symlink_to("/nowhere/python3")
    assert not studio.is_prepared(studio.ROLES)


@pytest.mark.parametrize("text", ["", "{", "[]", "null"])
def test_a_damaged_stamp_is_no_stamp(studio: Any, text: str) -> None:
    stamp(studio)
    studio.STAMP.write_text(text)
    assert not studio.is_prepared(studio.ROLES)


def test_a_prepared_clone_hands_over_without_looking_for_uv(studio: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    stamp(studio, extras=list(studio.EVERYTHING))
    handed_over: list[list[str]] = []

    def hand_over(arguments: list[str]) -> int:
        handed_over.append(arguments)
        return 0

    monkeypatch.setattr(studio, "hand_over", hand_over)
    monkeypatch.setattr(studio, "prepare", lambda _: pytest.fail("nothing is to be prepared"))
    for arguments in (["demo", "--once"], ["test", "-k", "x"], ["token", "--header"]):
        assert studio.main(arguments) == 0
    assert handed_over == [["demo", "--once"], ["check", "-k", "x"], ["token", "--header"]]


# Preparing ------------------------------------------------------------------------------------------------------------


class FakeUv:
    """Stands where uv would: writes down what it was asked, and makes the files a sync makes."""

    def __init__(self, folder: Path, *, version: str = "0.13.9", code: int = 0) -> None:
        self.calls = folder / "calls"
        self.program = folder / "uv"
        venv = folder / ".venv" / "bin"
        self.program.write_text(
            f'#!/bin/sh\nif [ "$1" = --version ]; then echo "uv {version}"; exit 0; fi\n'
            f'echo "$@" >> {self.calls}\n[ {code} = 0 ] || {{ echo "error: no index"; exit {code}; }}\n'
            f'echo "Installed 1 package"; echo " + click==8"\n'
            f"case $1 in sync|venv) mkdir -p {venv}; touch {venv}/python {venv}/studio;; esac\n"
        )
        self.program.chmod(0o755)

    @property
    def asked(self) -> list[str]:
        return self.calls.read_text().splitlines() if self.calls.exists() else []


@pytest.fixture
def no_index(studio: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A user who has configured nothing."""
    for name in ("UV_DEFAULT_INDEX", "UV_INDEX_URL", "PIP_INDEX_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(studio, "pip_settings", dict)


@pytest.mark.usefixtures("no_index")
def test_the_roles_are_added_and_the_tests_make_the_environment_exact(
    studio: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    uv = FakeUv(tmp_path)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    studio.prepare(studio.ROLES)
    assert studio.is_prepared(studio.ROLES)
    studio.prepare(studio.EVERYTHING)
    first, second, third = uv.asked
    assert first.startswith("sync --frozen --compile-bytecode")
    assert first.endswith("--extra agent --extra embedded --extra server --inexact")
    assert second == first
    assert third.endswith("--extra agent --extra dev --extra embedded --extra server")
    assert "--compile-bytecode" not in third, "most of what only tests need is never imported"
    said = capfd.readouterr()
    assert said.out == ""
    assert "Installed 1 package" in said.err
    assert "click" not in said.err, "the list of every package is noise"


@pytest.mark.usefixtures("no_index")
def test_a_clone_that_was_moved_is_installed_anew(studio: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    uv = FakeUv(tmp_path)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    stamp(studio, root="/where/it/was")
    studio.prepare(studio.ROLES)
    assert uv.asked[0].endswith("--reinstall")


@pytest.mark.usefixtures("no_index")
def test_what_tests_need_is_compiled_where_it_is_installed_anew_with_the_rest(
    studio: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    uv = FakeUv(tmp_path)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    stamp(studio, root="/where/it/was")
    studio.prepare(studio.EVERYTHING)
    assert all("--compile-bytecode" in line and line.endswith("--reinstall") for line in uv.asked)


@pytest.mark.usefixtures("no_index")
def test_an_index_that_cannot_be_reached_is_explained(
    studio: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    FakeUv(tmp_path, code=2)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    assert studio.main(["demo"]) == 3
    said = capfd.readouterr().err
    for help_offered in ("error: no index", "HTTPS_PROXY", "PIP_INDEX_URL", "SSL_CERT_FILE", "without a network"):
        assert help_offered in said
    assert not studio.STAMP.exists()


def test_a_mirror_is_used_by_hashes(studio: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    uv = FakeUv(tmp_path)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setattr(studio, "pip_settings", lambda: {"index-url": "https://mirror.example/simple"})
    studio.prepare(studio.ROLES)
    verbs = [line.split(" --")[0] for line in uv.asked]
    assert verbs == ["export", "venv", "pip install", "pip install"]
    assert any("--require-hashes" in line for line in uv.asked)
    assert all("--compile-bytecode" in line for line in uv.asked if line.startswith("pip install"))
    assert "mirror.example" not in "".join(uv.asked), "an address with a password must not be in a process list"
    studio.prepare(studio.EVERYTHING)
    installs = [line for line in uv.asked if line.startswith("pip install")]
    assert [("--compile-bytecode" in line) for line in installs] == [True] * 4 + [False] * 2


def test_an_old_or_broken_uv_is_passed_over(studio: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    FakeUv(tmp_path, version="0.2.0")
    assert studio.find_uv(dict(os.environ)) is None
    FakeUv(tmp_path, version="0.13.10 (abc 2026-01-01)")
    assert studio.find_uv(dict(os.environ)) == str(tmp_path / "uv")
    (tmp_path / "uv").write_text("#!/bin/sh\nexit 127\n")
    assert studio.find_uv(dict(os.environ)) is None


def test_a_python_without_pip_is_told_what_to_install(
    studio: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    no_pip = tmp_path / "python3"
    no_pip.write_text('#!/bin/sh\necho "python3: No module named pip"\nexit 1\n')
    no_pip.chmod(0o755)
    monkeypatch.setattr(studio, "python", lambda: str(no_pip))
    with pytest.raises(studio.GaveUp, match="apt-get install python3-pip"):
        studio.fetch_uv(dict(os.environ))


def test_two_runs_do_not_prepare_at_once(studio: Any, capsys: pytest.CaptureFixture[str]) -> None:
    studio.TOOLS.mkdir()
    waited = False

    def flock(lock: Any, operation: int) -> None:
        nonlocal waited
        if operation & fcntl.LOCK_NB:
            raise BlockingIOError
        waited = True

    studio.LOCK.write_text("4711\n")
    with contextlib.ExitStack() as stack:
        patch = stack.enter_context(pytest.MonkeyPatch.context())
        patch.setattr(studio.fcntl, "flock", flock)
        stack.enter_context(studio.only_one_at_a_time())
        assert studio.LOCK.read_text() == f"{os.getpid()}\n"
    assert waited
    assert "waiting for another run (pid 4711)" in capsys.readouterr().err


# The user's settings --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("environment", "pip", "index", "mirror"),
    [
        ({}, {}, {}, False),
        ({}, {"index-url": "https://m/simple"}, {"UV_INDEX_URL": "https://m/simple"}, True),
        ({}, {"index-url": "https://pypi.org/simple"}, {"UV_INDEX_URL": "https://pypi.org/simple"}, False),
        ({"UV_INDEX_URL": "https://u/"}, {"index-url": "https://m/"}, {"UV_INDEX_URL": "https://u/"}, True),
        ({"UV_DEFAULT_INDEX": "https://u/"}, {"index-url": "https://m/"}, {"UV_DEFAULT_INDEX": "https://u/"}, True),
    ],
)
def test_what_is_said_to_uv_wins_over_what_is_said_to_pip(
    studio: Any, environment: dict[str, str], pip: dict[str, str], index: dict[str, str], mirror: bool
) -> None:
    made, uses_mirror = studio.settings(environment, pip)
    assert {name: value for name, value in made.items() if "INDEX" in name} == index
    assert uses_mirror is mirror


def test_certificates_and_proxy_of_pip_are_uvs_too(studio: Any) -> None:
    made, _ = studio.settings({"HTTPS_PROXY": "http://own"}, {"cert": "/ca.pem", "proxy": "http://pips"})
    assert made["SSL_CERT_FILE"] == "/ca.pem"
    assert made["HTTPS_PROXY"] == "http://own"


def test_python_is_never_downloaded_and_no_other_environment_is_touched(studio: Any) -> None:
    made, _ = studio.settings({"VIRTUAL_ENV": "/somewhere/else", "UV_PYTHON": "3.14"}, {})
    assert made["UV_PYTHON_DOWNLOADS"] == "never"
    assert made["UV_PROJECT_ENVIRONMENT"] == str(studio.VENV)
    assert "VIRTUAL_ENV" not in made
    assert made["UV_PYTHON"] == studio.python()


def test_an_environment_that_is_there_keeps_its_python(studio: Any) -> None:
    stamp(studio)
    assert "UV_PYTHON" not in studio.settings({}, {})[0]


def test_pips_own_word_on_its_settings_is_read(studio: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with_pip = tmp_path / "python3"
    with_pip.write_text(
        "#!/bin/sh\ncat <<'END'\n:env:.index-url='https://user:word@mirror.example/simple'\n"
        "download.cert='/other.pem'\nglobal.cert='/global.pem'\nglobal.index-url='https://file.example/simple'\n"
        "install.cert='/install.pem'\nEND\n"
    )
    with_pip.chmod(0o755)
    monkeypatch.setattr(studio, "python", lambda: str(with_pip))
    assert studio.pip_settings() == {"index-url": "https://user:word@mirror.example/simple", "cert": "/install.pem"}
