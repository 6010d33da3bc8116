"""What the page costs a browser and the server, with a whole fleet beating.

    .venv/bin/python bench/page.py
    .venv/bin/python bench/page.py --hosts 200 --tabs 2 --seconds 5 --json

It starts a broker, `python -m api` and the worker roles, lets so many hosts beat every half a minute (bench/load.py),
and opens the fleet's page in a real Chromium: once by itself, and then in so many tabs of different people, each with a
sign-in and a stream of its own. For each it tells when the first rows were there, how much of the time the page's main
thread was busy, and its long tasks (over 50 ms, in which nothing answers a key); and what the API took of a core with
no tab, with one and with all of them.
"""

import argparse
import asyncio
import contextlib
import json
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from typing import Any, Final

import httpx
import psutil
from playwright.sync_api import Browser, CDPSession, Page, sync_playwright

from api.accompany import HEARTBEAT
from bench import heartbeats, stage
from bench.stage import ROOT, machine, own_broker, process

INTERVAL: Final = heartbeats.INTERVAL
ROLES: Final = ("merger", "recoverer", "projector", "janitor", "dispatcher", "pacer", "greeter", "scheduler")
CONNECTIONS: Final = 64
FLAGS: Final = ("--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking")
PATIENCE_MS: Final = 60_000
WATCH: Final = """
window.longTasks = [];
new PerformanceObserver(list => { for (const each of list.getEntries()) window.longTasks.push(each.duration) })
    .observe({ type: "longtask", buffered: true });
"""
FIRST_ROW: Final = """() => new Promise(found => {
    const look = () => document.querySelector("[role=row][aria-rowindex='2']")
        ? found(performance.now()) : setTimeout(look, 5);
    look();
})"""


def beating(port: int, token: str, hosts: int) -> "subprocess.Popen[str]":
    """The fleet: each host beats once in an interval, until it is ended."""
    plan = {
        "port": port, "token": token, "connections": min(CONNECTIONS, hosts), "hosts": hosts,
        "per_second": hosts / INTERVAL,
    }  # fmt: skip
    turn = {"seconds": 3600, "most": 10**9}
    argv = [sys.executable, str(ROOT / "bench" / "load.py")]
    child = subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
    assert child.stdin is not None
    child.stdin.write(f"{json.dumps(plan)}\n{json.dumps(turn)}\n")
    child.stdin.close()
    return child


@contextlib.contextmanager
def fleet(port: int, token: str, hosts: int) -> Iterator[None]:
    """A fleet that beats until the end of the block."""
    child = beating(port, token, hosts)
    try:
        yield
        if child.poll() is not None:
            raise SystemExit(f"the fleet ended early, with {child.returncode}")
    finally:
        child.kill()
        child.wait()


class Tab:
    """One person's page of the fleet."""

    def __init__(self, browser: Browser, url: str, token: str) -> None:
        context = browser.new_context(viewport={"width": 1280, "height": 800})
        context.add_init_script(WATCH)
        self._page: Page = context.new_page()
        self._page.set_default_timeout(PATIENCE_MS)
        self._page.goto(url)
        self._page.get_by_label("Token").fill(token)
        self._page.get_by_role("button", name="Sign in").click()
        self._page.get_by_role("button", name="Sign out").wait_for()
        self._page.goto(url)  # as somebody who is signed in opens it
        self.first_rows_ms: float = self._page.evaluate(FIRST_ROW)
        self._debugger: CDPSession = context.new_cdp_session(self._page)
        self._debugger.send("Performance.enable")
        self.opening_ms: list[float] = self._page.evaluate("() => window.longTasks.splice(0)")
        """The long tasks (ms) until then."""

    def busy_seconds(self) -> float:
        """How long its main thread has worked so far."""
        metrics: list[dict[str, Any]] = self._debugger.send("Performance.getMetrics")["metrics"]
        return float(next(each["value"] for each in metrics if each["name"] == "TaskDuration"))

    def long_tasks(self) -> list[float]:
        """Milliseconds of each since this was asked last."""
        found: list[float] = self._page.evaluate("() => window.longTasks.splice(0)")
        return found

    def scroll(self) -> None:
        """Go down the list as with a wheel; half a second of it."""
        self._page.get_by_role("region", name="Hosts that fit").hover()
        for _ in range(10):
            self._page.mouse.wheel(0, 1_500)
            self._page.wait_for_timeout(50)

    def wait(self, seconds: float) -> None:
        self._page.wait_for_timeout(seconds * 1000)


def watch(tabs: Sequence[Tab], api: psutil.Process, seconds: float) -> dict[str, Any]:
    """What tabs and server take in so many seconds."""
    for tab in tabs:
        tab.long_tasks()
    busy = [tab.busy_seconds() for tab in tabs]
    spent, begun = heartbeats.spent(api), time.perf_counter()
    if tabs:
        tabs[0].wait(seconds)
    else:
        time.sleep(seconds)
    lasted = time.perf_counter() - begun
    server = (heartbeats.spent(api) - spent) / lasted
    found: dict[str, Any] = {"server_cpu": server}
    if tabs:
        shares = [(tab.busy_seconds() - before) / lasted for tab, before in zip(tabs, busy, strict=True)]
        found["main_thread"] = {"median": statistics.median(shares), "most": max(shares)}
        found["long_tasks_ms"] = sorted(each for tab in tabs for each in tab.long_tasks())
    return found


