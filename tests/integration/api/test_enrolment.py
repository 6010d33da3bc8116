"""Enrolment: a token buys one host a credential of its own, and a copy of it is refused and reported."""

import asyncio
import contextlib
import hashlib
import itertools
import json
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import redis

from broker import keys
from broker.connection import Broker
from broker.token_store import new_secret
from protocol.names import HostKey
from tests.support.agents import GPROFILER
from tests.support.api import COMPLETION, HEARTBEAT, TOKENS, Api, PlayedAgent, talking_to
from tests.support.processes import Role, eventually, started
from tests.support.refusals import Bad, as_json, check_problem, check_refused

ENROL = "/api/v1/enrol"
NO_NAMES: tuple[Any, ...] = (None, "", " ", 1, "a\0", "x" * 257)
_numbers = itertools.count(1)


@pytest.fixture
def hostname() -> str:
    return f"enrolled-{next(_numbers)}"


def enrolment_token(api: Api, *, uses: int = 1, service: str = "web") -> str:
    return api.make_token("enrolment", service, max_uses=uses)[0]


def enrol(api: Api, token: str, hostname: str, **said: Any) -> httpx.Response:
    answer = api.call("POST", ENROL, token=token, json={"service_name": "web", "hostname": hostname, **said})
    if answer.status_code == 201 and answer.json()["token"]:
        api.made_tokens.append(answer.json()["token"])
    return answer


def credential(api: Api, hostname: str, **said: Any) -> tuple[str, str]:
    """A host's own credential and its id."""
    answer = enrol(api, enrolment_token(api), hostname, **said)
    assert answer.status_code == 201, answer.text
    return answer.json()["token"], answer.json()["token_id"]


def beat(api: Api, token: str, hostname: str, **said: Any) -> httpx.Response:
    body = PlayedAgent(api, hostname).body(**said)
    return api.call("POST", HEARTBEAT, token=token, json=body)


def events_of(api: Api, hostname: str) -> list[dict[str, str]]:
    """The conflicts that were told of a host."""
    host = HostKey("default", "web", hostname)
    at = keys.place(host, Broker(api.settings).partitions)
    with redis.Redis.from_url(api.settings.url, decode_responses=True) as client:
        entries: Any = client.xrange(keys.events(at.partition))
    return [
        fields for _, fields in entries if fields["kind"] == "credential_conflict" and fields["hostname"] == hostname
    ]


def check_conflict(answer: httpx.Response) -> None:
    assert answer.status_code == 403, answer.text
    check_problem(answer, code="forbidden", fields=["hostname"])
    assert answer.json()["errors"][0]["code"] == "credential_conflict"


def test_a_host_buys_a_credential_and_speaks_with_it(bare_api: Api, hostname: str) -> None:
    secret, token_id = credential(bare_api, hostname)
    assert beat(bare_api, secret, hostname).status_code == 200
    shown = bare_api.ok("GET", f"/api/v1/hosts/web/{hostname}", token=bare_api.admin)
    assert (shown["owner"], shown["enrolled"]) == (token_id, True)
    token = bare_api.ok("GET", f"{TOKENS}/{token_id}", token=bare_api.admin)
    assert (token["kind"], token["services"], token["hostname"]) == ("agent", ["web"], hostname)
    assert bare_api.call("GET", "/api/v1/hosts", token=secret).status_code == 403, "an agent's rights and no more"


def test_an_enrolment_token_enrols_as_many_hosts_as_it_may_and_does_nothing_else(bare_api: Api, hostname: str) -> None:
    token = enrolment_token(bare_api, uses=2)
    token_id = bare_api.ok("GET", f"{TOKENS}/self", token=token)["id"]
    assert enrol(bare_api, token, f"{hostname}-a").status_code == 201
    assert enrol(bare_api, token, f"{hostname}-b").status_code == 201
    spent = enrol(bare_api, token, f"{hostname}-c")
    assert (spent.status_code, spent.json()["errors"][0]["code"]) == (403, "spent")
    shown = bare_api.ok("GET", f"{TOKENS}/{token_id}", token=bare_api.admin)
    assert (shown["uses"], shown["max_uses"]) == (2, 2)
    assert beat(bare_api, token, hostname).status_code == 403
    assert enrol(bare_api, enrolment_token(bare_api, service="db"), hostname).status_code == 403


