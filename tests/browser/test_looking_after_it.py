"""The pages of those who look after the system, in a real browser: health with dead letters."""

import json
from typing import Final

import pytest
from click.testing import CliRunner, Result
from playwright.sync_api import expect

from broker.scripts import MOST_ATTEMPTS
from cli.main import main
from tests.support.browser import PICTURES, Screen, check_for_everybody, token_of
from tests.support.deaf_hosts import given_up_on
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
