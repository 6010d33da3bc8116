"""The form of a new command in a browser: workloads, turns, schedules, stops, and the same again where it failed."""

from collections.abc import Iterator
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any, Final, cast

import httpx
import pytest
from playwright.sync_api import Browser, Page, expect

from tests.support.api import COMPLETION, HEARTBEAT, Api
from tests.support.browser import PICTURES, Screen, check_for_everybody, token_of
from tests.support.deaf_hosts import beat, given_up_on
from tests.support.processes import eventually
from tests.support.system import System
from tests.support.uploads import agent_body, send

SLOW_MS: Final = 60_000
pytestmark = [pytest.mark.e2e, pytest.mark.timeout(240)]
KEPT = {
    "duration": 2, "frequency": 11, "profiling_mode": "wall", "priority": "urgent", "expires_in": 600,
    "max_concurrency": "50%", "additional_args": {"profiler_configs": {"perf": "disabled"}, "team": "checkout"},
}  # fmt: skip


@pytest.fixture(scope="module")
def page(browser: Browser, system: System) -> Iterator[Page]:
    """One sign-in for all that follows."""
    with browser.new_context(viewport={"width": 1280, "height": 1100}, reduced_motion="reduce") as context:
        screen = Screen(context, system.url)
        yield screen.sign_in(token_of(system, "operator"), "/new")
        screen.said = [each for each in screen.said if "422" not in each]  # the refusal that is asked for below
        screen.check()


def sent(page: Page, button: str) -> str:
    """Confirm; gives the id of the request that was made."""
    page.get_by_role("button", name=button).click()
    page.wait_for_url("**/requests/*")
    return page.url.rpartition("/")[2]


def asked(system: System, request_id: str) -> dict[str, Any]:
    shown = system.status(request_id)
    assert shown is not None
    return {**shown["asked"], "hosts": [host["hostname"] for host in shown["hosts"]]}


def test_the_same_is_asked_again_where_it_went_wrong_and_nowhere_else(page: Page, system: System) -> None:
    hosts = ["deaf-3", system.host]
    former = given_up_on(system, "deaf-3", target_hostnames=hosts, **{**KEPT, "max_concurrency": 2})
    page.goto(f"{system.url}/requests/{former}")
    outcomes = page.get_by_role("list", name="Outcomes")
    expect(outcomes.get_by_text("handed out 10 times without an ack")).to_be_visible()
    page.get_by_role("button", name="Retry 1 failed host").click()
    expect(page.get_by_text("with all that it asked")).to_be_visible()
    expect(page.get_by_label("Frequency, Hz")).to_have_value("11")
    expect(page.get_by_role("checkbox", name="perf")).not_to_be_checked()
    expect(page.get_by_label("Other arguments of the agent")).to_have_value('{"team":"checkout"}')
    check_for_everybody(page, PICTURES, "again")
    page.get_by_role("button", name="Profile…").click()
    expect(page.get_by_text("2 s at 11 Hz: some 22 samples a busy core")).to_be_visible()
    again = asked(system, sent(page, "Yes, profile 1 host"))
    assert again == {**asked(system, former), "hosts": ["deaf-3"]}
    assert again == again | {**KEPT, "max_concurrency": 2}


def test_a_failure_beyond_the_first_thousand_hosts_is_told_found_and_tried_again(page: Page, system: System) -> None:
    some = [f"absent-{number:04}" for number in range(1_000)]
    former = given_up_on(system, "zz-deaf", target_hostnames=[*some, "zz-deaf"], duration=2)
    page.goto(f"{system.url}/requests/{former}")
    outcomes = page.get_by_role("list", name="Outcomes")
    expect(outcomes.get_by_text("handed out 10 times without an ack")).to_be_visible()
    bars = page.get_by_role("region", name="Hosts over time")
    expect(bars.get_by_role("listitem").first).to_contain_text("zz-deaf")
    expect(bars.get_by_role("listitem")).to_have_count(200)
    bars.get_by_role("button", name="Show 200 more").click()
    expect(bars.get_by_role("listitem")).to_have_count(400)
    bars.get_by_label("Which hosts").select_option("undeliverable")
    expect(bars.get_by_role("listitem")).to_have_count(1)
    check_for_everybody(page, PICTURES, "request-large")
    page.get_by_role("button", name="Retry 1 failed host").click()
    page.get_by_role("button", name="Profile…").click()
    assert asked(system, sent(page, "Yes, profile 1 host"))["hosts"] == ["zz-deaf"]
    system.http.delete(f"{system.url}/api/v1/requests/{former}", headers=system.as_admin)


