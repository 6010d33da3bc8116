"""Two running systems for this folder: one that nobody but the test writes to, and the whole one."""

import itertools
import time
from collections.abc import Iterator

import pytest

from tests.support.api import Api, PlayedAgent, running_site

_numbers = itertools.count(1)


@pytest.fixture(scope="session")
def bare_api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    """A broker and an API without any worker: what changes in the broker was changed by the call under test."""
    with running_site(tmp_path_factory.mktemp("bare"), workers=False) as (api, _):
        yield api


@pytest.fixture(scope="session")
def keyring(bare_api: Api) -> dict[str, str | None]:
    """Tokens of the bare API by what they are; the service is in the name, `web` where none is."""
    ring: dict[str, str | None] = {"none": None, "admin": bare_api.admin, "first agent": bare_api.agent}
    for kind in ("agent", "viewer", "operator", "admin"):
        for service in ("web", "db"):
            ring[f"{kind} of {service}"] = bare_api.make_token(kind, service)[0]
    ring["enrolment of web"] = bare_api.make_token("enrolment", "web", max_uses=1_000)[0]
    expired, _ = bare_api.make_token("admin", "*", expires_in=1)
    revoked, token_id = bare_api.make_token("admin", "*")
    bare_api.ok("DELETE", f"/api/v1/tokens/{token_id}", token=bare_api.admin)
    time.sleep(1.1)
    bare_api.made_tokens.append("pcs_never-given-to-anybody")
    return {**ring, "expired": expired, "revoked": revoked, "wrong": "pcs_never-given-to-anybody"}


@pytest.fixture
def agent(served: Api) -> PlayedAgent:
    """The agent of a host that no other test knows."""
    return PlayedAgent(served, f"host-{next(_numbers):03}")
