"""Signing in at the page by OpenID Connect: a real issuer on this machine, and who tries to get in without it."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qsl, urlsplit

import httpx
import pytest

from api.code_flow import STATUSES, Begun, ours
from api.people import People
from api.settings import OidcSettings
from broker.sessions import Person
from tests.support.api import Api, running_api
from tests.support.issuer import AUDIENCE, Client, Issuer
from tests.support.processes import ROOT

BEGIN: Final = "/sign-in/oidc"
DONE: Final = "/sign-in/oidc/done"
SELF: Final = "/api/v1/tokens/self"
PUBLIC: Final = "http://localhost:1"
"""Where browsers find the page, by the settings; these tests are no browser, and follow no redirect by themselves."""
SECRET: Final = "issuer's word for us: &+% "
GRANTS: Final = [{"claim": "groups", "value": "sre", "kind": "operator", "services": ["web-*"]}]
SETTINGS: Final[dict[str, Any]] = {"oidc_issuer": "https://i.example", "oidc_audience": "a", "oidc_grants": GRANTS}


@dataclass
class Browser:
    """Somebody who goes where he is sent, with his cookies."""

    issuer: Issuer
    http: httpx.Client
    asked: dict[str, str] = field(default_factory=dict)

    def begin(self, to: str = "/") -> httpx.Response:
        answer = self.http.get(BEGIN, params={"to": to})
        if answer.status_code == 303:
            assert answer.headers["location"].startswith(f"{self.issuer.url}/authorize?")
            self.asked = dict(parse_qsl(urlsplit(answer.headers["location"]).query))
        return answer

    def back(self, **query: str | None) -> httpx.Response:
        """Come back from the issuer; with some of the query changed, or left out."""
        told: dict[str, str | None] = {"code": self.issuer.code(self.asked), "state": self.asked["state"]}
        return self.http.get(DONE, params={name: value for name, value in {**told, **query}.items() if value})


def why(answer: httpx.Response) -> tuple[int, str]:
    """Status and reason of a page that says why nobody is signed in."""
    assert answer.headers["content-type"].startswith("text/html"), "it is a person who reads it"
    found = re.search(r'<head><meta name="studio-not-signed-in" content="([^"]+)" data-to="/', answer.text)
    assert found is not None, answer.text[:300]
    assert answer.headers["cache-control"] == "no-store"
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert "studio_session" not in answer.headers.get("set-cookie", "").replace("studio_signing_in", "")
    return answer.status_code, found[1]


@pytest.fixture(scope="module")
def issuer() -> Iterator[Issuer]:
    with Issuer() as issuer:
        issuer.client = Client("the-page", f"{PUBLIC}{DONE}", SECRET)
        yield issuer


def env_of(bare_api: Api, issuer: Issuer, **more: str) -> dict[str, str]:
    return {
        "PCS_REDIS_URL": bare_api.settings.url, "PCS_OIDC_ISSUER": issuer.url, "PCS_OIDC_AUDIENCE": AUDIENCE,
        "PCS_OIDC_GRANTS": json.dumps(GRANTS), "PCS_OIDC_CLIENT_ID": "the-page", "PCS_OIDC_CLIENT_SECRET": SECRET,
        "PCS_PUBLIC_URL": PUBLIC, **more,
    }  # fmt: skip


@pytest.fixture(scope="module")
def api(bare_api: Api, issuer: Issuer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Api]:
    env = env_of(bare_api, issuer, PCS_LIMIT_STRANGERS="1000/10")
    with running_api(tmp_path_factory.mktemp("oidc"), env=env) as api:
        yield api
        assert SECRET not in api.log
        api.check_log()


@pytest.fixture
def browser(api: Api, issuer: Issuer) -> Iterator[Browser]:
    issuer.told, issuer.away = {}, False
    with httpx.Client(base_url=api.url, timeout=30, trust_env=False) as http:
        yield Browser(issuer, http)
    issuer.told, issuer.away = {}, False


def test_somebody_whom_the_issuer_vouches_for_has_a_session_by_its_grant(browser: Browser, api: Api) -> None:
    assert browser.http.get("/api/v1/session/ways").json() == {"oidc": True}
    begun = browser.begin("/requests?status=open")
    on_its_way = begun.headers["set-cookie"].lower()
    assert "httponly" in on_its_way
    assert "samesite=lax" in on_its_way, "the browser comes back from another site"
    assert browser.asked["redirect_uri"] == f"{PUBLIC}{DONE}"
    answer = browser.back()
    assert (answer.status_code, answer.headers["location"]) == (303, "/requests?status=open")
    cookies = answer.headers.get_list("set-cookie")
    session = next(each.lower() for each in cookies if each.startswith("studio_session="))
    assert "httponly" in session
    assert "samesite=strict" in session
    assert "studio_signing_in" not in browser.http.cookies, "it is of no more use"
    me = browser.http.get(SELF).json()
    assert (me["id"], me["kind"], me["name"], me["services"]) == (
        "oidc:u-1", "operator", "ada@example.org", ["web-*"],
    )  # fmt: skip
    told = api.ok("GET", "/api/v1/audit", token=api.admin, params={"actor": "oidc:u-1", "action": "session.begin"})
    assert {each["outcome"] for each in told["items"]} == {"accepted"}

    asked = {"service_name": "web-1", "target_hostnames": ["h"], "dry_run": True}
    changed = browser.http.post("/api/metrics/profile_request", json=asked)
    assert changed.status_code == 403, "a change needs the page's header beside the cookie"
    ours_ = {"X-Studio-Page": "1"}
    assert browser.http.post("/api/metrics/profile_request", json=asked, headers=ours_).status_code == 200
    elsewhere = {**asked, "service_name": "db"}
    assert browser.http.post("/api/metrics/profile_request", json=elsewhere, headers=ours_).status_code == 403
    foreign = browser.http.get(SELF, headers={"Sec-Fetch-Site": "cross-site"})
    assert foreign.status_code == 403
    assert browser.http.delete("/api/v1/session", headers=ours_).status_code == 200
    assert browser.http.get(SELF).status_code == 401


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({"state": "of-somebody-else"}, (403, "foreign")),
        ({"state": None}, (403, "foreign")),
        ({"iss": "https://elsewhere.example"}, (403, "foreign")),
        ({"code": None, "error": "access_denied"}, (403, "denied")),
        ({"code": "x" * 5_000}, (403, "denied")),
        ({"code": "made-up"}, (403, "stale")),
    ],
    ids=str,
)
def test_what_the_browser_brings_back_has_to_fit(
    browser: Browser, changed: dict[str, Any], expected: tuple[int, str]
) -> None:
    browser.begin()
    assert why(browser.back(**changed)) == expected
    assert browser.http.get(SELF).status_code == 401


def test_a_sign_in_of_another_browser_and_one_that_is_over_lead_nowhere(browser: Browser, api: Api) -> None:
    browser.begin()
    with httpx.Client(base_url=api.url, trust_env=False) as victim:
        lured = victim.get(DONE, params={"code": browser.issuer.code(browser.asked), "state": browser.asked["state"]})
        assert why(lured) == (403, "foreign"), "or he would work in somebody else's name"
    code = browser.issuer.code(browser.asked)
    cookie = browser.http.cookies["studio_signing_in"]
    assert browser.back(code=code).status_code == 303
    assert why(browser.back(code=code)) == (403, "foreign"), "the cookie went with the first"
    browser.http.cookies.set("studio_signing_in", cookie)
    assert why(browser.back(code=code)) == (403, "stale"), "the code is spent"


@pytest.mark.parametrize(
    ("claims", "expected"),
    [
        ({"nonce": "another"}, "unfit"), ({"nonce": None}, "unfit"), ({"aud": AUDIENCE}, "unfit"),
        ({"aud": ["the-page", "another"]}, "unfit"), ({"azp": "another"}, "unfit"), ({"exp": 1}, "unfit"),
        ({"iss": "https://elsewhere.example"}, "unfit"), ({"groups": ["all"]}, "nobody"), ({"groups": None}, "nobody"),
    ],
    ids=str,
)  # fmt: skip
def test_claims_that_are_not_of_this_sign_in_let_nobody_in(
    browser: Browser, claims: dict[str, Any], expected: str
) -> None:
    browser.issuer.told = claims
    browser.begin()
    assert why(browser.back()) == (403, expected)


def test_an_issuer_that_is_away_is_told_as_such(browser: Browser, api: Api) -> None:
    browser.begin()
    browser.issuer.away = True
    answer = browser.back()
    assert why(answer) == (503, "unavailable")
    assert int(answer.headers["retry-after"]) >= 1
    browser.issuer.away = False
    client = browser.issuer.client
    assert client is not None
    browser.issuer.client = client._replace(secret="another")
    browser.begin()
    assert why(browser.back()) == (502, "misconfigured")
    browser.issuer.client = client
    assert api.call("GET", SELF, token=api.admin).status_code == 200


def test_one_who_comes_after_too_many_that_failed_is_told_so_by_the_page(
    bare_api: Api, issuer: Issuer, tmp_path: Path
) -> None:
    env = env_of(bare_api, issuer, PCS_LIMIT_STRANGERS="2/3600")
    with running_api(tmp_path, env=env) as api, httpx.Client(base_url=api.url, trust_env=False) as http:
        browser = Browser(issuer, http)
        for _ in range(2):
            browser.begin()
            assert why(browser.back(error="access_denied", code=None)) == (403, "denied")
        browser.begin("/requests?a=<b>&c=d")
        answer = browser.back()
        assert why(answer) == (429, "too many")
        assert 1 <= int(answer.headers["retry-after"]) <= 3_600
        assert f'data-to="/requests?a=&lt;b&gt;&amp;c=d" data-wait="{answer.headers["retry-after"]}"' in answer.text
        assert browser.http.get(SELF).status_code == 401
    asked = {"outcome": "refused", "limit": 1_000}
    told = bare_api.ok("GET", "/api/v1/audit", token=bare_api.admin, params=asked)  # noted by now, as the process ended
    assert "sign_in_too_many" in json.dumps(told["items"])


def test_the_page_has_words_for_all_that_may_go_wrong() -> None:
    words = (ROOT / "console" / "src" / "sign-in.tsx").read_text()
    assert {code for code in STATUSES if not re.search(rf'^  "?{code}"?:', words, re.MULTILINE)} == set()


@pytest.mark.parametrize(
    "to",
    [
        "https://evil.example/", "//evil.example", "/\\evil.example", "\\\\evil.example", "javascript:alert(1)", "evil",
        "/\t/evil.example", "/a\r\nSet-Cookie: a=b", "/api/v1/session", "/sign-in/oidc", "", "/" + "x" * 2_000, "/é",
    ],
)  # fmt: skip
def test_after_the_sign_in_a_browser_stays_here(to: str) -> None:
    assert ours(to) == "/"
    planted = Begun("state", "nonce", "verifier", to).cookie
    read = Begun.read(planted)
    assert read is None or read.to == "/"


def test_a_page_of_ours_is_where_it_goes_on() -> None:
    for to in ("/", "/requests/1?x=%2F%2Fevil.example", "/?q=a+b&service=web"):
        begun = Begun.anew(to)
        assert ours(to) == to
        assert Begun.read(begun.cookie) == begun
    for cookie in (None, "", "a.b.c", "a.b.c.", "a.b.c.!", "a.b.c.d.e", "x" * 4_000, "a.b.c._w=="):
        assert Begun.read(cookie) is None
    assert "verifier" not in repr(Begun.anew("/"))


@pytest.mark.parametrize(
    "more",
    [
        {"oidc_client_id": "p"},
        {"oidc_client_id": "p", "public_url": "http://studio.example"},
        {"oidc_client_id": "p", "public_url": "https://studio.example/below"},
        {"oidc_client_id": "p", "public_url": "https://studio.example", "oidc_scopes": "email"},
    ],
    ids=str,
)
def test_half_a_client_is_none(more: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="PCS_"):
        OidcSettings(**SETTINGS, **more)


def test_a_session_ends_with_the_grant_that_let_somebody_in() -> None:
    now = datetime.now(UTC)
    person = Person("u-1", "Ada", "groups", "sre", now)
    settings = OidcSettings(**SETTINGS)
    holder = People(settings).holder_of(person, ends_at=now)
    assert holder is not None
    assert holder.kind == "operator"
    assert People(settings).holder_of(replace(person, value="owners"), ends_at=now) is None


def test_without_a_client_the_way_is_not_there(bare_api: Api) -> None:
    assert bare_api.call("GET", "/api/v1/session/ways", token=None).json() == {"oidc": False}
    for way in (BEGIN, DONE):
        assert why(bare_api.call("GET", way, token=None)) == (404, "not offered")
