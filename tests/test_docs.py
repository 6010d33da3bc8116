"""What the docs say is true: links lead somewhere, commands and options exist, the README's first profile works."""

import itertools
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import click
import pytest
import yaml

from agent import host, surroundings
from agent.cli import gprofiler
from agent.inventory import PodName
from api.settings import ApiSettings
from broker.embedded import CONFIG
from broker.settings import BrokerSettings
from cli.client import StudioClient
from cli.main import COMMANDS, main
from protocol.lifecycle import OUTCOMES
from tests.support.processes import eventually
from tests.support.studio import studio_up
from tools.write_agent_options import page as page_of_options
from workers.__main__ import ALONE, JOBS, LOOPED
from workers.settings import WorkerSettings

ROOT = Path(__file__).parents[1]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "changes").glob("*.md")])
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "compose.yaml").read_text())
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")


def name(page: Path) -> str:
    return str(page.relative_to(ROOT))


def blocks(page: Path, language: str) -> list[str]:
    return [text for kind, text in BLOCK.findall(page.read_text()) if kind == language]


def anchors(page: Path) -> set[str]:
    """The anchors GitHub makes of headings."""
    headings = re.findall(r"^#+ (.+)$", BLOCK.sub("", page.read_text()), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_link_leads_somewhere(page: Path) -> None:
    for link in LINK.findall(BLOCK.sub("", page.read_text())):
        if link.startswith(("http://", "https://")):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), f"{name(page)} links to {link}"
        assert not anchor or anchor in anchors(target), f"{name(page)} links to {link}"


def test_every_page_can_be_reached_from_the_index() -> None:
    reached, waiting = set[Path](), [ROOT / "docs" / "index.md"]
    while waiting:
        page = waiting.pop()
        if page in reached or page.suffix != ".md":
            continue
        reached.add(page)
        links = [link.partition("#")[0] for link in LINK.findall(page.read_text()) if "://" not in link]
        waiting += [target for link in links if (target := (page.parent / link).resolve()).is_file()]
    assert not {name(page) for page in (ROOT / "docs").rglob("*.md")} - {name(page) for page in reached}


def test_the_index_has_every_decision() -> None:
    listed = {link for link in LINK.findall((ROOT / "docs" / "index.md").read_text()) if link.endswith(".md")}
    assert {f"decisions/{page.name}" for page in (ROOT / "docs" / "decisions").glob("*.md")} <= listed


# Commands -------------------------------------------------------------------------------------------------------------


def command_lines(page: Path) -> Iterator[list[str]]:
    """The words of each command in a page's shell blocks, and of what is in backticks in its prose."""
    for text in blocks(page, "bash"):
        for line in re.sub(r"\\\n\s*", " ", text).splitlines():
            for part in re.split(r"[|;]|\$\(|\)", line.partition("    #")[0]):
                yield part.split()
    for text in re.findall(r"`((?:python3 studio\.py|studio|gprofiler) [^`]+)`", BLOCK.sub("", page.read_text())):
        yield text.split("|")[0].split()


def after(words: Sequence[str], *programs: str) -> list[str] | None:
    """What follows one of these programs in a command line."""
    for number, word in enumerate(words):
        if word in programs:
            return list(words[number + 1 :])
    return None


def options_of(command: click.Command) -> set[str]:
    return {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)} | {
        "--help"
    }


def test_every_studio_command_in_the_docs_exists_with_its_options() -> None:
    seen = set[str]()
    for page in PAGES:
        for words in command_lines(page):
            rest = after(words, "studio.py", "studio", ".venv/bin/studio")
            if not rest or rest[0] == "COMMAND" or not re.fullmatch(r"[a-z-]+", rest[0]):
                continue
            verb, options = rest[0], [word for word in rest[1:] if word.startswith("-")]
            seen.add(verb)
            if verb in {"setup", "test"}:
                assert set(options) <= {"--dev"}, f"{name(page)}: {words}"
                continue
            assert verb in COMMANDS, f"{name(page)}: {words}"
            if verb == "check":
                continue  # what it does not know goes to pytest
            command = main.get_command(click.Context(main), verb)
            assert command is not None
            if isinstance(command, click.Group) and rest[1:] and rest[1] in command.commands:
                command = command.commands[rest[1]]
            assert set(options) <= options_of(command), f"{name(page)}: {words}"
    assert seen >= {*COMMANDS, "setup", "test"}, "a command that no page tells of"


