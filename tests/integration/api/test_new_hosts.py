"""A token of agents brings in so many new hosts, and no more: what is made up would stay in the broker."""

import itertools
from collections.abc import Iterator
from typing import Any, Final

import httpx
import pytest

from tests.support.api import HEARTBEAT, Api, running_api, running_site
from tests.support.processes import eventually
from tests.support.refusals import check_problem
from tests.support.servers import everything_in

MOST: Final = 3
ENV: Final = {"PCS_LIMITS": "small", "PCS_LIMIT_HOSTS": f"{MOST}/86400"}
_names = (f"new-{number}" for number in itertools.count())


@pytest.fixture(scope="module")
def limited(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    """An API with its limits; the site's other one has none, to make tokens by."""
    state_dir = tmp_path_factory.mktemp("limited")
    with running_site(state_dir, workers=False), running_api(state_dir, env=ENV, log="limited.log") as api:
        yield api


@pytest.fixture
def token(limited: Api) -> str:
    """A token of agents that has brought in as many hosts as it may, but for one."""
    secret, _ = limited.make_token("agent", "web")
    for _ in range(MOST - 1):
        assert beat(limited, secret, next(_names)).status_code == 200
    return secret


def beat(api: Api, token: str, host: str, *, wait: int | None = None, **said: Any) -> httpx.Response:
    body = {"ip_address": "10.0.0.1", "hostname": host, "service_name": "web", **said}
    headers = {"Prefer": f"wait={wait}"} if wait else {}
    return api.call("POST", HEARTBEAT, token=token, json=body, headers=headers)


def test_one_host_too_many_is_refused_and_nothing_is_kept_of_it(limited: Api, token: str) -> None:
    known = next(_names)
    assert beat(limited, token, known).status_code == 200
    before = everything_in(limited.settings)
    made_up = next(_names)
    unusual: tuple[dict[str, Any], ...] = ({}, {"containers": []}, {"unusual": 1})
    for said in unusual:
        answer = beat(limited, token, made_up, **said)
        assert answer.status_code == 429, answer.text
        check_problem(answer, code="rate_limited", fields=["Authorization"])
        assert f"At most {MOST} new hosts of this token in 86400 s" in answer.json()["detail"]
        assert answer.headers["ratelimit-policy"] == f'"hosts";q={MOST};w=86400'
        assert int(answer.headers["retry-after"]) >= 1
    assert beat(limited, token, made_up, wait=5).status_code == 429
    after = everything_in(limited.settings)
    assert after == before
    assert not any(made_up in key for key in after)
    assert beat(limited, token, known).status_code == 200, "a host that is known beats on"


def test_no_token_takes_anything_from_another(limited: Api, token: str) -> None:
    assert beat(limited, token, next(_names)).status_code == 200
    refused = next(_names)
    assert beat(limited, token, refused).status_code == 429
    successor, _ = limited.make_token("agent", "web")
    assert beat(limited, successor, refused).status_code == 200


def test_hosts_that_are_held_are_counted_alike(limited: Api, token: str) -> None:
    assert beat(limited, token, next(_names), wait=1).status_code == 200
    assert beat(limited, token, next(_names), wait=1).status_code == 429


def test_a_host_with_a_credential_of_its_own_is_not_counted(limited: Api) -> None:
    buyer, _ = limited.make_token("enrolment", "web", max_uses=MOST + 2)
    for _ in range(MOST + 2):
        host = next(_names)
        wish = {"service_name": "web", "hostname": host, "host_id": f"id-of-{host}"}
        bought = limited.call("POST", "/api/v1/enrol", token=buyer, json=wish).json()
        assert beat(limited, bought["token"], host, host_id=f"id-of-{host}").status_code == 200


def test_it_is_counted_and_audited(limited: Api) -> None:
    secret, token_id = limited.make_token("agent", "web")
    for _ in range(MOST):
        assert beat(limited, secret, next(_names)).status_code == 200
    before = refused(limited)
    assert beat(limited, secret, next(_names)).status_code == 429
    assert refused(limited) == before + 1

    def told() -> list[dict[str, Any]]:
        asked = {"actor": token_id, "limit": 100}
        acts = limited.ok("GET", "/api/v1/audit", token=limited.admin, params=asked)["items"]
        return [act for act in acts if act.get("code") == "rate_limited"]

    eventually(told, within=15, what="the refusal in the audit trail")


def refused(api: Api) -> float:
    text = api.call("GET", "/metrics", token=api.admin).text
    lines = (line.split() for line in text.splitlines() if line.startswith('pcs_rate_limited_total{lane="hosts"}'))
    return sum(float(value) for _, value in lines)
