"""The pages of those who look after the system, in a real browser: health tokens, schedules, the trail."""

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import pytest
import redis
from click.testing import CliRunner, Result
from playwright.sync_api import Browser, expect

from broker.scripts import MOST_ATTEMPTS
from cli.main import main
from tests.support.api import running_api
from tests.support.browser import PICTURES, Screen, check_for_everybody, token_of
from tests.support.deaf_hosts import given_up_on
from tests.support.issuer import Client, Issuer
from tests.support.processes import eventually, free_port
from tests.support.system import System

SLOW_MS: Final = 60_000
pytestmark = [pytest.mark.e2e, pytest.mark.timeout(240)]


def test_what_was_given_up_on_is_told_and_replayed(screen: Screen, system: System) -> None:
    given_up_on(system, "deaf-1", duration=42)
    given_up_on(system, "deaf-2", duration=43)
    page = screen.sign_in(system.tokens["admin"], "/health")
    expect(page.get_by_text("ready", exact=True)).to_be_visible()
    roles = page.get_by_role("region", name="Roles")
    expect(roles.get_by_role("row").filter(has_text="makes commands of requests")).to_contain_text("nothing")
    expect(page.get_by_role("region", name="Limits").get_by_text("left").first).to_be_visible()

    letters = page.get_by_role("region", name="Dead letters")
    row = letters.get_by_role("row").filter(has_text="deaf-1")
    expect(row).to_contain_text(f"handed out {MOST_ATTEMPTS} times without an ack")
    check_for_everybody(page, PICTURES, "health")
    row.get_by_role("button", name="Replay deaf-1").click()
    row.get_by_role("button", name="Yes, replay").click()
    expect(row).to_have_count(0)
    letters.get_by_role("link", name="New request for deaf-1").click()
    page.wait_for_url("**/requests/*")
    expect(page.get_by_text("deaf-1").first).to_be_visible()

    by_command_line(system, "deaf-2")
    page.go_back()
    expect(letters.get_by_text("Nothing was given up on")).to_be_visible()


def test_a_secret_is_shown_once_and_a_token_rotated_and_revoked(screen: Screen, system: System) -> None:
    page = screen.sign_in(system.tokens["admin"], "/tokens")
    page.get_by_role("button", name="New token").click()
    made = page.get_by_role("dialog", name="New token")
    expect(made.get_by_role("button", name="Make it")).to_be_disabled()
    made.get_by_label("Name", exact=True).fill("grafana")
    made.get_by_label("Kind").select_option("operator")
    made.get_by_label("Services").fill("shop, checkout-*")
    check_for_everybody(page, PICTURES, "token-new")
    made.get_by_role("button", name="Make it").click()
    shown = page.get_by_role("dialog", name="The secret of grafana")
    first = shown.get_by_label("Secret").input_value()
    assert works(system, first)
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    shown.get_by_role("button", name="Copy").click()
    expect(shown.get_by_text("Copied.")).to_be_visible()
    check_for_everybody(page, PICTURES, "token-secret")
    assert first not in page.url + page.evaluate("() => JSON.stringify([{ ...localStorage }, { ...sessionStorage }])")
    shown.get_by_role("button", name="Close").click()
    expect(shown).to_have_count(0)  # a dialog says a moment later that it is closed
    assert first not in page.content()

    row = page.get_by_role("row").filter(has_text="grafana")
    expect(row).to_contain_text("shop, checkout-*")
    row.get_by_role("button", name="Rotate grafana").click()
    row.get_by_label("The present secret").select_option("ends at once")
    row.get_by_role("button", name="Yes, rotate").click()
    second = shown.get_by_label("Secret").input_value()
    assert works(system, second)
    shown.get_by_role("button", name="Close").click()
    row.get_by_role("button", name="Revoke grafana").click()
    expect(row).to_contain_text("refused within five seconds")
    check_for_everybody(page, PICTURES, "tokens")
    row.get_by_role("button", name="Yes, revoke").click()
    expect(row).to_have_count(0)
    page.get_by_role("button", name="Show ended ones").click()
    expect(row.get_by_text("revoked", exact=True)).to_be_visible()
    eventually(lambda: not works(system, second), within=30, what="the end of a revoked token")


def works(system: System, secret: str) -> bool:
    answer = system.http.get(f"{system.url}/api/v1/hosts", headers={"Authorization": f"Bearer {secret}"})
    return answer.status_code == 200


