"""People sign in with an OIDC issuer: a real one on this machine, whose keys come, go and are withheld."""

import asyncio
import base64
import hmac
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from api import jwks
from api.issuer_calls import MOST_BYTES
from api.jwks import ASK_EVERY_SECONDS, KeySet, NotTheKeys
from api.people import CLOCK_SKEW, People, first_grant
from api.problems import Refusal
from api.settings import Grant, OidcSettings
from tests.support.agents import soon
from tests.support.api import REQUEST, SCHEDULES, TOKENS, Api, running_api
from tests.support.issuer import AUDIENCE, Issuer
from tests.support.refusals import check_problem
from tests.support.routes import A_SCHEDULE

GRANTS: list[dict[str, Any]] = [
    {"claim": "groups", "value": "owners", "kind": "admin"},
    {"claim": "groups", "value": "sre", "kind": "operator", "services": ["web-*"]},
    {"claim": "realm_access.roles", "value": "reader", "kind": "viewer", "tenant": "elsewhere"},
]


@pytest.fixture
def issuer() -> Iterator[Issuer]:
    with Issuer() as running:
        yield running


@pytest.fixture
def people(issuer: Issuer) -> People:
    return People(
        OidcSettings(
            oidc_issuer=issuer.url, oidc_audience=AUDIENCE, oidc_grants=[Grant.model_validate(each) for each in GRANTS]
        )
    )


async def test_whoever_signs_in_is_what_the_first_grant_says(issuer: Issuer, people: People) -> None:
    person = await people.token_of(issuer.sign())
    assert person is not None
    assert (person.token_id, person.kind, person.services) == ("oidc:u-1", "operator", ("web-*",))
    assert person.name == "ada@example.org"
    assert person.is_person
    assert person.ends_at is not None
    assert person.ends_at.timestamp() == pytest.approx(time.time() + 300 + CLOCK_SKEW.total_seconds(), abs=20)
    owner = await people.token_of(issuer.sign(groups=["sre", "owners"]))
    assert owner is not None
    assert (owner.kind, owner.services) == ("admin", ("*",))
    reader = await people.token_of(issuer.sign(groups=None, realm_access={"roles": ["reader"]}))
    assert reader is not None
    assert (reader.kind, reader.tenant) == ("viewer", "elsewhere")


@pytest.mark.parametrize(
    "changes",
    [
        {"iss": "https://elsewhere.example"}, {"iss": None}, {"aud": "another"}, {"aud": None}, {"sub": None},
        {"sub": ""}, {"sub": "a b"}, {"sub": 7}, {"exp": None}, {"iat": None}, {"exp": int(time.time()) - 60},
        {"nbf": int(time.time()) + 86_400}, {"iat": int(time.time()) + 86_400}, {"exp": int(time.time()) + 2 * 86_400},
        {"groups": ["all"]}, {"groups": None}, {"groups": "srex"}, {"groups": {"sre": 1}}, {"exp": "soon"},
    ],
)  # fmt: skip
async def test_claims_that_are_not_good_are_nobodys(issuer: Issuer, people: People, changes: dict[str, Any]) -> None:
    assert await people.token_of(issuer.sign()) is not None
    assert await people.token_of(issuer.sign_raw(**changes)) is None


async def test_clocks_may_differ_by_half_a_minute(issuer: Issuer, people: People) -> None:
    now = int(time.time())
    assert await people.token_of(issuer.sign(exp=now - 10)) is not None
    assert await people.token_of(issuer.sign(iat=now + 10, nbf=now + 10)) is not None


async def test_a_public_key_is_no_shared_secret(issuer: Issuer, people: People) -> None:
    """The forgery that a server falls for which lets the token choose the algorithm."""
    await people.token_of(issuer.sign())
    secret = issuer.public_text("first").encode()
    _, body, _ = issuer.sign().split(".")
    head = base64.urlsafe_b64encode(json.dumps({"alg": "HS256", "typ": "JWT", "kid": "first"}).encode()).decode()
    signed = f"{head.rstrip('=')}.{body}"
    seal = base64.urlsafe_b64encode(hmac.new(secret, signed.encode(), "sha256").digest()).decode().rstrip("=")
    assert await people.token_of(f"{signed}.{seal}") is None


