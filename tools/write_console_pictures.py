"""Write `docs/pictures/`: every page of the console in both themes, from a running system, by a real browser.

    .venv/bin/python tools/write_console_pictures.py
    .venv/bin/python tools/write_console_pictures.py --out /tmp/pictures

It starts a system with a real agent, some played ones and a fleet that only beats, profiles a program, takes the
pictures and ends it all. A test holds `docs/console-pictures.md` to each page; no two pictures are alike.
"""

import argparse
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final, NamedTuple
from urllib.parse import urlencode

ROOT: Final = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import httpx  # noqa: E402 - as what follows, behind the path
from playwright.sync_api import Browser, Page  # noqa: E402 - likewise

from tests.support.browser import THEMES, Screen, running_browser  # noqa: E402 - it lies in the folder above
from tests.support.played_agents import PlayedAgent, played  # noqa: E402 - likewise
from tests.support.processes import eventually  # noqa: E402 - likewise
from tests.support.studio import studio_up  # noqa: E402 - likewise

OUT: Final = ROOT / "docs" / "pictures"
SAMPLE: Final = (sys.executable, str(ROOT / "cli" / "sample.py"), "--parent", str(os.getpid()))
"""A program with known hot functions; it ends with this one."""
SIZE: Final = {"width": 1280, "height": 800}
SETTLES_MS: Final = 1_500
HOT: Final = "crunch_numbers (sample.py:26)"
FLEET: Final = {"checkout": 14, "search": 9, "payments": 6}
"""Service -> hosts that are online and do nothing."""

CAPABILITIES: Final = {"profilers": {name: {"available": True} for name in ("perf", "py-spy")}}


class Made(NamedTuple):
    """What there is to see: ids of requests."""

    before: str
    profiled: str
    failed: str


class Shot(NamedTuple):
    """A picture: its name, the page's address, and what is done there first."""

    name: str
    path: str
    act: Callable[[Page], Any] = lambda _: None


def shots(made: Made) -> Iterator[Shot]:
    """Every page that somebody sees who is signed in."""
    chosen, earlier = selection(made.profiled), selection(made.before)
    flame = f"/flamegraph?{urlencode(chosen)}"
    targets = (
        "sessionStorage.setItem('studio-targets', JSON.stringify(['checkout/checkout-03', 'checkout/checkout-04']))"
    )
    yield Shot("fleet", "/")
    yield Shot("services", "/services")
    yield Shot("workloads", "/workloads", lambda page: page.get_by_role("checkbox").nth(1).check())
    yield Shot("new-command", "/new", lambda page: (page.evaluate(targets), page.reload()))
    yield Shot("requests", "/requests")
    yield Shot("request", f"/requests/{made.profiled}")
    yield Shot("request-failed", f"/requests/{made.failed}")
    yield Shot("flamegraph", f"{flame}&q=crunch_numbers")
    yield Shot("sandwich", f"{flame}&view=sandwich&{urlencode({'function': HOT})}")
    yield Shot("difference", f"{flame}&{urlencode({f'base_{name}': value for name, value in earlier.items()})}")
    yield Shot("profiles", "/profiles?service=local")
    yield Shot("health", "/health")
    yield Shot("audit", "/audit")
    yield Shot("schedules", "/schedules")
    yield Shot("tokens", "/tokens")


def selection(request_id: str) -> dict[str, str]:
    """The profiles of a request, as the API and the flame graph's address say it."""
    start, end = (f"{datetime.now(UTC) + timedelta(hours=hours):%Y-%m-%dT%H:00:00Z}" for hours in (-1, 2))
    return {"service": "local", "request_id": request_id, "start": start, "end": end}


def take(browser: Browser, url: str, token: str, made: Made, out: Path) -> None:
    """All pictures, theme after theme."""
    for theme in THEMES:
        with browser.new_context(viewport=SIZE, reduced_motion="reduce") as context:  # type: ignore[arg-type]  # its own TypedDict
            context.add_init_script(f"localStorage.setItem('studio-theme', '{theme}')")
            screen = Screen(context, url)
            screen.open("/").get_by_label("Token").wait_for()
            screen.page.screenshot(path=out / f"sign-in-{theme}.png")
            page = screen.sign_in(token)
            for shot in shots(made):
                page.goto(f"{url}{shot.path}")
                shot.act(page)
                page.get_by_role("main").wait_for()
                page.wait_for_timeout(SETTLES_MS)
                page.screenshot(path=out / f"{shot.name}-{theme}.png")
                print(f"{shot.name}-{theme}.png")
            screen.check()