def test_a_schedule_is_followed_paused_resumed_and_deleted(screen: Screen, system: System) -> None:
    body = {"name": "nightly", "cron": "0 3 * * *", "timezone": "Europe/Berlin", "catch_up": 60, "request": {
        "service_name": system.service, "target_scope": "service", "duration": 30, "max_concurrency": "10%",
    }}  # fmt: skip
    page = screen.sign_in(token_of(system, "operator"), "/schedules")
    expect(page.get_by_text("Nothing is asked for by the clock")).to_be_visible()
    made = system.http.post(f"{system.url}/api/v1/schedules", headers=system.as_admin, json=body)
    assert made.status_code == 201, made.text
    page.reload()
    row = page.get_by_role("row").filter(has_text="nightly")
    expect(row).to_contain_text("03:00")
    row.get_by_role("button", name="nightly", exact=True).click()
    expect(page.get_by_text("every host of the service; skipped while the former one is open")).to_be_visible()
    expect(page.get_by_text("Next:")).to_contain_text(" · ")
    check_for_everybody(page, PICTURES, "schedules")
    row.get_by_role("link", name="Edit nightly…").click()
    expect(page.get_by_label("Hosts at a time")).to_have_value("10%")
    expect(page.get_by_label("Time zone")).to_have_value("Europe/Berlin")
    expect(page.get_by_label("Catch up within, seconds")).to_have_value("60")
    page.get_by_label("Pause after failures").fill("7")
    page.get_by_label("Duration, seconds").fill("45")
    page.get_by_label("Fires at (cron)").fill("30 4 * * *")
    page.get_by_role("button", name="Change…").click()
    expect(page.get_by_text("It would fire")).to_contain_text("04:30")
    check_for_everybody(page, PICTURES, "schedule-edited")
    page.get_by_role("button", name="Yes, change it").click()
    page.wait_for_url("**/schedules")
    expect(row).to_contain_text("04:30")
    (stored,) = system.get("/api/v1/schedules", {})["items"]
    told = system.get(f"/api/v1/schedules/{stored['id']}", {})
    asked = {**body["request"], "duration": 45}  # type: ignore[dict-item]  # it is one
    assert told["request"] == told["request"] | asked
    assert (told["catch_up"], told["pause_after"]) == (60, 7)
    row.get_by_role("button", name="Pause").click()
    expect(row.get_by_text("paused", exact=True)).to_be_visible()
    row.get_by_role("button", name="Resume").click()
    expect(row.get_by_text("active", exact=True)).to_be_visible()
    row.get_by_role("button", name="Delete nightly").click()
    row.get_by_role("button", name="Yes, delete").click()
    expect(page.get_by_text("Nothing is asked for by the clock")).to_be_visible()


def test_the_trail_is_filtered_paged_exported_and_verified(screen: Screen, system: System) -> None:
    secret = token_of(system, "viewer")
    for _ in range(110):
        assert system.http.delete(f"{system.url}/api/v1/session", headers=system.as_admin).status_code == 200
    page = screen.sign_in(secret, "/audit?action=session.*")
    rows = page.get_by_role("table").locator("tbody tr")
    expect(rows).to_have_count(100)
    expect(rows.first).to_contain_text("session.begin")
    page.get_by_role("button", name="Older").click()
    expect(page.get_by_text("these are all")).to_be_visible()
    page.get_by_label("Outcome").select_option("refused")
    page.wait_for_url("**/audit?action=session.*&outcome=refused")
    expect(page.get_by_text("Nothing of that kind was done")).to_be_visible()
    page.goto(f"{system.url}/audit?action=token.create")
    expect(rows.first).to_contain_text("token.create")
    rows.first.get_by_role("button", name="more of record").click()
    expect(page.get_by_text('"kind": "viewer"')).to_be_visible()
    page.get_by_role("button", name="Verify the chain").click()
    expect(page.get_by_text("are as they were written")).to_be_visible()
    page.mouse.wheel(0, -10_000)
    check_for_everybody(page, PICTURES, "audit")
    with page.expect_download() as download:
        page.get_by_role("button", name="Export CSV").click()
    kept = Path(download.value.path()).read_text().splitlines()
    assert kept[0].startswith("number,at,")
    assert all(",token.create,accepted," in line for line in kept[1:])
    assert len(kept) > 1
    assert page.get_by_role("link", name="Tokens").count() == 0  # a viewer's


def by_command_line(system: System, host: str) -> None:
    """The same by `studio dead-letters`."""
    token = token_of(system, "operator")

    def dead_letters(*words: str) -> Result:
        env = {"STUDIO_URL": system.url, "STUDIO_TOKEN": token}
        return CliRunner().invoke(main, ["dead-letters", *words], env=env)

    listed = dead_letters("list", "--kind", "command", "--service", system.service)
    assert (listed.exit_code, listed.stdout.splitlines()[0].split()[0]) == (0, "ID")
    (letter,) = json.loads(dead_letters("list", "-o", "json").stdout)
    assert (letter["hostname"], letter["attempts"]) == (host, MOST_ATTEMPTS)
    assert letter["id"] in listed.stdout
    shown = dead_letters("show", letter["id"])
    assert letter["request_ids"][0] in shown.stdout
    replayed = dead_letters("replay", letter["id"], "0-1-1", "-o", "json")
    assert (replayed.exit_code, "0-1-1: the API refused" in replayed.stderr) == (5, True)
    (done,) = json.loads(replayed.stdout)
    assert system.status(done["request_id"]) is not None
    assert dead_letters("show", letter["id"]).exit_code == 2
    everything = dead_letters("replay", "--all")
    assert (everything.exit_code, everything.stdout, everything.stderr) == (0, "", "nothing was given up on\n")