def test_a_host_that_makes_its_own_secret_may_ask_again_and_pays_once(bare_api: Api, hostname: str) -> None:
    token, secret = enrolment_token(bare_api), new_secret()
    bare_api.made_tokens.append(secret)
    asked = {"credential_sha256": hashlib.sha256(secret.encode()).hexdigest()}
    first = enrol(bare_api, token, hostname, **asked)
    again = enrol(bare_api, token, hostname, **asked)
    assert (first.status_code, again.status_code) == (201, 201)
    assert first.json() == again.json()
    assert first.json()["token"] is None
    assert beat(bare_api, secret, hostname).status_code == 200


async def test_of_many_who_enrol_one_host_at_once_one_gets_it(bare_api: Api, hostname: str) -> None:
    token = enrolment_token(bare_api, uses=10)
    body = {"service_name": "web", "hostname": hostname}
    async with talking_to(bare_api, token) as client:
        answers = await asyncio.gather(*(client.post(ENROL, json=body) for _ in range(8)))
    assert sorted(answer.status_code for answer in answers) == [201, *[409] * 7]
    bare_api.made_tokens += [answer.json()["token"] for answer in answers if answer.status_code == 201]


def test_a_copied_credential_used_for_a_second_host_is_refused_and_reported(bare_api: Api, hostname: str) -> None:
    secret, token_id = credential(bare_api, hostname)
    second = f"{hostname}-copy"
    for answer in (beat(bare_api, secret, second), beat(bare_api, secret, hostname, service_name="web-2")):
        assert answer.status_code == 403
    check_conflict(beat(bare_api, secret, second))
    (told,) = events_of(bare_api, second)
    assert told["credential"] == token_id
    lines = [json.loads(line) for line in bare_api.log.splitlines()]
    assert [line for line in lines if line["event"] == "credential conflict" and line["token_id"] == token_id]
    body = {"command_id": "c-1", "hostname": second, "service_name": "web", "status": "completed"}
    check_conflict(bare_api.call("POST", COMPLETION, token=secret, json=body))


@pytest.mark.parametrize("said", [{}, {"host_id": "machine-2"}, {"host_id": "Machine-1"}])
def test_a_copied_credential_used_from_another_machine_is_refused_and_reported(
    bare_api: Api, hostname: str, said: dict[str, str]
) -> None:
    secret, token_id = credential(bare_api, hostname, host_id="machine-1")
    assert beat(bare_api, secret, hostname, host_id="machine-1").status_code == 200
    check_conflict(beat(bare_api, secret, hostname, **said))
    (told,) = events_of(bare_api, hostname)
    assert (told["credential"], told["owner"]) == (token_id, token_id)


def test_an_enrolled_host_refuses_every_other_token(bare_api: Api, hostname: str) -> None:
    assert beat(bare_api, bare_api.agent, hostname).status_code == 200
    secret, _ = credential(bare_api, hostname)
    assert beat(bare_api, secret, hostname).status_code == 200, "it takes over what a shared token had"
    for other in (bare_api.agent, bare_api.admin, bare_api.make_token("agent", "web")[0]):
        check_conflict(beat(bare_api, other, hostname))
    assert len(events_of(bare_api, hostname)) == 1
    bare_api.check_log()


def test_a_shared_token_keeps_its_hosts_when_it_is_rotated_and_loses_them_when_it_is_revoked(
    bare_api: Api, hostname: str
) -> None:
    secret, token_id = bare_api.make_token("agent", "*")
    other, _ = bare_api.make_token("agent", "*")
    assert beat(bare_api, secret, hostname).status_code == 200
    check_conflict(beat(bare_api, other, hostname))
    rotated = bare_api.ok("POST", f"{TOKENS}/{token_id}/rotate", token=bare_api.admin, json={"overlap": 60})["token"]
    bare_api.made_tokens.append(rotated)
    for good in (rotated, secret):
        assert beat(bare_api, good, hostname).status_code == 200
    bare_api.ok("DELETE", f"{TOKENS}/{token_id}", token=bare_api.admin)
    assert beat(bare_api, other, hostname).status_code == 200


def test_a_released_host_may_be_enrolled_anew_and_its_old_credential_is_worthless(bare_api: Api, hostname: str) -> None:
    secret, token_id = credential(bare_api, hostname)
    beat(bare_api, secret, hostname)
    taken = enrol(bare_api, enrolment_token(bare_api), hostname)
    assert taken.status_code == 409
    check_problem(taken, code="conflict", fields=["hostname"])
    path = f"/api/v1/hosts/web/{hostname}/owner"
    released = bare_api.ok("DELETE", path, token=bare_api.admin)
    assert (released["owner"], released["revoked"]) == (token_id, token_id)
    again = bare_api.ok("DELETE", path, token=bare_api.admin)
    assert (again["owner"], again["revoked"]) == (None, None)
    after, _ = credential(bare_api, hostname)
    assert beat(bare_api, after, hostname).status_code == 200
    bare_api.check_log()