def containers(service: str, number: int) -> list[dict[str, Any]]:
    """What runs on a host of the fleet: a pod of each of two workloads, with a process in each container."""
    return [
        {
            "container_id": f"{workload}-{number}-{name}", "container_name": name, "runtime": "containerd",
            "namespace": service, "pod_name": f"{workload}-{number}", "workload_name": workload,
            "workload_kind": kind, "processes": [{"pid": 1_000 + number * 10 + at, "process_name": process}],
        }
        for workload, kind in ((f"{service}-web", "Deployment"), (f"{service}-cache", "StatefulSet"))
        for at, (name, process) in enumerate((("app", "java"), ("proxy", "envoy")))
    ]  # fmt: skip


def beat(http: httpx.Client) -> None:
    """One heartbeat of each host of the fleet that does nothing."""
    for service, hosts in FLEET.items():
        for number in range(1, hosts + 1):
            said = {
                "service_name": service, "hostname": f"{service}-{number:02}", "ip_address": f"10.0.7.{number}",
                "status": "active", "agent_version": "1.2.0" if number % 5 else "1.1.4", "capabilities": CAPABILITIES,
                "containers": containers(service, number),
            }  # fmt: skip
            http.post("/api/metrics/heartbeat", json=said).raise_for_status()


def asked(http: httpx.Client, **said: Any) -> str:
    """The id of a request, submitted now."""
    answer = http.post("/api/metrics/profile_request", json={"duration": 5, "frequency": 99, **said})
    answer.raise_for_status()
    return str(answer.json()["request_id"])


def make(http: httpx.Client, sample: int) -> Made:
    """Something to look at, done and to come. `sample`: the pid of the program that is profiled."""
    one = {"service_name": "local", "target_hostnames": [socket.gethostname()], "pids": [sample]}
    before = asked(http, **one)
    eventually(lambda: is_over(http, before), within=90, what="a profile to compare with")
    profiled = asked(http, **one)
    failed = asked(http, service_name="mixed", target_scope="service")
    schedule = {"name": "nightly", "cron": "30 2 * * *",
                "request": {"service_name": "checkout", "target_scope": "service", "duration": 60}}  # fmt: skip
    http.post("/api/v1/schedules", json=schedule).raise_for_status()
    for kind, name in (("operator", "on call"), ("viewer", "dashboards"), ("agent", "hosts of checkout")):
        body = {"kind": kind, "services": ["*"], "name": name}
        http.post("/api/v1/tokens", json=body).raise_for_status()

    eventually(lambda: is_over(http, profiled), within=90, what="a profile to show")
    eventually(lambda: is_indexed(http, profiled), within=90, what="its flame graph")
    return Made(before, profiled, failed)


def is_over(http: httpx.Client, request_id: str) -> bool:
    """Whether a request was carried out everywhere."""
    found = http.get(f"/api/v1/requests/{request_id}").json()
    return all(host["status"] == "completed" for host in found["hosts"])


def is_indexed(http: httpx.Client, request_id: str) -> bool:
    """Whether a request's profile is among those that can be asked for."""
    return bool(http.get("/api/v1/flamegraph", params=selection(request_id)).json()["samples"])


def main() -> None:
    """Start a system, look at it, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=OUT, help="the folder; default: docs/pictures")
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    for name in ("STUDIO_URL", "STUDIO_TOKEN", "STUDIO_CONTEXT"):
        os.environ.pop(name, None)
    with tempfile.TemporaryDirectory() as folder, studio_up(Path(folder)) as up, running_browser() as browser:
        admin, agent = up.state.token("admin"), up.state.token("agent")
        assert admin is not None
        assert agent is not None
        as_agent = httpx.Client(base_url=up.url, headers={"Authorization": f"Bearer {agent}"}, timeout=30)
        as_admin = httpx.Client(base_url=up.url, headers={"Authorization": f"Bearer {admin}"}, timeout=30)
        good = PlayedAgent(up.url, agent, service="mixed", host="good", status="completed")
        bad = PlayedAgent(
            up.url, agent, service="mixed", host="bad", status="failed", reason="perf is not installed here"
        )
        with played(good, bad), as_agent, as_admin, subprocess.Popen(SAMPLE) as sample:
            eventually(lambda: set(up.health().values()) == {"ok"}, within=90, what="every role")
            beat(as_agent)
            made = make(as_admin, sample.pid)
            beat(as_agent)
            take(browser, up.url, admin, made, given.out)
            sample.terminate()


if __name__ == "__main__":
    main()
