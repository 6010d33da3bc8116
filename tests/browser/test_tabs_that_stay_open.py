"""The page for those who leave it open, or never touch a mouse: many tabs, a server that goes away, a keyboard alone.

The API has two workers here: which of them answers a call, or has a tab's stream, is nothing that a page may notice.
"""

from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from playwright.sync_api import Browser, Locator, Page, Route, expect

from tests.support.browser import Screen, token_of
from tests.support.processes import eventually
from tests.support.scrapes import Scrape
from tests.support.system import System, running_system

SLOW_MS = 60_000
MOST_TABS_OF_THE_KEY = 80
pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    with running_system(tmp_path_factory.mktemp("tabs"), workers_of_api=2) as system:
        yield system


def listeners(system: System) -> float:
    """How many streams of events the API has open."""
    answer = system.http.get(f"{system.url}/metrics", headers=system.as_admin)
    return Scrape(answer.text).value("pcs_live_listeners")


def outcomes(page: Page) -> Locator:
    return page.get_by_role("list", name="Outcomes")


def is_the_same_page(page: Page) -> bool:
    """Whether it was not loaded anew since `mark`."""
    marked: bool = page.evaluate("() => window.marked === true")
    return marked


def mark(page: Page) -> None:
    page.evaluate("() => { window.marked = true }")


def test_eight_tabs_are_live_at_once_over_one_stream(browser: Browser, system: System) -> None:
    with browser.new_context() as context:
        screens = [Screen(context, system.url) for _ in range(8)]
        screens[0].sign_in(token_of(system, "operator"))
        asked = system.submit(duration=600)
        for screen in screens:
            screen.open(f"/requests/{asked['request_id']}")
        for screen in screens:
            expect(outcomes(screen.page).get_by_text("running", exact=True)).to_be_visible()
            mark(screen.page)
        eventually(lambda: listeners(system) == 1, what="one stream for all tabs")
        page = screens[7].page
        page.get_by_role("button", name="Cancel…").click()
        page.get_by_role("button", name="Yes, cancel on 1 host").click()
        for screen in screens:
            expect(outcomes(screen.page).get_by_text("cancelled", exact=True)).to_be_visible()
            assert is_the_same_page(screen.page)
            screen.check()
        for screen in screens[1:]:
            screen.page.close()
        assert listeners(system) == 1
        screens[0].page.close()
        eventually(lambda: listeners(system) == 0, what="no stream for nobody")


@pytest.mark.parametrize("alone", [False, True], ids=["one stream for all", "a browser without shared workers"])
def test_an_open_page_survives_a_restart_of_the_api(browser: Browser, system: System, alone: bool) -> None:
    with browser.new_context() as context:
        if alone:
            context.add_init_script("delete window.SharedWorker")
        screen = Screen(context, system.url)
        page = screen.sign_in(token_of(system, "operator"), "/requests")
        live = page.get_by_role("status")
        expect(live).to_have_text("live")
        mark(page)

        system.roles["api"].kill()
        expect(live).to_have_text("reconnecting…")
        system.roles["api"].restart()
        expect(live).to_have_text("live", timeout=SLOW_MS)
        asked = system.submit(idempotency_key=f"after-{alone}", duration=600)
        link = page.locator(f"a[href='/requests/{asked['request_id']}']")
        expect(link.first).to_be_visible()
        assert is_the_same_page(page)
        link.first.click()
        expect(outcomes(page).get_by_text("running", exact=True)).to_be_visible(timeout=SLOW_MS)
        system.http.delete(f"{system.url}/api/v1/requests/{asked['request_id']}", headers=system.as_admin)
        expect(outcomes(page).get_by_text("cancelled", exact=True)).to_be_visible()
        assert is_the_same_page(page)


def test_a_host_that_fails_says_why(browser: Browser, system: System) -> None:
    gone = 4_194_303  # more than any process's number here
    with browser.new_context() as context:
        screen = Screen(context, system.url)
        screen.sign_in(token_of(system, "operator"))
        asked = system.submit(duration=2, pids=[gone])
        page = screen.open(f"/requests/{asked['request_id']}")
        expect(outcomes(page).get_by_text("failed", exact=True)).to_be_visible(timeout=SLOW_MS)
        reason = system.on_host(asked["request_id"])["reason"]
        assert str(gone) in reason
        expect(page.get_by_text(reason).first).to_be_visible()
        expect(page.get_by_role("button", name="Retry 1 failed host")).to_be_visible()
        screen.check()


