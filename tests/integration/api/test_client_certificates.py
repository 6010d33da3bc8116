"""Client certificates: what the TLS layer has verified says which host an agent's connection may speak for."""

import contextlib
import json
import ssl
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import httpx
import pytest

from api.certificates import common_name
from tests.support.agents import GPROFILER
from tests.support.api import COMPLETION, HEARTBEAT, Api, PlayedAgent, bearer
from tests.support.certificates import Authority, Pair
from tests.support.processes import ROOT, Role, eventually, free_port, started
from tests.support.refusals import check_problem


class Site(NamedTuple):
    """An API that serves https and holds agents to their certificates."""

    url: str
    folder: Path
    ours: Authority
    theirs: Authority
    log: Path

    def call(self, method: str, path: str, *, token: str | None, pair: Pair | None, **given: object) -> httpx.Response:
        context = ssl.create_default_context(cafile=str(self.ours.cert))
        if pair is not None:
            context.load_cert_chain(pair.cert, pair.key)
        with httpx.Client(base_url=self.url, verify=context, trust_env=False, timeout=20) as http:
            return http.request(method, path, headers=bearer(token), **given)  # type: ignore[arg-type]  # json or none

    def beat(self, api: Api, hostname: str, pair: Pair | None) -> httpx.Response:
        return self.call("POST", HEARTBEAT, token=api.agent, pair=pair, json=PlayedAgent(api, hostname).body())


@pytest.fixture(scope="module")
def site(bare_api: Api, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("tls")
    ours, theirs = Authority(folder, "ours"), Authority(folder, "theirs")
    server = ours.vouch("studio", address="127.0.0.1")
    port = free_port()
    argv = [
        sys.executable, "-m", "api", "--port", str(port), "--tls-cert", str(server.cert), "--tls-key", str(server.key),
        "--tls-client-ca", str(ours.cert),
    ]  # fmt: skip
    env = {"PCS_STATE_DIR": str(bare_api.state_dir)}
    with started(Role("api", argv, env=env, log=folder / "api.log")):
        made = Site(f"https://127.0.0.1:{port}", folder, ours, theirs, folder / "api.log")

        def is_ready() -> bool:
            with contextlib.suppress(httpx.TransportError):
                return made.call("GET", "/readyz", token=None, pair=None).status_code == 200
            return False

        eventually(is_ready, within=40, what="an API that serves https")
        yield made


def test_a_host_speaks_with_its_certificate_and_for_itself_alone(bare_api: Api, site: Site) -> None:
    pair = site.ours.vouch("tls-01")
    assert site.beat(bare_api, "tls-01", pair).status_code == 200
    for hostname in ("tls-02", "TLS-01", "tls-01.example"):
        refused = site.beat(bare_api, hostname, pair)
        assert refused.status_code == 403
        check_problem(refused, code="forbidden", fields=["hostname"])
        assert refused.json()["detail"].endswith("for this host: the client certificate is that of tls-01.")
    body = {"command_id": "c-1", "hostname": "tls-02", "service_name": "web", "status": "completed"}
    assert site.call("POST", COMPLETION, token=bare_api.agent, pair=pair, json=body).status_code == 403
    assert (
        site.call("POST", COMPLETION, token=bare_api.agent, pair=pair, json={**body, "hostname": "tls-01"}).status_code
        == 404
    )
    reasons = [json.loads(line).get("reason", "") for line in site.log.read_text().splitlines()]
    assert "the client certificate is that of tls-01" in reasons


@pytest.mark.parametrize("names", [None, ("tls-03", "tls-04")])
def test_an_agent_without_a_certificate_of_one_name_is_refused(
    bare_api: Api, site: Site, names: tuple[str, ...] | None
) -> None:
    pair = site.ours.vouch(*names) if names is not None else None
    refused = site.beat(bare_api, "tls-03", pair)
    assert refused.status_code == 403
    [fault] = refused.json()["errors"]
    assert fault["code"] == "credential_conflict"
    assert "the connection has no client certificate of one common name" in fault["message"]


def test_a_certificate_that_somebody_else_vouches_for_gets_no_connection(bare_api: Api, site: Site) -> None:
    with pytest.raises(httpx.TransportError):
        site.beat(bare_api, "tls-05", site.theirs.vouch("tls-05"))


def test_people_need_no_certificate(bare_api: Api, site: Site) -> None:
    assert site.call("GET", "/api/v1/hosts", token=bare_api.admin, pair=None).status_code == 200


def test_a_token_is_needed_all_the_same(site: Site, bare_api: Api) -> None:
    answer = site.call(
        "POST", HEARTBEAT, token="pcs_x", pair=site.ours.vouch("tls-06"), json=PlayedAgent(bare_api, "tls-06").body()
    )
    assert answer.status_code == 401


def test_enrolment_is_for_the_host_of_the_certificate(bare_api: Api, site: Site) -> None:
    token, _ = bare_api.make_token("enrolment", "web", max_uses=1)
    pair = site.ours.vouch("tls-07")
    for hostname, status in (("tls-08", 403), ("tls-07", 201)):
        wish = {"service_name": "web", "hostname": hostname}
        answer = site.call("POST", "/api/v1/enrol", token=token, pair=pair, json=wish)
        assert answer.status_code == status, answer.text
    bare_api.made_tokens.append(answer.json()["token"])


def test_the_agent_shows_its_certificate(bare_api: Api, site: Site, tmp_path: Path) -> None:
    pair = site.ours.vouch("tls-09")
    argv = [
        GPROFILER, "--enable-heartbeat-server", "--service-name", "web", "--hostname", "tls-09", "--api-server",
        site.url, "--ca-bundle", str(site.ours.cert), "--client-cert", str(pair.cert), "--client-key", str(pair.key),
        "--state-dir", str(tmp_path / "state"), "--heartbeat-log", str(tmp_path / "heartbeats.log"),
    ]  # fmt: skip
    env = {"NO_PROXY": "127.0.0.1", "GPROFILER_TOKEN": bare_api.agent}
    with started(Role("agent", argv, env=env, log=tmp_path / "agent.log")):
        eventually(
            lambda: bare_api.call("GET", "/api/v1/hosts/web/tls-09", token=bare_api.admin).status_code == 200,
            within=30,
            what="the beat of the agent",
        )


@pytest.mark.parametrize(
    "flags",
    [("--tls-cert", "missing.pem"), ("--tls-client-ca", "missing.pem"), ("--tls-cert", "x", "--tls-key", "x")],
)
def test_half_of_tls_is_refused_at_start(bare_api: Api, tmp_path: Path, flags: tuple[str, ...]) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "api", "--port", str(free_port()), *flags],
        env={"PCS_STATE_DIR": str(bare_api.state_dir), "PATH": ""}, cwd=ROOT, capture_output=True, text=True,
        check=False, timeout=60,
    )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].strip()
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("subject", "name"),
    [
        (((("commonName", "a"),),), "a"), ((), None), (((("commonName", "a"),), (("commonName", "b"),)), None),
        (((("organizationName", "o"),), (("commonName", "a"),)), "a"),
    ],
)  # fmt: skip
def test_a_certificate_has_one_common_name_or_none(subject: tuple[object, ...], name: str | None) -> None:
    assert common_name({"subject": subject}) == name
    assert common_name(None) is None
