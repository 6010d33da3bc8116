"""`studio` as an operator has it: the real program against the real system, each exit code for a reason of its own."""

import gzip
import json
import os
import signal
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest
from click.testing import CliRunner, Result

from cli.main import main
from formats import pprof_reading
from tests.support.played_agents import PlayedAgent, played
from tests.support.processes import eventually
from tests.support.studio import STUDIO, studio
from tests.support.system import System, running_system
from tests.support.terminals import in_terminal, screen

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(180)]

NOBODY = {"STUDIO_URL": "http://127.0.0.1:1", "STUDIO_TOKEN": "pcs_x"}


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    """A host with the real agent in the service `shop`; and a good, a bad and an endless one, played, in `mixed`."""
    with running_system(tmp_path_factory.mktemp("system")) as running:
        agents = [
            PlayedAgent(running.url, running.tokens["agent"], service="mixed", host=host, status=status, reason=reason)
            for host, status, reason in (
                ("good", "completed", ""), ("bad", "failed", "perf is not installed here"), ("endless", None, ""),
            )
        ]  # fmt: skip
        with played(*agents):
            yield running


@pytest.fixture(scope="module")
def env(system: System, tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, str]:
    home = tmp_path_factory.mktemp("home")
    return {"STUDIO_URL": system.url, "STUDIO_TOKEN": system.tokens["admin"], "XDG_CONFIG_HOME": str(home)}


def quick(*words: str, env: Mapping[str, str]) -> Result:
    """The same program within this process: for what is no matter of a process of its own, which takes a second."""
    return CliRunner().invoke(main, words, env=env)


def test_a_profile_of_a_real_process_comes_with_its_flame_graph_in_every_format(
    system: System, env: Mapping[str, str], tmp_path: Path
) -> None:
    files = [tmp_path / f"flame.{ending}" for ending in ("svg", "html", "pb.gz", "json", "collapsed")]
    done = studio(
        "profile", "shop", "--host", "host-1", "--pid", str(system.sample_pid), "--duration", "2s", "--frequency", "99",
        *(word for file in files for word in ("-o", str(file))), env=env,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "host-1: running" in done.stderr
    assert "\x1b" not in done.stdout + done.stderr
    assert "host-1  completed" in done.stdout
    svg, html, pb, tree, collapsed = files
    assert "crunch_numbers" in svg.read_text()
    assert "<html" in html.read_text()
    assert "crunch_numbers" in collapsed.read_text()
    assert json.loads(tree.read_text())["samples"] > 50
    assert pprof_reading.read([gzip.decompress(pb.read_bytes())], most_stacks=100_000).stacks
    request_id = done.stdout.split()[1].rstrip(":")
    again = quick("requests", "flame", request_id, "-o", str(tmp_path / "again.svg"), env=env)
    assert (again.exit_code, again.stdout) == (0, f"{tmp_path / 'again.svg'}\n")

    browser = tmp_path / "browser"
    browser.write_text(f'#!/bin/sh\necho "$1" >{tmp_path}/asked\n')
    browser.chmod(0o700)
    words = ("profile", "shop", "--sample", "1", "--pid", str(system.sample_pid), "--duration", "1s", "--open")
    opened = studio(*words, env={**env, "BROWSER": f"{browser} %s"})
    assert opened.returncode == 0, opened.stderr
    page = Path(urlsplit((tmp_path / "asked").read_text().strip()).path)
    assert f"studio: opened {page}" in opened.stderr
    assert (page.read_bytes()[:15].lower(), page.stat().st_mode & 0o077) == (b"<!doctype html>", 0)
    page.unlink()


def test_a_host_that_fails_says_why_and_the_exit_code_is_1(env: Mapping[str, str]) -> None:
    done = studio("profile", "mixed", "--host", "bad", "--duration", "1s", "-q", env=env)
    assert done.returncode == 1
    assert "bad   failed   perf is not installed here" in done.stdout
    assert done.stderr == "no flame graph on the server\n"


def test_where_only_some_hosts_are_done_the_exit_code_is_5(env: Mapping[str, str]) -> None:
    done = studio(
        "profile", "mixed", "--host", "good", "--host", "bad", "--duration", "1s", "-o", "json", env=env
    )  # fmt: skip
    assert done.returncode == 5, done.stderr
    told = json.loads(done.stdout)
    assert (told["exit_code"], told["counts"]) == (5, {"completed": 1, "failed": 1})
    assert "bad: failed (perf is not installed here)" in done.stderr
    assert quick("requests", "follow", told["request_id"], env=env).exit_code == 5


def test_who_waits_too_long_is_told_that_it_goes_on_and_may_cancel_it(env: Mapping[str, str]) -> None:
    done = studio(
        "profile", "mixed", "--host", "endless", "--duration", "300s", "--timeout", "2s", "-o", "json", env=env
    )
    assert done.returncode == 4
    request_id = json.loads(done.stdout)["request_id"]
    assert f"studio cancel {request_id}" in done.stderr
    cancelled = quick("cancel", request_id, env=env)
    assert (cancelled.exit_code, cancelled.stdout) == (0, "Cancelling on 1 host\n")
    followed = quick("requests", "follow", request_id, env=env)
    assert followed.exit_code == 1
    assert "cancelled" in followed.stdout


def test_ctrl_c_ends_the_waiting_alone(system: System, env: Mapping[str, str]) -> None:
    command = [STUDIO, "profile", "mixed", "--host", "endless", "--duration", "300s"]
    environment = {**os.environ, **env}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)
    assert process.stderr is not None
    request_id = process.stderr.readline().split()[2]
    process.send_signal(signal.SIGINT)
    out, told = process.communicate(timeout=60)
    assert (process.returncode, out) == (130, "")
    assert f"request {request_id} goes on" in told
    shown = system.status(request_id)
    assert shown is not None
    assert shown["status"] in {"submitted", "pending", "delivered", "received", "running"}
    stopped = quick("stop", "mixed", "--host", "endless", env=env)
    assert stopped.exit_code == 0, stopped.stderr
    eventually(lambda: (system.status(request_id) or {}).get("status") == "stopped", within=30, what="the stop")


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("hosts", "list"), 3), (("profile", "shop"), 2),
    ],
)  # fmt: skip
def test_nobody_there_is_3_and_what_cannot_be_meant_is_2(words: tuple[str, ...], code: int) -> None:
    done = studio(*words, env=NOBODY)
    assert (done.returncode, done.stdout) == (code, "")


