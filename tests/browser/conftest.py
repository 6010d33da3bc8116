"""One system and one browser for each file of tests; a tab of somebody new for each test."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser

from tests.support.browser import Screen, running_browser
from tests.support.system import System, running_system


@pytest.fixture(scope="module")
def system(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    with running_system(tmp_path_factory.mktemp("page"), env={"PCS_LIMITS": "large"}) as system:
        yield system


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with running_browser() as browser:
        yield browser


@pytest.fixture
def screen(browser: Browser, system: System) -> Iterator[Screen]:
    """A tab of somebody whom the browser does not know."""
    with browser.new_context(viewport={"width": 1280, "height": 800}, reduced_motion="reduce") as context:
        screen = Screen(context, system.url)
        yield screen
        screen.check()