def beats(url: str, token: str) -> float:
    """How many heartbeats the API has answered so far, by its own count."""
    route = f'route="{HEARTBEAT}"'
    told = httpx.get(f"{url}metrics", headers={"Authorization": f"Bearer {token}"}, trust_env=False).text
    counted = [line for line in told.splitlines() if line.startswith("pcs_http_requests_total") and route in line]
    return sum(float(line.rpartition(" ")[2]) for line in counted)


def run(given: argparse.Namespace) -> dict[str, Any]:
    """Everything, one after the other."""
    program = shutil.which("chromium")
    if program is None:
        raise SystemExit("there is no chromium (Debian: apt-get install chromium)")
    with contextlib.ExitStack() as stack:
        settings = stack.enter_context(own_broker(fsync="everysec"))
        asyncio.run(heartbeats.introduce(settings, given.hosts))
        stack.enter_context(process("-m", "workers", *ROLES, state_dir=settings.state_dir))
        port = heartbeats.free_port()
        api = stack.enter_context(process("-m", "api", "--port", str(port), state_dir=settings.state_dir))
        url = f"http://127.0.0.1:{port}/"
        heartbeats.wait_until_answers(f"{url}readyz")
        if '<div id="root">' not in httpx.get(url, trust_env=False).text:
            raise SystemExit("the page is not built: python3 studio.py setup")
        tokens = json.loads((settings.state_dir / "tokens.json").read_text())
        stack.enter_context(fleet(port, tokens["agent"], given.hosts))
        time.sleep(min(INTERVAL, given.seconds))  # else connections are still made
        found: dict[str, Any] = {"machine": machine(settings)}
        before = beats(url, tokens["admin"])
        found["alone"] = watch([], api, given.seconds)
        found["alone"]["beats_per_second"] = (beats(url, tokens["admin"]) - before) / given.seconds
        playwright = stack.enter_context(sync_playwright())
        browser = playwright.chromium.launch(executable_path=program, args=list(FLAGS), headless=True)
        stack.callback(browser.close)
        one = Tab(browser, url, tokens["admin"])
        found["one"] = {"first_rows_ms": one.first_rows_ms, "opening_ms": one.opening_ms}
        found["one"] |= watch([one], api, given.seconds)
        one.long_tasks()
        one.scroll()
        found["one"]["scrolling_ms"] = one.long_tasks()
        tabs = [one, *(Tab(browser, url, tokens["admin"]) for _ in range(given.tabs - 1))]
        found["all"] = {"first_rows_ms": max(tab.first_rows_ms for tab in tabs)} | watch(tabs, api, given.seconds)
    return found | {"load": {"hosts": given.hosts, "tabs": given.tabs, "seconds": given.seconds}}


def told(measured: dict[str, Any]) -> str:
    """For people."""
    load = measured["load"]
    lines = [
        *stage.told(measured["machine"]),
        f"{load['hosts']:,} hosts that beat every {INTERVAL} s; each line watched for {load['seconds']:g} s",
        "",
        f"{'':12}{'first rows':>12}{'main thread':>13}{'most':>8}{'long tasks':>12}{'longest':>10}{'API':>8}",
        f"{'no tab':12}{'':>55}{measured['alone']['server_cpu']:>8.1%}",
    ]
    for name, title in (("one", "one tab"), ("all", f"{load['tabs']} tabs")):
        one = measured[name]
        long = one["long_tasks_ms"]
        lines.append(
            f"{title:12}{one['first_rows_ms']:>9,.0f} ms{one['main_thread']['median']:>13.1%}"
            f"{one['main_thread']['most']:>8.1%}{len(long):>12}{max(long, default=0):>7,.0f} ms"
            f"{one['server_cpu']:>8.1%}"
        )
    lines += ["", f"the fleet: {measured['alone']['beats_per_second']:,.0f} heartbeats/s"]
    for name, when in (("opening_ms", "until the first rows"), ("scrolling_ms", "while scrolling")):
        tasks = measured["one"][name]
        lines.append(f"{when}: {len(tasks)} long tasks, the longest {max(tasks, default=0):,.0f} ms")
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hosts", type=int, default=5_000, help="default: %(default)s")
    parser.add_argument("--tabs", type=int, default=10, help="default: %(default)s")
    parser.add_argument("--seconds", type=float, default=60.0, help="of each line; default: %(default)s")
    parser.add_argument("--json", action="store_true", help="one JSON object instead of a table")
    given = parser.parse_args(arguments)
    if min(given.hosts, given.tabs, given.seconds) <= 0:
        parser.error("every number must be positive")
    measured = run(given)
    print(json.dumps(measured, indent=2) if given.json else told(measured))
    return 0


if __name__ == "__main__":
    sys.exit(main())