def test_what_the_server_refuses_is_2_where_it_can_never_be_and_3_where_it_may_not_be(env: Mapping[str, str]) -> None:
    assert quick("requests", "show", "no-such", env=env).exit_code == 2
    assert quick("profile", "shop", "--all", "--duration", "0s", env=env).exit_code == 2
    refused = quick("hosts", "list", env={**env, "STUDIO_TOKEN": "pcs_unknown"})
    assert refused.exit_code == 3
    assert "pcs_unknown" not in refused.stdout + refused.stderr


def test_every_list_is_json_for_programs_and_fits_a_terminal_of_80_columns(env: Mapping[str, str]) -> None:
    for words in (("hosts", "list"), ("requests", "list"), ("commands", "list"), ("dead-letters", "list")):
        as_json = quick(*words, "-o", "json", env=env)
        assert as_json.exit_code == 0, as_json.stderr
        lines = [json.loads(line) for line in quick(*words, "-o", "ndjson", env=env).stdout.splitlines()]
        assert {tuple(sorted(row)) for row in lines} == {tuple(sorted(row)) for row in json.loads(as_json.stdout)}
    code, said = in_terminal([STUDIO, "requests", "list"], env)
    assert code == 0
    assert max(map(len, screen(said).splitlines())) <= 80, said
    assert "\nmixed " in quick("top", env=env).stdout
    assert "good of mixed" in quick("hosts", "show", "mixed", "good", env=env).stdout


def test_a_tail_goes_on_from_the_event_that_was_read_last(system: System, env: Mapping[str, str]) -> None:
    with httpx.stream("GET", f"{system.url}/api/v1/events", headers=system.as_admin, timeout=30) as stream:
        here = next(line for line in stream.iter_lines() if line.startswith("id: ")).removeprefix("id: ")
    asked = quick("profile", "mixed", "--host", "good", "--duration", "1s", "-o", "json", "-q", env=env)
    request_id = json.loads(asked.stdout)["request_id"]
    tail = ("results", "tail", "--request", request_id, "-o", "ndjson")
    whole = [json.loads(line) for line in quick(*tail, "--after", here, "-n", "3", env=env).stdout.splitlines()]
    assert [event["hostname"] for event in whole] == ["good"] * 3
    rest = quick(*tail, "--after", whole[0]["id"], "-n", "2", env=env).stdout.splitlines()
    assert [_without_id(json.loads(line)) for line in rest] == [_without_id(event) for event in whole[1:]]


def _without_id(event: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in event.items() if name != "id"}


def test_a_shell_completes_services_and_hosts_from_the_server(env: Mapping[str, str]) -> None:
    words = {"_STUDIO_COMPLETE": "bash_complete", "COMP_WORDS": "studio profile mixed --host e", "COMP_CWORD": "4"}

    def completes_to(*wanted: str) -> bool:
        """Nothing comes of a key where the server takes a second, as on a busy machine: one presses it again."""
        return sorted(studio(env={**env, **words}).stdout.split()) == [f"plain,{word}" for word in wanted]

    eventually(lambda: completes_to("endless"), within=60, what="the host")
    words |= {"COMP_WORDS": "studio profile ", "COMP_CWORD": "2"}
    eventually(lambda: completes_to("mixed", "shop"), within=60, what="the services")
    assert studio(env={**NOBODY, **words}).stdout.strip() == ""
    for shell in ("bash", "zsh", "fish"):
        assert "_STUDIO_COMPLETE" in quick("completion", shell, env=env).stdout