def test_all_that_match_are_chosen_also_those_that_are_not_seen(page: Page, system: System) -> None:
    for number in range(120):
        beat(system, f"edge-{number:03}", service="edge")
    beat(system, "edge-of-the-world", service="maps")
    page.goto(f"{system.url}/?q=edge-")
    expect(page.get_by_role("heading", name="121 of")).to_be_visible()
    page.get_by_role("button", name="edge 120").click()
    page.wait_for_url("**service=edge**")
    expect(page.get_by_role("heading", name="120 of")).to_be_visible()
    assert page.get_by_role("checkbox").count() < 60, "only those that are seen are drawn"
    page.reload()  # the address is enough
    page.get_by_role("button", name="Choose all 120 that match").click()
    page.get_by_role("button", name="edge 120").click()  # what is chosen stays so, whatever is shown
    page.get_by_role("button", name="Profile 120 hosts").click()
    expect(page.get_by_test_id("preview")).to_contain_text("120 hosts, 120 online")
    expect(page.get_by_text("These hosts do not say what they have")).to_be_visible()
    assert page.get_by_role("group", name="Profilers").get_by_role("checkbox").count() == 0
    page.get_by_role("button", name="Dry run").click()
    expect(page.get_by_text("Valid for 120 hosts; nothing was changed.")).to_be_visible()


def test_a_service_in_turns_and_a_stop_of_it(page: Page, system: System) -> None:
    page.goto(f"{system.url}/new?service={system.service}")
    expect(page.get_by_role("combobox", name="For", exact=True)).to_have_value("service")
    page.get_by_text("How many at a time").click()
    page.get_by_label("Hosts at a time").fill("1")
    page.get_by_label("Halt after failures").fill("50%")
    page.get_by_label("Duration, seconds").fill("1")
    page.get_by_role("button", name="Profile…").click()
    sure = page.get_by_role("button", name="Yes, profile")
    expect(sure).to_be_visible()
    expect(page.get_by_text("so at least")).to_be_visible()
    check_for_everybody(page, PICTURES, "new-turns")
    told = asked(system, sent(page, "Yes, profile"))
    assert told == told | {"target_scope": "service", "max_concurrency": 1, "max_errors": "50%", "duration": 1}

    page.goto(f"{system.url}/new?service={system.service}")
    page.get_by_label("What to do").select_option("stop")
    page.get_by_role("button", name="Stop…").click()
    told = asked(system, sent(page, "Yes, stop"))
    assert told == told | {"command_type": "stop", "target_scope": "service", "stop_level": "host"}


def test_a_process_by_its_name_and_one_that_nobody_runs(page: Page, system: System) -> None:
    page.goto(f"{system.url}/new?service={system.service}")
    page.get_by_role("combobox", name="For", exact=True).select_option("process")
    expect(page.get_by_text("Say which process is meant.")).to_be_visible()
    page.get_by_label("Process, by name").fill("no-such-program")
    page.get_by_role("button", name="Dry run").click()
    expect(page.get_by_role("alert").or_(page.get_by_text("Valid for 0 hosts")).first).to_be_visible()
    check_for_everybody(page, PICTURES, "new-process")


CART = {"namespace": "shop", "workload_name": "cart", "workload_kind": "Deployment"}


