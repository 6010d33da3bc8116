"""`docs/console-pictures.md` shows every page of the console in both themes. They are not taken anew here."""

import re
from pathlib import Path
from typing import Final

from tests.support.browser import THEMES
from tools.write_console_pictures import OUT, Made, shots

ROOT: Final = Path(__file__).parents[3]
PAGE: Final = ROOT / "docs" / "console-pictures.md"
SHOTS: Final = tuple(shots(Made("before", "profiled", "failed")))
SEEN_ELSEWHERE: Final = {"/sign-in": "what somebody sees at any page who is not signed in"}


def test_every_page_has_its_picture_in_both_themes() -> None:
    routes = set(re.findall(r'<Route path="([^"]+)"', (ROOT / "console" / "src" / "main.tsx").read_text()))
    patterns = {route: re.compile(re.sub(r":\w+", "[^/]+", route)) for route in routes - set(SEEN_ELSEWHERE)}
    paths = [shot.path.partition("?")[0] for shot in SHOTS]
    unseen = [route for route, pattern in patterns.items() if not any(map(pattern.fullmatch, paths))]
    assert unseen == []
    taken = {f"{name}-{theme}.png" for name in ("sign-in", *(shot.name for shot in SHOTS)) for theme in THEMES}
    assert {path.name for path in OUT.iterdir()} == taken


def test_every_picture_is_shown() -> None:
    shown = set(re.findall(r"\]\(pictures/([\w-]+\.png)\)", PAGE.read_text()))
    assert shown == {path.name for path in OUT.iterdir()}
