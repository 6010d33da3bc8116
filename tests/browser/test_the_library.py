"""Stored profiles in a real browser: found, merged, compared, looked at from both sides, taken away as a file.

`PCS_PICTURES=folder` keeps a picture of each page in both themes.
"""

import re
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.support.api import TOKENS, Api
from tests.support.browser import PICTURES, Screen, check_for_everybody
from tests.support.processes import eventually
from tests.support.uploads import agent_body, send

SERVICE: Final = "checkout"
CALM: Final = {
    "java;Server.run;Checkout.pay;Card.charge": 300, "java;Server.run;Checkout.pay;Json.write": 100,
    "java;Server.run;Search.find;Index.read": 400, "java;Server.run;Search.find;Json.write": 50,
    "nginx;worker;epoll_wait": 150,
}  # fmt: skip
SLOW: Final = {
    **CALM, "java;Server.run;Checkout.pay;Json.write": 900, "java;Server.run;Checkout.pay;Retry.sleep": 200,
    "java;Server.run;Search.find;Index.read": 380,
}  # fmt: skip
pytestmark = [pytest.mark.e2e, pytest.mark.timeout(240)]


@pytest.fixture(scope="module")
def stored(served: Api) -> Api:
    """An hour in which checkouts were slow, after one in which they were not; on two hosts each."""
    now = datetime.now(UTC)
    for ago, stacks in ((30, SLOW), (90, CALM)):
        for number, host in enumerate(("checkout-1", "checkout-2")):
            body = agent_body(host, stacks=stacks, start=now - timedelta(minutes=ago + 7 * number))
            assert send(served, SERVICE, body).status_code == 200
    hours = {"service": SERVICE, "start": (now - timedelta(hours=3)).isoformat(), "end": now.isoformat()}

    def are_indexed() -> bool:
        found = served.ok("GET", "/api/v1/profiles", token=served.admin, params=hours)
        return len(found["items"]) == 4

    eventually(are_indexed, within=30, what="four profiles")
    return served


@pytest.fixture
def screen(browser: Browser, stored: Api) -> Iterator[Screen]:
    """A tab of a viewer, who may see everything here."""
    body = {"kind": "viewer", "services": ["*"]}
    token = stored.ok("POST", TOKENS, token=stored.admin, json=body)["token"]
    with browser.new_context(viewport={"width": 1280, "height": 800}, reduced_motion="reduce") as context:
        screen = Screen(context, stored.url)
        screen.sign_in(token, "/profiles")
        yield screen
        screen.check()


def drawn(page: Page, at: str = "graph") -> set[str]:
    """The functions of a graph, as a screen reader says them, without numbers."""
    page.get_by_test_id(at).locator("g.frame").first.wait_for()
    said = page.get_by_test_id(at).locator("g.frame").evaluate_all("all => all.map(g => g.getAttribute('aria-label'))")
    return {re.sub(r"^[▲▼=] \S+ ", "", label.partition(": ")[0]) for label in said}


def test_an_hour_is_found_merged_and_compared_with_the_hour_before(screen: Screen) -> None:
    page = screen.page
    page.get_by_label("Service").fill(SERVICE)
    page.get_by_label("Service").press("Enter")
    expect(page.get_by_role("heading", name="4 profiles")).to_be_visible()
    page.get_by_role("combobox", name="Time", exact=True).select_option("1h")
    expect(page.get_by_role("heading", name="2 profiles")).to_be_visible()
    assert "last=1h" in page.url
    expect(page.get_by_role("img", name=re.compile("^3,960 samples from .*; most, 1,980 samples"))).to_be_visible()
    check_for_everybody(page, PICTURES, "profiles")

    page.get_by_role("link", name="Flame graph of all").click()
    assert {"Checkout.pay", "epoll_wait"} <= drawn(page)
    expect(page.get_by_text("3,960 samples")).to_be_visible()
    page.go_back()
    page.get_by_role("link", name="Compare with the hour before").click()
    expect(page.get_by_role("heading", name="Two flame graphs of checkout, compared")).to_be_visible()
    assert {"Retry.sleep", "Card.charge"} <= drawn(page)
    first = page.get_by_role("region", name="Functions").get_by_role("row").nth(1)
    expect(first).to_contain_text("Json.write")
    expect(first).to_contain_text("▲ +")
    expect(page.get_by_role("list", name="What the colours mean")).to_contain_text("▼ gone")
    check_for_everybody(page, PICTURES, "flamegraph-compared")
    with page.expect_download() as download:
        page.get_by_role("link", name="collapsed").click()
    assert re.search(r"Retry.sleep 0 \d+$", Path(download.value.path()).read_text(), re.MULTILINE)

    page.get_by_role("button", name="Swap").click()
    expect(first).to_contain_text("▼")
    page.get_by_role("button", name="Stop comparing").click()
    expect(page.get_by_role("heading", name="Flame graph of checkout")).to_be_visible()
    assert "Retry.sleep" not in drawn(page)  # it is the hour before that stayed
    page.get_by_role("button", name="Compare…").click()
    check_for_everybody(page, PICTURES, "flamegraph-compare-with")
    page.get_by_label("Host", exact=True).fill("checkout-2")
    page.get_by_role("button", name="Compare with it").click()
    page.wait_for_url("**base_hostname=checkout-2")