def test_every_gprofiler_option_in_the_docs_exists() -> None:
    seen = 0
    for page in PAGES:
        for words in command_lines(page):
            rest = after(words, "gprofiler", ".venv/bin/gprofiler") or []
            options = {word.partition("=")[0] for word in rest if word.startswith("-")}
            assert options <= options_of(gprofiler), f"{name(page)}: {words}"
            seen += len(options)
    assert seen > 5


def test_the_page_of_the_agents_options_is_as_the_agent_declares_them() -> None:
    assert (ROOT / "docs" / "agent-options.md").read_text() == page_of_options(), "run tools/write_agent_options.py"


def test_every_setting_in_the_docs_exists() -> None:
    known = {
        f"PCS_{field.upper()}"
        for settings in (ApiSettings, BrokerSettings, WorkerSettings)
        for field in settings.model_fields
    }
    known.add("PCS_CONFIG_FILE")  # says where the others are
    known.update({"PCS_LIMIT_"})  # "PCS_LIMIT_…": any of them
    of_tests = {"PCS_CHAOS_ROUNDS", "PCS_CHAOS_SEED", "PCS_CHAOS_REPORT", "PCS_CHAOS_FAULTS"}
    told = {page: set(re.findall(r"PCS_[A-Z_]+", page.read_text())) for page in PAGES}
    assert not {name(page): names - known - of_tests for page, names in told.items() if names - known - of_tests}
    operations = told[ROOT / "docs" / "operations.md"]
    assert known - operations <= {"PCS_INSECURE_NO_AUTH"}, "a setting that operators are not told of"


def test_every_outcome_is_told_of() -> None:
    architecture = (ROOT / "docs" / "architecture.md").read_text()
    listed = re.search(r"The outcomes are `([a-z_ ]+)`", architecture)
    assert listed is not None
    assert set(listed[1].split()) == set(OUTCOMES)


def test_every_path_in_the_docs_is_one_of_the_api() -> None:
    from api.app import create_app  # noqa: PLC0415 - only this test needs the whole app

    paths = set(create_app(ApiSettings(), BrokerSettings()).openapi()["paths"]) | {
        "/docs",
        "/openapi.json",
        "/api/v1/ws",
    }
    shapes = [re.compile(re.sub(r"\\\{[^}]*\\\}", "[^/]+", re.escape(path))) for path in paths]
    for page in PAGES:
        found = re.findall(r"(?<![\w.])/(?:api/[\w/{}$]+|healthz|readyz|docs|openapi\.json)\b\}?", page.read_text())
        for path in (path.rstrip("/") for path in found):
            is_start = any(known.startswith(f"{path}/") for known in paths)  # "the calls under /api/metrics"
            assert is_start or any(shape.fullmatch(path) for shape in shapes), f"{name(page)}: {path}"


def test_a_shell_block_of_the_readme_is_shell() -> None:
    for text in blocks(ROOT / "README.md", "bash"):
        subprocess.run(["bash", "-n"], input=text.replace("…", "x"), text=True, check=True, timeout=60)


# Containers -----------------------------------------------------------------------------------------------------------