@pytest.mark.parametrize("header", [{"alg": "none"}, {"alg": "HS256"}, {"alg": "PS256"}, {"kid": 7}, {"crit": ["exp"]}])
async def test_a_header_that_was_changed_is_refused(issuer: Issuer, people: People, header: dict[str, Any]) -> None:
    head, body, signature = issuer.sign().split(".")
    told = json.loads(base64.urlsafe_b64decode(head + "=="))
    head = base64.urlsafe_b64encode(json.dumps({**told, **header}).encode()).decode().rstrip("=")
    assert await people.token_of(f"{head}.{body}.{signature}") is None


async def test_a_body_that_was_changed_and_a_token_beyond_measure_are_refused(issuer: Issuer, people: People) -> None:
    head, _, signature = issuer.sign().split(".")
    body = base64.urlsafe_b64encode(json.dumps(issuer.claims(sub="u-2")).encode()).decode().rstrip("=")
    assert await people.token_of(f"{head}.{body}.{signature}") is None
    assert await people.token_of(issuer.sign(filler="x" * 20_000)) is None


# --- keys -------------------------------------------------------------------------------------------------------------


async def test_a_new_key_is_fetched_when_it_is_first_seen(
    issuer: Issuer, people: People, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jwks, "ASK_EVERY_SECONDS", 0.0)
    await people.token_of(issuer.sign())
    issuer.add_key("second", kind="EC")
    issuer.drop_key("first")
    assert await people.token_of(issuer.sign(key_id="second")) is not None
    assert issuer.fetched == 2
    assert await people.token_of(issuer.sign(key_id="first")) is None, "a key that the issuer has withdrawn"


async def test_made_up_key_ids_make_us_ask_once_in_a_while(issuer: Issuer, people: People) -> None:
    await people.token_of(issuer.sign())
    for number in range(20):
        assert await people.token_of(issuer.sign(header={"kid": f"made-up-{number}"})) is None
    assert issuer.fetched == 1
    assert ASK_EVERY_SECONDS >= 10


async def test_an_issuer_that_is_away_is_no_trouble_once_its_keys_are_known(
    issuer: Issuer, people: People, monkeypatch: pytest.MonkeyPatch
) -> None:
    await people.token_of(issuer.sign())
    issuer.away = True
    assert await people.token_of(issuer.sign()) is not None
    monkeypatch.setattr(jwks, "KEPT_SECONDS", 0.0)
    with pytest.raises(Refusal, match="cannot be checked"):
        await people.token_of(issuer.sign())


@pytest.mark.parametrize(
    "answer",
    [
        b"", b"[]", b"nonsense", b"{}", b'{"keys": []}', b'{"keys": {}}', b'{"keys": [1, {"kid": "a"}]}',
        b'{"keys": "x"}', b"x" * (MOST_BYTES + 1), b"[" * 100_000,
    ],
    ids=repr,
)  # fmt: skip
async def test_what_are_no_keys_are_none(issuer: Issuer, answer: bytes) -> None:
    issuer.answer = answer
    with pytest.raises(NotTheKeys):
        await KeySet(issuer.url).key("first")


async def test_keys_that_may_not_sign_are_passed_over(issuer: Issuer) -> None:
    issuer.add_key("small", bits=1_024)
    issuer.list_raw(kid="shared", kty="oct", k="c2VjcmV0", alg="HS256")
    issuer.list_raw(**{**json.loads(issuer.public_text("first")), "kid": "for encryption", "use": "enc"})
    keys = KeySet(issuer.url)
    assert await keys.key("first") is not None
    assert [await keys.key(name) for name in ("small", "shared", "for encryption")] == [None, None, None]


async def test_keys_come_from_their_issuer_over_a_private_way_alone(issuer: Issuer) -> None:
    with pytest.raises(NotTheKeys):
        await KeySet("http://issuer.example").key("first")
    with pytest.raises(NotTheKeys):
        await KeySet(issuer.url.replace("127.0.0.1", "localhost")).key("first")  # the document is of another issuer
    assert await KeySet("https://any.example", f"{issuer.url}/keys").key("first") is not None


