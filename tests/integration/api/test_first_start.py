"""The first start makes the tokens; later starts and other processes keep to them."""

import concurrent.futures
import json
import os
import signal
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest

from api.app import create_app
from api.first_tokens import read_or_make
from api.routes.console import PAGES
from api.settings import ApiSettings
from tests.support.api import TOKENS, Api, bearer, running_api
from tests.support.processes import ROOT, eventually, free_port
from tests.support.routes import ROUTES


def on_the_broker_of(api: Api) -> dict[str, str]:
    """A state directory of one's own, on a broker that runs already."""
    return {"PCS_REDIS_URL": api.settings.url}


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_two_processes_that_start_together_agree(bare_api: Api, tmp_path: Path) -> None:
    env = on_the_broker_of(bare_api)
    with running_api(tmp_path, env=env, until=None, log="one.log") as one:
        with running_api(tmp_path, env=env, log="two.log") as two:
            eventually(one.is_ready, within=40, what="the first one")
            secrets = one.secrets
            assert sorted(secrets) == ["admin", "agent"]
            assert stat.S_IMODE((tmp_path / "tokens.json").stat().st_mode) == 0o600
            for api in (one, two):
                assert api.ok("GET", TOKENS, token=secrets["admin"])

            secret, token_id = one.make_token("viewer", "*")
            assert two.call("GET", "/api/v1/hosts", token=secret).status_code == 200
            one.ok("DELETE", f"{TOKENS}/{token_id}", token=secrets["admin"])
            eventually(
                lambda: two.call("GET", "/api/v1/hosts", token=secret).status_code == 401,
                within=5,
                what="a revocation in the other process",
            )
            two.role.process.send_signal(signal.SIGINT)
            assert two.role.process.wait(30) == 0
            two.check_log()
            assert "KeyboardInterrupt" not in two.log
        assert one.secrets == secrets
        one.check_log()
    assert names_in(tmp_path) == ["one.log", "tokens.json", "two.log"]


def test_a_later_start_keeps_to_the_tokens_of_the_first(tmp_path: Path) -> None:
    first = read_or_make(tmp_path)
    written = (tmp_path / "tokens.json").stat()
    assert read_or_make(tmp_path) == first
    assert (tmp_path / "tokens.json").stat() == written


def test_many_that_make_the_tokens_at_once_get_the_same_ones(tmp_path: Path) -> None:
    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        found = list(pool.map(lambda _: read_or_make(tmp_path / "state"), range(64)))
    assert all(secrets == found[0] for secrets in found)
    assert names_in(tmp_path / "state") == ["tokens.json"]
    assert stat.S_IMODE((tmp_path / "state").stat().st_mode) == 0o700


def start(*flags: str, state_dir: Path, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "api", "--port", str(free_port()), *flags],
        env={**os.environ, "PCS_STATE_DIR": str(state_dir), **env}, cwd=ROOT, capture_output=True, text=True,
        timeout=60, check=False,
    )  # fmt: skip


@pytest.mark.parametrize(
    "content",
    [
        "",
        "pcs_topsecret",
        "{}",
        "[]",
        '{"admin": " ", "agent": "pcs_topsecret"}',
        '{"admin": "pcs_topsecret"}',
        '{"admin": 1, "agent": "pcs_topsecret"}',
    ],
)
def test_a_tokens_file_that_is_not_ours_is_not_replaced(tmp_path: Path, content: str) -> None:
    path = tmp_path / "tokens.json"
    path.write_text(content)
    with pytest.raises(ValueError, match=r"tokens\.json") as refused:
        read_or_make(tmp_path)
    assert "topsecret" not in str(refused.value)
    assert path.read_text() == content


def test_a_start_that_cannot_be_says_why_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "tokens.json").write_text("{}")
    done = start(state_dir=tmp_path)
    assert done.returncode == 1
    assert done.stderr.startswith("api: ")
    assert "tokens.json" in done.stderr
    assert "Traceback" not in done.stderr


async def test_without_authentication_everybody_is_admin(bare_api: Api, tmp_path: Path) -> None:
    settings = ApiSettings(state_dir=tmp_path, insecure_no_auth=True)
    app = create_app(settings, bare_api.settings)
    transport = httpx.ASGITransport(app)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://studio") as http,
    ):
        assert (await http.get("/api/v1/hosts")).status_code == 200
        assert (await http.get(TOKENS, headers=bearer("nonsense"))).status_code == 200
    assert not (tmp_path / "tokens.json").exists()


def test_the_openapi_document_holds_together(bare_api: Api) -> None:
    """Every reference in it resolves: some bodies are documented by hand."""
    document = bare_api.http.get("/openapi.json").json()

    def references(node: Any) -> set[str]:
        if isinstance(node, dict):
            own = {node["$ref"]} if isinstance(node.get("$ref"), str) else set()
            return own.union(*(references(child) for child in node.values()))
        return set().union(*(references(child) for child in node)) if isinstance(node, list) else set()

    known = {f"#/components/schemas/{name}" for name in document["components"]["schemas"]}
    assert references(document) <= known
    assert json.dumps(document["paths"]["/api/metrics/profile_request"]).count("target_hostnames") >= 1
    told = {(method.upper(), path) for path, calls in document["paths"].items() for method in calls}
    no_calls = ("/docs", "/openapi", "/assets/", "/speedscope", "/sign-in/")
    assert told == {(method, path) for method, path in ROUTES if path not in PAGES and not path.startswith(no_calls)}
    for method, path in told:
        needs_token = "security" in document["paths"][path][method.lower()]
        assert needs_token == (ROUTES[method, path].kinds is not None), path


@pytest.mark.parametrize("mode", [0o620, 0o602, 0o666])
def test_tokens_that_somebody_else_may_have_written_are_refused(tmp_path: Path, mode: int) -> None:
    secret = read_or_make(tmp_path)["admin"]
    (tmp_path / "tokens.json").chmod(mode)
    with pytest.raises(ValueError, match="belong to this user") as refused:
        read_or_make(tmp_path)
    assert secret not in str(refused.value)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_tokens_that_belong_to_somebody_else_are_refused(tmp_path: Path) -> None:
    read_or_make(tmp_path)
    os.chown(tmp_path / "tokens.json", 65_534, 65_534)
    with pytest.raises(ValueError, match="belong to this user"):
        read_or_make(tmp_path)


def test_tokens_that_others_may_only_read_are_taken(tmp_path: Path) -> None:
    made = read_or_make(tmp_path)
    (tmp_path / "tokens.json").chmod(0o640)  # as a mounted secret is
    assert read_or_make(tmp_path) == made