def test_the_containers_run_our_command_lines() -> None:
    services = COMPOSE["services"]
    assert services["api"]["command"][:3] == ["python", "-m", "api"]
    assert services["merger"]["command"] == ["python", "-m", "workers", *LOOPED]
    assert services["jobs"]["command"] == ["python", "-m", "workers", JOBS]
    for role in ALONE:
        assert services[role]["command"] == ["python", "-m", "workers", role]
        assert services[role]["healthcheck"]["test"][-1] == role
    assert services["merger"]["healthcheck"]["test"][-len(LOOPED) :] == list(LOOPED)
    known = options_of(gprofiler)
    assert {word for word in services["agent"]["command"] if word.startswith("-")} <= known
    flags = subprocess.run(
        [sys.executable, "-m", "api", "--help"], capture_output=True, text=True, check=True, timeout=60
    )
    for word in services["api"]["command"]:
        assert not word.startswith("--") or word in flags.stdout


@pytest.mark.parametrize("service", ["api", "merger", "jobs", *ALONE])
def test_a_healthcheck_is_python(service: str) -> None:
    test = COMPOSE["services"][service]["healthcheck"]["test"]
    assert test[:3] == ["CMD", "python", "-c"]
    compile(test[3], service, "exec")


def test_the_container_of_the_broker_keeps_data_as_our_own_does() -> None:
    words = COMPOSE["services"]["valkey"]["command"][1:]
    given = {words[number].removeprefix("--"): words[number + 1] for number in range(0, len(words), 2)}
    own = dict(line.split(" ", 1) for line in CONFIG.splitlines() if line and not line.startswith("#"))
    assert given == {name: own[name].format(fsync="always").strip('"') for name in given}
    assert set(own) - set(given) == {"port", "unixsocket", "unixsocketperm", "dir", "daemonize"}


def test_no_container_of_ours_has_more_than_it_needs() -> None:
    for service in ("api", "merger", "jobs", *ALONE):
        facts = COMPOSE["services"][service]
        assert facts["read_only"] is True
        assert facts["cap_drop"] == ["ALL"]
        assert not {"privileged", "pid"} & set(facts)
        assert not [key for key in facts["environment"] if re.search("TOKEN|PASSWORD|SECRET", key)]
    assert COMPOSE["networks"]["broker"] == {"internal": True}
    assert "ports" not in COMPOSE["services"]["valkey"]
    assert COMPOSE["services"]["agent"]["profiles"] == ["agent"]


# What the agent reads of the host, by its own constants; what is below /proc it sees in the host's pid namespace.
OF_EVERY_HOST = {str(host._MACHINE_ID)}
OF_A_NODE = {str(surroundings._LOGS), str(surroundings._LOG_FOLDERS)}


def test_the_agents_container_sees_what_the_agent_reads_and_keeps_what_it_writes() -> None:
    facts = COMPOSE["services"]["agent"]
    given = dict(itertools.pairwise(facts["command"]))
    assert (facts["pid"], facts["cgroup"], facts["network_mode"], facts["privileged"]) == ("host", "host", "host", True)
    binds = [each for each in facts["volumes"] if isinstance(each, dict)]
    assert {each["source"] for each in binds} == {each["target"] for each in binds} == OF_EVERY_HOST
    for each in binds:
        assert each["read_only"] is True
        assert each["bind"] == {"create_host_path": False}, "what is not there must not be made on the host"
    kept = {each.split(":")[1] for each in facts["volumes"] if isinstance(each, str)}
    assert given["--state-dir"] in kept
    assert any(given["--output-dir"].startswith(f"{path}/") for path in kept)
    assert given["--token-file"] == f"/run/secrets/{facts['secrets'][0]}"
    assert {"--state-dir", "--output-dir", "--token-file"} <= options_of(gprofiler)