# --- grants and settings ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("claims", "fits"),
    [
        ({"groups": "sre"}, True), ({"groups": "dev sre"}, True), ({"groups": ["sre"]}, True),
        ({"groups": ["SRE"]}, False), ({"groups": "sre2"}, False), ({"groups": 1}, False), ({}, False),
        ({"groups": None}, False), ({"groups": [["sre"]]}, False),
    ],
)  # fmt: skip
def test_a_grant_fits_a_value_and_nothing_like_it(claims: dict[str, Any], fits: bool) -> None:
    grant = Grant(claim="groups", value="sre", kind="viewer")
    assert first_grant(claims, [grant]) == (grant if fits else None)


def test_a_claim_with_dots_in_its_name_is_found() -> None:
    grant = Grant(claim="https://example.org/role", value="r", kind="viewer")
    assert first_grant({"https://example.org/role": "r"}, [grant]) == grant


@pytest.mark.parametrize(
    "env",
    [
        {"issuer": "https://i.example"}, {"issuer": "https://i.example", "audience": "a"},
        {"issuer": "http://i.example", "audience": "a", "grants": GRANTS},
        {"issuer": "https://i.example", "audience": "a", "grants": [{**GRANTS[0], "kind": "agent"}]},
        {"jwks_url": "http://i.example"},
    ],
)  # fmt: skip
def test_half_a_setting_is_none(env: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"PCS_OIDC|kind"):
        OidcSettings(**{f"oidc_{name}": value for name, value in env.items()})


# --- over HTTP --------------------------------------------------------------------------------------------------------


def test_a_person_works_with_their_sign_in(bare_api: Api, tmp_path: Path) -> None:
    with Issuer() as issuer:
        env = {
            "PCS_REDIS_URL": bare_api.settings.url, "PCS_OIDC_ISSUER": issuer.url, "PCS_OIDC_AUDIENCE": AUDIENCE,
            "PCS_OIDC_GRANTS": json.dumps(GRANTS),
        }  # fmt: skip
        with running_api(tmp_path, env=env) as api:
            person = issuer.sign()
            api.made_tokens.append(person)
            mine = api.ok("GET", f"{TOKENS}/self", token=person)
            assert (mine["id"], mine["kind"], mine["name"]) == ("oidc:u-1", "operator", "ada@example.org")
            asked = {"service_name": "web-1", "target_hostnames": ["h"]}
            request_id = api.ok("POST", REQUEST, token=person, json=asked)["request_id"]
            assert api.status(request_id)["submitted_by"] == "oidc:u-1"
            assert api.call("POST", REQUEST, token=person, json={**asked, "service_name": "db"}).status_code == 403
            schedule = {**A_SCHEDULE, "request": asked}
            refused = api.call("POST", SCHEDULES, token=person, json=schedule)
            assert refused.status_code == 403
            check_problem(refused, code="forbidden", fields=["Authorization"])
            for stranger in (issuer.sign(aud="another"), person[:-4] + "AAAA", issuer.sign(groups=[])):
                answer = api.call("GET", f"{TOKENS}/self", token=stranger)
                assert answer.status_code == 401
                assert stranger not in answer.text
            fetched = issuer.fetched
            for _ in range(20):
                api.ok("GET", f"{TOKENS}/self", token=person)
            assert issuer.fetched == fetched, "no call waits for the issuer"
            api.check_log()


def test_an_issuer_that_never_answered_is_told_as_such(bare_api: Api, tmp_path: Path) -> None:
    with Issuer() as issuer:
        issuer.away = True
        env = {
            "PCS_REDIS_URL": bare_api.settings.url, "PCS_OIDC_ISSUER": issuer.url, "PCS_OIDC_AUDIENCE": AUDIENCE,
            "PCS_OIDC_GRANTS": json.dumps(GRANTS),
        }  # fmt: skip
        with running_api(tmp_path, env=env) as api:
            answer = api.call("GET", f"{TOKENS}/self", token=issuer.sign())
            assert answer.status_code == 503
            assert int(answer.headers["retry-after"]) >= 1
            check_problem(answer, code="issuer_unavailable", fields=["Authorization"])
            assert api.call("GET", "/api/v1/hosts", token=api.admin).status_code == 200, "tokens need no issuer"


async def test_a_key_set_follows_its_issuer(issuer: Issuer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jwks, "FRESH_SECONDS", 0.05)
    keys = KeySet(issuer.url)
    following = asyncio.create_task(keys.follow())
    issuer.add_key("second", kind="EC")
    try:
        await soon(lambda: issuer.fetched >= 3, within=10)
        assert await keys.key("second") is not None
    finally:
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)
