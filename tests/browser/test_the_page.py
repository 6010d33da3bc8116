"""The page in a real browser: from opening it to the flame graph of a real program, profiled by the real agent.

`PCS_PICTURES=folder` keeps a picture of each page in both themes.
"""

from pathlib import Path
from typing import Final

import pytest
from playwright.sync_api import Browser, expect

from api.routes.console import PAGES
from tests.support.browser import PICTURES, Screen, check_for_everybody, token_of
from tests.support.system import System

SLOW_MS: Final = 60_000
SECONDS: Final = 3
pytestmark = [pytest.mark.e2e, pytest.mark.timeout(240)]


def test_from_opening_the_page_to_the_flame_graph_of_a_real_program(screen: Screen, system: System) -> None:
    page = screen.open()
    check_for_everybody(page, PICTURES, "sign-in")
    page = screen.sign_in(token_of(system, "operator"))

    page.get_by_role("button", name="online 1").click()
    assert "status=online" in page.url
    page.get_by_label(f"Choose {system.host}").check()
    check_for_everybody(page, PICTURES, "fleet")
    page.get_by_role("button", name="Profile 1 host").click()

    expect(page.get_by_test_id("preview")).to_contain_text("1 host, 1 online, 0 busy")
    page.get_by_label("Duration, seconds").fill(str(SECONDS))
    page.get_by_label("Processes, by pid").fill(str(system.sample_pid))
    expect(page.get_by_role("checkbox", name="py-spy")).to_be_checked()  # the agent says that it has it
    page.get_by_role("button", name="Dry run").click()
    expect(page.get_by_text("Valid for 1 host; nothing was changed.")).to_be_visible()
    check_for_everybody(page, PICTURES, "new-command")
    page.get_by_role("button", name="Profile…").click()
    page.get_by_role("button", name="Yes, profile 1 host").click()

    page.wait_for_url("**/requests/*")
    bar = page.get_by_role("list", name="Outcomes")
    expect(bar.get_by_text("completed", exact=True)).to_be_visible(timeout=SLOW_MS)
    graph = page.get_by_test_id("graph")
    expect(graph.locator("g.frame").first).to_be_visible(timeout=SLOW_MS)
    page.keyboard.press("/")
    page.keyboard.type("crunch_")
    expect(page.get_by_text("% matched")).to_be_visible()
    check_for_everybody(page, PICTURES, "request")

    page.get_by_role("link", name="Open by itself").click()
    page.get_by_role("searchbox").fill("crunch_")
    page.wait_for_url("**q=crunch_")
    expect(graph.locator("g.frame").first).to_be_visible()
    matched = float(page.get_by_text("% matched").inner_text().split()[0])
    assert matched > 20, "the sample program spends more than half of its time there"
    graph.locator("g.frame").first.focus()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    check_for_everybody(page, PICTURES, "flamegraph")
    with page.expect_download() as download:
        page.get_by_role("link", name="collapsed").click()
    assert "crunch_" in Path(download.value.path()).read_text()
    page.goto("about:blank")
    page.go_back()  # the address is enough
    expect(page.get_by_role("searchbox")).to_have_value("crunch_")
    expect(graph.locator("g.frame").first).to_be_visible()


def test_a_viewer_is_offered_nothing_that_he_may_not_do(screen: Screen, system: System) -> None:
    page = screen.sign_in(token_of(system, "viewer"))
    expect(page.get_by_text(system.host)).to_be_visible()
    assert page.get_by_role("checkbox").count() == 0
    assert page.get_by_role("link", name="New command").count() == 0
    page = screen.open("/new")
    expect(page.get_by_text("Your token may look, and not ask for profiles")).to_be_visible()
    refused = page.evaluate(
        """() => fetch("/api/metrics/profile_request", {
            method: "POST", headers: { "Content-Type": "application/json", "X-Studio-Page": "1" },
            body: JSON.stringify({ service_name: "shop", target_hostnames: ["host-1"] }),
        }).then(answer => answer.status)"""
    )
    assert refused == 403
    assert page.evaluate("() => document.cookie + JSON.stringify(localStorage)") == "{}"
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_label("Token")).to_be_visible()
    page.reload()
    expect(page.get_by_label("Token")).to_be_visible()
    # The refusal that was asked for, of which the browser may tell late.
    screen.said = [each for each in screen.said if "403" not in each or "/api/metrics/profile_request" not in each]


def test_at_twice_the_size_no_page_is_wider_than_the_window(screen: Screen, system: System) -> None:
    page = screen.sign_in(system.tokens["admin"])
    page.set_viewport_size({"width": 640, "height": 400})  # what 1280 by 800 comes to at 200 %
    for path in PAGES:
        if "{" in path or path == "/sign-in":
            continue
        page.goto(f"{system.url}{path}")
        page.get_by_role("heading").first.wait_for()
        widths = page.evaluate("() => [document.documentElement.scrollWidth, window.innerWidth]")
        assert widths[0] <= widths[1], path


def test_a_cancel_is_seen_in_another_tab_without_a_reload(browser: Browser, system: System) -> None:
    with browser.new_context() as context:
        one, other = Screen(context, system.url), Screen(context, system.url)
        page = one.sign_in(token_of(system, "operator"))
        asked = system.submit(duration=600)
        beside = other.open(f"/requests/{asked['request_id']}")
        page.goto(f"{system.url}/requests/{asked['request_id']}")
        expect(beside.get_by_role("list", name="Outcomes").get_by_text("running", exact=True)).to_be_visible()
        check_for_everybody(page, PICTURES, "request-running")
        page.get_by_role("button", name="Cancel…").click()
        page.get_by_role("button", name="Yes, cancel on 1 host").click()
        expect(beside.get_by_role("list", name="Outcomes").get_by_text("cancelled", exact=True)).to_be_visible()
        page.get_by_role("link", name="Requests").click()
        expect(page.get_by_role("row").filter(has_text="cancelled").first).to_be_visible()
        check_for_everybody(page, PICTURES, "requests")
        page.keyboard.press("?")
        expect(page.get_by_role("dialog", name="Keys")).to_be_visible()
        check_for_everybody(page, PICTURES, "keys")
        one.check()
        other.check()