def test_the_pod_in_the_agents_page_sees_what_the_agent_reads() -> None:
    (text,) = blocks(ROOT / "docs" / "agent.md", "yaml")
    pod = yaml.safe_load(text)
    (container,) = pod["containers"]
    assert (pod["hostPID"], pod["hostNetwork"], container["securityContext"]["privileged"]) == (True, True, True)
    places = {each["name"]: each["hostPath"]["path"] for each in pod["volumes"]}
    mounts = {each["mountPath"]: each for each in container["volumeMounts"]}
    assert {path: places[each["name"]] for path, each in mounts.items()} == {path: path for path in mounts}
    assert {path for path, each in mounts.items() if each.get("readOnly")} == OF_EVERY_HOST | OF_A_NODE
    given = {each["name"]: each.get("value") for each in container["env"]}
    assert given["GPROFILER_STATE_DIR"] in mounts
    own = {name for name in given if not name.startswith("GPROFILER_")}
    pod_name = surroundings.own_pod(dict.fromkeys(own, "x"))
    assert pod_name == PodName("x", "x"), "the agent finds out its own pod by these variables"
    options = {f"GPROFILER_{option.removeprefix('--').upper().replace('-', '_')}" for option in options_of(gprofiler)}
    assert {name for name in given if name.startswith("GPROFILER_")} <= options


def test_the_image_is_built_from_what_is_there() -> None:
    dockerfile = (ROOT / "Dockerfile").read_text()
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    for sources in re.findall(r"^COPY (?!--from)(.+) \S+$", dockerfile, re.MULTILINE):
        for source in sources.split():
            assert (ROOT / source).exists()
            assert f"!{source}" in ignored
    stages = set(re.findall(r"^FROM \S+ AS (\w+)$", dockerfile, re.MULTILINE))
    for service in COMPOSE["services"].values():
        assert "build" not in service or service["build"]["target"] in stages
    pinned = re.search(r"^UV_VERSION = \"(.+)\"$", (ROOT / "studio.py").read_text(), re.MULTILINE)
    assert pinned is not None
    assert f"uv:{pinned[1]} " in dockerfile


# The README's first profile, as it stands there -----------------------------------------------------------------------


@pytest.mark.e2e
@pytest.mark.timeout(240)
@pytest.mark.skipif(shutil.which("curl") is None, reason="the README's commands use curl")
def test_the_readmes_first_profile_works_as_written(tmp_path: Path) -> None:
    section = (ROOT / "README.md").read_text().partition("## Your first profile")[2].partition("\n## ")[0]
    starts, *commands = [text for _, text in BLOCK.findall(section)]
    assert starts == "python3 studio.py up\n"
    assert len(commands) == 4
    with studio_up(tmp_path) as up, StudioClient(up.url, up.state.token("admin")) as client:
        eventually(client.hosts, within=30, what="the agent's first heartbeat")
        environment = {"PATH": "/usr/local/bin:/usr/bin:/bin", "PCS_STATE_DIR": str(up.state)}
        said = []
        for text in commands:
            script = text.replace("http://127.0.0.1:8000", up.url).replace(
                "-o flamegraph.html", f"-o {tmp_path}/merged.html"
            )
            done = subprocess.run(
                ["bash", "-euo", "pipefail", "-c", script], cwd=ROOT, env=environment, capture_output=True, text=True,
                check=False, timeout=60,
            )  # fmt: skip
            assert done.returncode == 0, f"{script}\n{done.stdout}\n{done.stderr}"
            said.append(done.stdout)
        assert '"status":"online"' in said[0]
        submitted = re.search(r'"request_id":"([0-9a-f-]+)"', said[1])
        assert submitted is not None, said[1]
        status = '"status":"stopped"'
        request = f"{up.url}/api/v1/requests/{submitted[1]}"
        eventually(lambda: status in _get(request, up.state.token("admin")), within=60, what="the stop of the run")
        newest = up.state.profiles / "last_flamegraph.html"
        eventually(newest.exists, within=30, what="the flame graph of what was sampled")
        assert "<html" in (tmp_path / "merged.html").read_text()


def _get(url: str, token: str | None) -> str:
    import httpx  # noqa: PLC0415 - only here

    return httpx.get(url, headers={"Authorization": f"Bearer {token}"}, timeout=10).text