def test_speedscope_shows_the_same_selection_and_reaches_nothing(screen: Screen) -> None:
    now = datetime.now(UTC)
    start, end = (f"{now + timedelta(minutes=by):%Y-%m-%dT%H:%M:%SZ}" for by in (-180, 1))
    page = screen.open(f"/flamegraph?service={SERVICE}&start={start}&end={end}")
    page.get_by_role("button", name="speedscope", exact=True).click()
    page.wait_for_url("**view=speedscope")
    frame = page.frame_locator("iframe[title^=speedscope]")
    frame.get_by_text("Sandwich").click()
    expect(frame.get_by_text("Checkout.pay")).to_be_visible()
    check_for_everybody(page, PICTURES, "flamegraph-speedscope")
    inside = page.frames[-1]
    assert inside.evaluate("() => window.origin") == "null"
    refused = """async () => {
        try { await new Promise((good, bad) => {
            const call = new XMLHttpRequest();
            call.onload = good; call.onerror = bad; call.open("GET", "/api/v1/hosts"); call.send();
        }); return "answered"; } catch { return "refused"; }
    }"""
    assert inside.evaluate(refused) == "refused"
    screen.said[:] = [said for said in screen.said if "connect-src" not in said and "/api/v1/hosts" not in said]


def test_a_function_is_seen_between_its_callers_and_callees_by_whoever_gets_the_address(screen: Screen) -> None:
    now = datetime.now(UTC)
    start, end = (f"{now + timedelta(minutes=by):%Y-%m-%dT%H:%M:%SZ}" for by in (-180, 1))
    page = screen.open(f"/flamegraph?service={SERVICE}&start={start}&end={end}")
    assert "all" in drawn(page)
    page.get_by_role("searchbox").fill("json")
    page.get_by_role("button", name="Callers and callees of Json.write").click()
    assert drawn(page, "callers") == {"Json.write", "Checkout.pay", "Search.find", "Server.run", "java"}
    assert drawn(page, "callees") == {"Json.write"}
    check_for_everybody(page, PICTURES, "flamegraph-sandwich")

    page.get_by_role("button", name="both").click()
    page.get_by_role("searchbox").fill("")
    page.keyboard.press("Escape")
    page.keyboard.press("i")  # the root at the bottom
    page.get_by_test_id("graph").locator("g.frame", has_text="Search.find").focus()
    page.keyboard.press("Enter")
    page.wait_for_url("**zoom=*")
    page.reload()
    assert {"Index.read", "Search.find"} <= drawn(page)
    assert not {"Checkout.pay", "nginx"} & drawn(page)
    tops = {
        name: page.get_by_test_id("graph").locator("g.frame", has_text=name).bounding_box()
        for name in ("Index.read", "Search.find")
    }
    assert tops["Index.read"] is not None
    assert tops["Search.find"] is not None
    assert tops["Index.read"]["y"] < tops["Search.find"]["y"]
    with page.expect_download() as download:
        page.get_by_role("button", name="SVG of what is drawn").click()
    words = "".join(ET.parse(download.value.path()).getroot().itertext())
    assert "Index.read" in words
    assert "Checkout.pay" not in words
    page.go_back()  # out of the zoom
    expect(page.get_by_test_id("graph").locator("g.frame", has_text="nginx")).to_be_visible()
    page.keyboard.press("v")
    expect(page.get_by_role("button", name="flame", exact=True)).to_have_attribute("aria-pressed", "true")
    check_for_everybody(page, PICTURES, "flamegraph-up")


def part_of_the_hour(stored: Api, host: str) -> float:
    """Where in the last hour the profile of a host began: 0 is an hour ago, 1 is now."""
    now = datetime.now(UTC)
    asked = {
        "service": SERVICE,
        "hostname": host,
        "start": (now - timedelta(hours=1)).isoformat(),
        "end": now.isoformat(),
    }
    (found,) = stored.ok("GET", "/api/v1/profiles", token=stored.admin, params=asked)["items"]
    return 1 - (now - datetime.fromisoformat(found["started_at"])) / timedelta(hours=1)


def test_a_time_is_picked_on_the_chart_and_what_is_not_there_says_what_to_do(screen: Screen, stored: Api) -> None:
    page = screen.open(f"/profiles?service={SERVICE}&last=6h")
    expect(page.get_by_role("heading", name="4 profiles")).to_be_visible()
    page.get_by_role("slider", name="From").press("End")
    page.get_by_role("button", name="Look at this time").click()
    page.wait_for_url("**start=*")
    expect(page.get_by_role("heading", name=f"No profile of {SERVICE} by CPU time began in this time")).to_be_visible()
    check_for_everybody(page, PICTURES, "profiles-none")
    page.get_by_role("button", name="Look at the last 1 hour").click()
    expect(page.get_by_role("heading", name="2 profiles")).to_be_visible()

    chart = page.get_by_role("img", name=re.compile("samples from"))
    chart.wait_for()
    expect(page.get_by_role("region", name="Samples over time")).to_have_attribute("aria-busy", "false")
    bars = chart.bounding_box()
    assert bars is not None
    earlier = part_of_the_hour(stored, "checkout-2")  # which begins seven minutes before the other
    page.mouse.move(bars["x"] + bars["width"] * (earlier - 0.05), bars["y"] + 20)
    page.mouse.down()
    page.mouse.move(bars["x"] + bars["width"] * (earlier + 0.05), bars["y"] + 20)
    page.mouse.up()
    page.get_by_role("button", name="Look at this time").click()
    expect(page.get_by_role("heading", name="1 profile", exact=True)).to_be_visible()

    page.get_by_role("combobox", name="Time", exact=True).select_option("24h")
    page.get_by_role("button", name="checkout-2").first.click()
    page.wait_for_url("**hostname=checkout-2**")
    expect(page.get_by_role("heading", name="2 profiles")).to_be_visible()
    for box in page.get_by_role("checkbox").all():
        box.check()
    page.get_by_role("link", name="Compare the two").click()
    expect(page.get_by_role("region", name="Functions").get_by_role("row").nth(1)).to_contain_text("▲ +")