def test_what_happens_before_the_stream_is_open_is_seen_too(browser: Browser, system: System) -> None:
    held: list[Route] = []

    def hold(route: Route) -> None:
        held.append(route)

    with browser.new_context() as context:
        context.add_init_script("delete window.SharedWorker")  # whose calls nobody can hold up here
        screen = Screen(context, system.url)
        page = screen.sign_in(token_of(system, "operator"))
        asked = system.submit(duration=600)
        system.wait_for(asked["request_id"], "running")
        page.route("**/api/v1/events?*", hold)
        screen.open(f"/requests/{asked['request_id']}")
        expect(outcomes(page).get_by_text("running", exact=True)).to_be_visible()
        system.http.delete(f"{system.url}/api/v1/requests/{asked['request_id']}", headers=system.as_admin)
        system.wait_for(asked["request_id"])
        (stream,) = held
        stream.continue_()
        expect(outcomes(page).get_by_text("cancelled", exact=True)).to_be_visible()
        screen.check()


class Keyboard:
    """Somebody who has nothing else."""

    def __init__(self, page: Page) -> None:
        self._page = page

    def go_to(self, wanted: Locator) -> None:
        """Press Tab until it has the focus, and see that this shows."""
        for _ in range(MOST_TABS_OF_THE_KEY):
            self._page.keyboard.press("Tab")
            if wanted.evaluate("element => element === document.activeElement"):
                break
        else:
            pytest.fail(f"no Tab leads to {wanted}")
        seen: Any = wanted.evaluate(
            "element => { const { outlineStyle, outlineWidth } = getComputedStyle(element); "
            "return [outlineStyle, outlineWidth] }"
        )
        assert seen[0] != "none", f"it does not show that {wanted} has the focus"
        assert seen[1] != "0px", f"it does not show that {wanted} has the focus"

    def press(self, *keys: str) -> None:
        for key in keys:
            self._page.keyboard.press(key)

    def write(self, text: str) -> None:
        self._page.keyboard.press("Control+a")
        self._page.keyboard.type(text)


def test_a_keyboard_is_enough_for_the_whole_way(browser: Browser, system: System) -> None:
    with browser.new_context(viewport={"width": 1280, "height": 800}, reduced_motion="reduce") as context:
        screen = Screen(context, system.url)
        page = screen.open()
        keys = Keyboard(page)
        page.get_by_label("Token").wait_for()
        keys.write(token_of(system, "operator"))  # the field has the focus
        keys.press("Enter")
        host = page.get_by_label(f"Choose {system.host}")
        host.wait_for()
        keys.go_to(host)
        keys.press("Space")
        keys.go_to(page.get_by_role("button", name="Profile 1 host"))
        keys.press("Enter")
        expect(page.get_by_test_id("preview")).to_contain_text("1 host, 1 online")
        keys.go_to(page.get_by_label("Duration, seconds"))
        keys.write("2")
        keys.go_to(page.get_by_label("Processes, by pid"))
        keys.write(str(system.sample_pid))
        keys.go_to(page.get_by_role("button", name="Profile…"))
        keys.press("Enter")
        sure = page.get_by_role("button", name="Yes, profile 1 host")
        sure.wait_for()
        keys.go_to(sure)
        keys.press("Enter")
        page.wait_for_url("**/requests/*")
        expect(outcomes(page).get_by_text("completed", exact=True)).to_be_visible(timeout=SLOW_MS)
        frame = page.get_by_test_id("graph").locator("g.frame").first
        expect(frame).to_be_visible(timeout=SLOW_MS)
        keys.press("/")
        page.keyboard.type("crunch_")
        expect(page.get_by_text("% matched")).to_be_visible()
        keys.press("Escape", "g", "f")
        expect(host).to_be_visible()
        screen.check()


def test_a_theme_that_was_chosen_stays_for_who_is_not_signed_in_too(browser: Browser, system: System) -> None:
    with browser.new_context(color_scheme="light") as context:
        screen = Screen(context, system.url)
        page = screen.sign_in(token_of(system, "viewer"))
        root = page.locator("html")
        expect(root).to_have_attribute("data-theme", "light")
        page.get_by_role("button", name="Switch to the dark theme").click()
        expect(root).to_have_attribute("data-theme", "dark")
        page.get_by_role("button", name="Sign out").click()
        page.get_by_label("Token").wait_for()  # a reload right away would break the call off
        page.reload()
        page.get_by_label("Token").wait_for()
        expect(root).to_have_attribute("data-theme", "dark")
        screen.check()


def test_what_is_asked_elsewhere_is_seen_by_whoever_comes_back_to_a_page(browser: Browser, system: System) -> None:
    with browser.new_context() as context:
        screen = Screen(context, system.url)
        page = screen.sign_in(token_of(system, "operator"), "/requests")
        page.goto("about:blank")
        asked = system.submit(duration=1, frequency=49)
        page.go_back()
        expect(page.locator(f"a[href='/requests/{asked['request_id']}']").first).to_be_visible()
        later = system.submit(duration=1, frequency=51)
        expect(page.locator(f"a[href='/requests/{later['request_id']}']").first).to_be_visible()
        assert httpx.URL(page.url).path == "/requests"
    for each in (asked, later):
        system.wait_for(each["request_id"])  # else the next test's request would be merged with it
