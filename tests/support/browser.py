"""Chromium as a person has it: Debian's, without a network of its own, and what breaks in it breaks the test."""

import contextlib
import json
import os
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import pytest
from playwright.sync_api import Browser, BrowserContext, ConsoleMessage, Page, expect, sync_playwright

from tests.support.api import TOKENS
from tests.support.processes import ROOT
from tests.support.system import System

FLAGS: Final = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
)  # fmt: skip
AXE: Final = ROOT / "console" / "node_modules" / "axe-core" / "axe.min.js"
PATIENCE_MS: Final = 30_000
THEMES: Final = ("light", "dark")
PICTURES: Final = Path(os.environ["PCS_PICTURES"]) if "PCS_PICTURES" in os.environ else None
"""Where a picture of each page in both themes is kept, if it is said."""


def chromium() -> str:
    """The program. Without it these tests are skipped, but in CI: there they are not lost without a word."""
    found = shutil.which("chromium")
    if found is not None:
        return found
    if os.environ.get("CI"):
        pytest.fail("there is no chromium: .ci/run installs it by apt")
    return pytest.skip("there is no chromium (Debian: apt-get install chromium)")


@contextlib.contextmanager
def running_browser() -> Iterator[Browser]:
    """One browser; each test has a context of its own, with its own cookies."""
    program = chromium()
    expect.set_options(timeout=PATIENCE_MS)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=list(FLAGS), headless=True)
        try:
            yield browser
        finally:
            browser.close()


class Screen:
    """A tab, and what its console has said."""

    def __init__(self, context: BrowserContext, url: str) -> None:
        self.page: Page = context.new_page()
        self.url = url
        self.page.set_default_timeout(PATIENCE_MS)
        self.said: list[str] = []
        self.elsewhere: list[str] = []
        self.page.on("console", self._note)
        self.page.on("pageerror", lambda error: self.said.append(str(error)))
        self.page.on("request", lambda call: None if call.url.startswith(url) else self.elsewhere.append(call.url))

    def _note(self, message: ConsoleMessage) -> None:
        # The one call that finds out whether somebody is signed in is refused when nobody is.
        if message.type == "error" and "401" not in message.text:
            self.said.append(f"{message.text} ({message.location.get('url')})")

    def open(self, path: str = "/") -> Page:
        self.page.goto(f"{self.url}{path}")
        return self.page

    def sign_in(self, token: str, path: str = "/") -> Page:
        page = self.open(path)
        page.get_by_label("Token").fill(token)
        page.get_by_role("button", name="Sign in").click()
        page.get_by_role("button", name="Sign out").wait_for()
        return page

    def check(self) -> None:
        """Nothing broke, the policy forbade nothing that the page wanted, and nothing came from elsewhere."""
        assert not self.said, self.said
        assert not self.elsewhere, self.elsewhere


def faults_by_axe(page: Page, theme: str) -> list[str]:
    """What keeps people from using what is shown, serious and critical, in a theme."""
    page.evaluate("theme => { document.documentElement.dataset.theme = theme }", theme)
    has_axe: bool = page.evaluate("() => 'axe' in window")
    if not has_axe:
        page.evaluate(AXE.read_text(encoding="utf-8"))  # by the debugger: the page's policy lets no script in
    found: Any = page.evaluate("() => axe.run(document, { resultTypes: ['violations'] })")
    return [
        f"{theme}: {each['id']}: {each['help']}: {json.dumps([node['target'] for node in each['nodes'][:3]])}"
        for each in found["violations"]
        if each["impact"] in {"serious", "critical"}
    ]


def check_for_everybody(page: Page, pictures: Path | None, name: str) -> None:
    """Neither theme has a serious fault; with `pictures`, both are kept to be looked at."""
    faults: list[str] = []
    for theme in THEMES:
        faults += faults_by_axe(page, theme)
        if pictures is not None:
            page.screenshot(path=pictures / f"{name}-{theme}.png")
    assert not faults, "\n".join(faults)


def token_of(system: System, kind: str, services: Sequence[str] = ("*",)) -> str:
    """A new token's secret."""
    body = {"kind": kind, "services": list(services), "name": f"{kind} of a test"}
    made = system.http.post(f"{system.url}{TOKENS}", headers=system.as_admin, json=body)
    assert made.status_code == 201, made.text
    return str(made.json()["token"])