@contextlib.contextmanager
def real_agent(api: Api, home: Path, hostname: str, **env: str) -> Iterator[Role]:
    """`gprofiler` with a state directory below `home`."""
    home.mkdir(exist_ok=True)
    argv = [
        GPROFILER, "--enable-heartbeat-server", "--service-name", "web", "--hostname", hostname, "--api-server",
        api.url, "--state-dir", str(home / "state"), "--heartbeat-log", str(home / "heartbeats.log"),
        "--heartbeat-interval", "1",
    ]  # fmt: skip
    with started(Role("agent", argv, env={"NO_PROXY": "127.0.0.1", **env}, log=home / "agent.log")) as role:
        yield role


def test_an_agent_enrols_itself_once_and_a_copy_of_its_state_is_found_out(
    bare_api: Api, hostname: str, tmp_path: Path
) -> None:
    token_file = tmp_path / "enrolment-token"
    token_file.write_text(enrolment_token(bare_api) + "\n")
    credential_file = tmp_path / "home" / "state" / "credential"

    def shown() -> dict[str, Any]:
        answer = bare_api.call("GET", f"/api/v1/hosts/web/{hostname}", token=bare_api.admin)
        return dict(answer.json()) if answer.status_code == 200 else {}

    with real_agent(bare_api, tmp_path / "home", hostname, GPROFILER_ENROLMENT_TOKEN_FILE=str(token_file)):
        eventually(lambda: shown().get("enrolled"), within=30, what="the enrolled host")
    secret = credential_file.read_text().strip()
    bare_api.made_tokens.append(secret)
    assert stat.S_IMODE(credential_file.stat().st_mode) == 0o600
    token_file.unlink()
    before = shown()["last_beat"]
    with real_agent(bare_api, tmp_path / "home", hostname):
        eventually(lambda: shown()["last_beat"] > before, within=30, what="a beat without the enrolment token")
    check_conflict(beat(bare_api, secret, hostname))  # copied to where the agent's host_id is not known
    shutil.copytree(tmp_path / "home", tmp_path / "copy")
    with real_agent(bare_api, tmp_path / "copy", f"{hostname}-copy"):
        eventually(lambda: events_of(bare_api, f"{hostname}-copy"), within=30, what="the report of the copy")
    logs = [path.read_text() for path in tmp_path.rglob("*.log")]
    assert not [log for log in logs if secret in log]
    assert not list(credential_file.parent.glob("credential.new*"))
    bare_api.check_log()


def test_an_agent_that_is_refused_goes_on_asking_and_stops_when_told(
    bare_api: Api, hostname: str, tmp_path: Path
) -> None:
    token_file = tmp_path / "enrolment-token"
    token_file.write_text(bare_api.make_token("viewer", "web")[0])
    log = tmp_path / "home" / "agent.log"
    with real_agent(bare_api, tmp_path / "home", hostname, GPROFILER_ENROLMENT_TOKEN_FILE=str(token_file)) as role:
        eventually(lambda: "refuses to enrol" in log.read_text(), within=30, what="the first refusal")
        token_file.write_text(enrolment_token(bare_api))
        credential_file = tmp_path / "home" / "state" / "credential"
        eventually(credential_file.exists, within=30, what="the credential, once the token is good")
        bare_api.made_tokens.append(credential_file.read_text().strip())
        assert role.stop() == 0


def bad_wishes() -> list[Bad]:
    good = {"service_name": "web", "hostname": "h"}

    def row(case: str, field: str, value: Any) -> Bad:
        return Bad(case, ENROL, [field], content=as_json({**good, field: value}), token="enrolment of web")

    return [
        *(row(f"{field} {value!r:.20}", field, value) for field in good for value in NO_NAMES),
        *(row(f"host_id {value!r:.20}", "host_id", value) for value in ("", "a b", "ä", 1, "x" * 129, "a\n")),
        *(
            row(f"digest {value!r:.20}", "credential_sha256", value)
            for value in ("", "f" * 63, "f" * 65, "F" * 64, "g" * 64, 1, "f" * 64 + "\n")
        ),
        row("an unknown field", "secret", "x"),
    ]  # fmt: skip


@pytest.mark.parametrize("bad", bad_wishes(), ids=str)
def test_a_bad_wish_is_refused_and_costs_no_use(bare_api: Api, keyring: dict[str, str | None], bad: Bad) -> None:
    check_refused(bare_api, bad, keyring[bad.token])