@contextlib.contextmanager
def an_issuers_page(browser: Browser, system: System, folder: Path, **more: str) -> Iterator[tuple[Issuer, Screen]]:
    """The page of an API at which people sign in by OpenID Connect; and their issuer."""
    port = free_port()
    here = f"http://localhost:{port}"  # another site than the issuer's, as it would be
    grants = [{"claim": "groups", "value": "sre", "kind": "operator"}]
    with Issuer() as issuer, browser.new_context(viewport={"width": 1280, "height": 800}) as context:
        issuer.client = Client("the-page", f"{here}/sign-in/oidc/done")
        env = {
            "PCS_REDIS_URL": system.settings.url, "PCS_OIDC_ISSUER": issuer.url, "PCS_OIDC_AUDIENCE": "nobody",
            "PCS_OIDC_GRANTS": json.dumps(grants), "PCS_OIDC_CLIENT_ID": "the-page", "PCS_PUBLIC_URL": here, **more,
        }  # fmt: skip
        with running_api(folder, env=env, port=port):
            screen = Screen(context, here)
            yield issuer, screen
            assert {urlsplit(url).netloc for url in screen.elsewhere} == {urlsplit(issuer.url).netloc}
            refused = ("403", "429", "503")
            assert [each for each in screen.said if f"({here}" in each and not any(x in each for x in refused)] == []


def test_somebody_signs_in_at_the_issuer_and_is_told_where_that_fails(
    browser: Browser, system: System, tmp_path: Path
) -> None:
    with an_issuers_page(browser, system, tmp_path, PCS_LIMIT_STRANGERS="2/14400") as (issuer, screen):
        here = screen.url
        page = screen.open("/requests")
        way = page.get_by_role("link", name="Sign in with OpenID Connect")
        way.click()
        page.get_by_role("link", name="I am Ada").click()
        page.get_by_role("button", name="Sign out").wait_for()
        assert page.url == f"{here}/requests"
        expect(page.get_by_text("ada@example.org")).to_be_visible()
        page.goto(f"{here}/new?service={system.service}")
        when = page.get_by_role("combobox", name="When")
        expect(when.get_by_role("option", name="at a moment")).to_be_attached()
        assert when.get_by_role("option", name="again and again").count() == 0, "a schedule outlives a sign-in"
        page.get_by_role("button", name="Sign out").click()

        way.click()
        page.get_by_role("link", name="No").click()
        expect(page.get_by_role("alert")).to_contain_text("The issuer did not sign you in.")
        assert page.url == f"{here}/new?service={system.service}", "the address keeps nothing of it"
        way.click()
        page.get_by_role("link", name="I am Ada").wait_for()
        issuer.away = True
        page.get_by_role("link", name="I am Ada").click()
        expect(page.get_by_role("alert")).to_contain_text("The issuer cannot be reached just now.")
        check_for_everybody(page, PICTURES, "sign-in-refused")

        issuer.away = False
        way.click()
        page.get_by_role("link", name="I am Ada").click()
        expect(page.get_by_role("alert")).to_contain_text("Too many sign-ins from your network have failed")
        expect(page.get_by_role("alert")).to_contain_text("Begin again in 2 h.")  # when there is room for one
        assert page.url == f"{here}/new?service={system.service}"


def test_a_sign_in_that_ends_says_so_and_leads_back_to_where_one_was(
    browser: Browser, system: System, tmp_path: Path
) -> None:
    with an_issuers_page(browser, system, tmp_path) as (_, screen):
        where = f"{screen.url}/requests?as=sent&to=me"  # it asks for nothing by itself
        page = screen.open("/requests?as=sent&to=me")
        page.get_by_role("link", name="Sign in with OpenID Connect").click()
        page.get_by_role("link", name="I am Ada").click()
        page.get_by_role("button", name="Sign out").wait_for()
        for ways in ("by the issuer", "by a token"):
            page.wait_for_timeout(1_000)  # what is asked for once the stream opens is over
            end_of_all_sign_ins(system)
            expect(page.get_by_role("alert")).to_contain_text("Your sign-in has ended.")  # nothing was pressed
            check_for_everybody(page, PICTURES, "sign-in-ended")
            if ways == "by a token":
                page.get_by_label("Token").fill(token_of(system, "viewer"))
                page.get_by_role("button", name="Sign in", exact=True).click()
            else:
                page.get_by_role("link", name="Sign in with OpenID Connect").click()
                page.get_by_role("link", name="I am Ada").click()
            page.get_by_role("button", name="Sign out").wait_for()
            assert page.url == where
            assert page.get_by_role("alert").count() == 0


def end_of_all_sign_ins(system: System) -> None:
    """What time brings about after so many hours: the broker has them no more."""
    with redis.Redis.from_url(system.settings.url, decode_responses=True) as client:
        found = list(client.scan_iter("pcs:*:session"))
        assert found
        for key in found:
            client.pexpire(key, 1)
