"""The flame graph's file in a real browser, opened from disk."""

import re
import shutil
import subprocess
from pathlib import Path
from typing import Final

import pytest

from formats.flamegraph import render

BROWSER: Final = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
FLAGS: Final = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
    "--disable-background-networking", "--disable-component-update", "--virtual-time-budget=5000",
    "--enable-logging=stderr",
)  # fmt: skip
pytestmark = pytest.mark.skipif(BROWSER is None, reason="no browser is installed")

STACKS: Final = {
    "web;main (a.py:1);hot (a.py:9)": 60,
    "web;main (a.py:1);hot (a.py:9);hot (a.py:9)": 15,
    "web;main (a.py:1);</script><script>document.title='broken out'</script>": 20,
    "web;main (a.py:1)": 5,
}


def opened(folder: Path, stacks: dict[str, int], *, fragment: str = "") -> tuple[str, str]:
    """The page's DOM after its script has run, and what the browser wrote to its console."""
    assert BROWSER is not None
    page = folder / "flamegraph.html"
    page.write_text(render(stacks, title="web on worker-01", facts={"samples": "100"}, notices=["a notice"]))
    done = subprocess.run(
        [BROWSER, *FLAGS, f"--user-data-dir={folder / 'browser'}", "--dump-dom", f"{page.as_uri()}{fragment}"],
        check=True,
        capture_output=True,
        text=True,
        timeout=100,
    )
    return done.stdout, "\n".join(line for line in done.stderr.splitlines() if "CONSOLE" in line)


def test_the_page_draws_from_disk_without_a_word_on_the_console(tmp_path: Path) -> None:
    dom, console = opened(tmp_path, STACKS)
    assert re.search(r'data-drawn="\d+"', dom)
    assert "<title>web on worker-01</title>" in dom
    assert '<p id="empty" hidden="">' in dom
    assert console == ""


def test_a_search_tells_the_share_of_samples_that_match_and_counts_recursion_once(tmp_path: Path) -> None:
    dom, _ = opened(tmp_path, STACKS, fragment="#q=HOT")
    assert re.search(r'<output id="matched"[^>]*>75.0 % matched</output>', dom)


def test_a_hostile_frame_is_text(tmp_path: Path) -> None:
    dom, _ = opened(tmp_path, STACKS, fragment="#q=broken%20out")
    assert re.search(r'<output id="matched"[^>]*>20.0 % matched</output>', dom)
    assert "<title>web on worker-01</title>" in dom


def test_a_profile_without_samples_says_so(tmp_path: Path) -> None:
    dom, console = opened(tmp_path, {})
    assert '<p id="empty">No samples' in dom
    assert console == ""