def test_from_a_service_to_one_of_its_pods_and_what_is_known_of_it_is_offered(page: Page, system: System) -> None:
    pods = [
        {**CART, "container_id": f"id-{number}", "container_name": "app", "pod_name": f"cart-{number}",
         "processes": [{"pid": 100 + number, "process_name": "java"}]}
        for number in range(3)
    ]  # fmt: skip
    as_agent = {"Authorization": f"Bearer {system.tokens['agent']}"}
    beat = {"service_name": "pods", "hostname": "node-1", "ip_address": "127.0.0.1", "status": "active"}
    told = system.http.post(
        f"{system.url}/api/metrics/heartbeat", json={**beat, "containers": pods}, headers=as_agent
    )  # fmt: skip
    assert told.status_code == 200, told.text

    page.goto(f"{system.url}/services")
    row = page.get_by_role("row").filter(has_text="pods")
    expect(row).to_contain_text("1 of 1")
    check_for_everybody(page, PICTURES, "services")
    row.get_by_role("link", name="Workloads of pods").click()
    expect(page.get_by_role("row").filter(has_text="cart")).to_contain_text("Deployment")
    page.get_by_role("button", name="Pods 3").click()
    page.get_by_label("Pod", exact=True).fill("CART-1")
    expect(page.get_by_role("heading", name="1 pod")).to_be_visible()
    assert "pod_name=CART-1" in page.url
    page.get_by_label("Choose shop cart-1").check()
    check_for_everybody(page, PICTURES, "workloads")
    page.get_by_role("button", name="Profile 1 pod…").click()

    expect(page.get_by_role("combobox", name="For", exact=True)).to_have_value("pod")
    pod = page.get_by_label("Pod", exact=True)
    expect(pod).to_have_value("cart-1")
    expect(page.get_by_label("Namespace", exact=True)).to_have_value("shop")
    page.get_by_role("button", name="Dry run").click()
    expect(page.get_by_text("Valid for 1 host; nothing was changed.")).to_be_visible()
    pod.fill("cart")
    expect(page.locator("datalist option[value=cart-2]")).to_be_attached()


def test_a_schedule_is_made_by_the_same_form(page: Page, system: System) -> None:
    page.goto(f"{system.url}/new?when=schedule")
    page.get_by_role("combobox", name="Service", exact=True).select_option(system.service)
    page.get_by_role("combobox", name="For", exact=True).select_option("service")
    page.get_by_label("Name", exact=True).fill("nightly")
    page.get_by_label("Time zone").fill("Europe/Berlin")
    page.get_by_label("Catch up within, seconds").fill("900")
    page.get_by_label("Pause after failures").fill("0")
    page.get_by_role("button", name="Schedule…").click()
    expect(page.get_by_text("It would fire")).to_contain_text("03:00")
    check_for_everybody(page, PICTURES, "new-schedule")
    page.get_by_role("button", name="Yes, schedule it").click()
    page.wait_for_url("**/schedules")
    expect(page.get_by_role("row").filter(has_text="nightly")).to_contain_text("Europe/Berlin")
    (made,) = system.get("/api/v1/schedules", {})["items"]
    assert (made["cron"], made["service_name"], made["state"]) == ("0 3 * * *", system.service, "active")
    assert (made["catch_up"], made["pause_after"]) == (900, 0)


def test_the_flame_graph_grows_with_each_host_also_when_a_profile_comes_after_the_word_of_it(
    page: Page, system: System
) -> None:
    as_agent = {"Authorization": f"Bearer {system.tokens['agent']}"}
    beat(system, "late")
    accepted = system.submit(target_hostnames=[system.host, "late"], duration=1)
    page.goto(f"{system.url}/requests/{accepted['request_id']}")
    graph = page.get_by_test_id("graph")
    expect(graph.locator("g.frame").first).to_be_visible(timeout=SLOW_MS)
    told = {"ip_address": "127.0.0.1", "hostname": "late", "service_name": system.service, "status": "active"}
    taken: dict[str, Any] = {}

    def has_come() -> bool:
        answer = system.http.post(f"{system.url}{HEARTBEAT}", json=told, headers=as_agent)
        taken.update(answer.json())
        return taken["profiling_command"] is not None

    eventually(has_come, within=30, what="the command of the other host")
    done = {"command_id": taken["command_id"], "hostname": "late", "status": "completed", "samples": 45}
    answer = system.http.post(f"{system.url}{COMPLETION}", json=done | {"execution_time": 1}, headers=as_agent)
    assert answer.status_code == 200, answer.text
    expect(page.get_by_role("status").filter(has_text="2 of 2 hosts done")).to_be_visible()
    page.wait_for_timeout(1_500)  # it has looked by then, and found nothing new
    stacks = {"python;late_function": 45}
    body = agent_body("late", stacks=stacks, start=datetime.now(UTC), command_id=taken["command_id"])
    with httpx.Client(base_url=system.url, trust_env=False) as http:
        api = SimpleNamespace(http=http, agent=system.tokens["agent"])
        assert send(cast("Api", api), system.service, body).status_code == 200
    expect(graph.locator("g.frame", has_text="late_function")).to_be_visible(timeout=SLOW_MS)
