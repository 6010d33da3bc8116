"""Write `docs/cli-captures.md`: what each command of `studio` says in a terminal of 80 columns, from a running system.

    .venv/bin/python tools/write_cli_page.py

It starts a system with a real agent and three played ones, runs everything, and ends it. A test holds the page to being
complete; it is not made anew there, as no two runs say the same.
"""

import os
import re
import sys
import tempfile
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

import httpx  # noqa: E402 - as what follows, behind the path

from tests.support.played_agents import PlayedAgent, played  # noqa: E402 - it lies in the folder above
from tests.support.processes import eventually  # noqa: E402 - likewise
from tests.support.studio import STUDIO, studio, studio_up  # noqa: E402 - likewise
from tests.support.terminals import COLUMNS, in_terminal, screen  # noqa: E402 - likewise

PAGE: Final = ROOT / "docs" / "cli-captures.md"
HEADER: Final = """\
# The command line, as it looks

Written by `tools/write_cli_page.py` from a running system, in a terminal of 80 columns: a host with the real agent in
the service `local`, and played ones in `mixed`, of which one fails and one runs on. What the commands are for is in
[cli.md](cli.md).
"""
MOST_LINES: Final = 40
SHOWN_STATE: Final = "~/.local/state/performance-studio"
UUID: Final = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")


class Captures:
    """Commands that were run, each with what came to the screen."""

    def __init__(self, env: dict[str, str], state: str) -> None:
        self._env = env
        self.state = state
        self.parts: list[str] = [HEADER]

    def section(self, title: str) -> None:
        """A heading."""
        self.parts.append(f"\n## {title}")

    def run(self, *words: str, shown: Sequence[str] | None = None) -> str:
        """Run a command; gives what it said. `shown`: how it is told, where its words are not for a page."""
        code, said = in_terminal([STUDIO, *words], self._env, within=180)
        text = screen(said).replace(self.state, SHOWN_STATE).rstrip()
        lines = [part.rstrip() for line in text.splitlines() for part in _as_a_terminal_breaks(line)]
        if len(lines) > MOST_LINES:
            lines = [*lines[:MOST_LINES], "…"]
        told = " ".join(["$ studio", *(shown if shown is not None else words)])
        end = [f"(exit code {code})"] if code else []
        self.parts.append("\n".join(["", "```text", told, *lines, *end, "```"]))
        print(f"{code:>4}  {told}")
        return "\n".join(lines)


def _as_a_terminal_breaks(line: str) -> Iterator[str]:
    yield line[:COLUMNS]
    for start in range(COLUMNS, len(line.rstrip()), COLUMNS):
        yield line[start : start + COLUMNS]


def capture(pages: Captures, url: str, token: str, files: Path) -> None:
    """Requests and the fleet, in the order of a day."""
    pages.section("All of it")
    pages.run("--help")
    pages.section("Profile")
    pages.run("profile", "local", "--all", "--duration", "3s", "--dry-run")
    svg = str(files / "flame.svg")
    done = pages.run("profile", "local", "--all", "--duration", "3s", "-o", svg,
                     shown=("profile", "local", "--all", "--duration", "3s", "-o", "flame.svg"))  # fmt: skip
    pages.parts[-1] = pages.parts[-1].replace(svg, "flame.svg")
    request_id = _id_in(done)
    pages.run("profile", "mixed", "--host", "good", "--host", "bad", "--duration", "1s")
    pages.run("profile", "mixed", "--host", "bad", "--duration", "1s", "-q")
    pages.run("profile", "mixed", "--host", "endless", "--duration", "5m", "--timeout", "2s")
    pages.run("stop", "mixed", "--host", "endless")
    endless = _id_in(pages.run("profile", "mixed", "--host", "endless", "--duration", "5m", "--no-wait"))
    pages.run("cancel", endless)
    pages.section("Requests")
    pages.run("requests", "list")
    pages.run("requests", "show", request_id)
    pages.run("requests", "follow", request_id)
    pages.run("requests", "flame", request_id, "-o", svg, shown=("requests", "flame", request_id, "-o", "flame.svg"))
    pages.parts[-1] = pages.parts[-1].replace(svg, "flame.svg")
    pages.section("The fleet")
    pages.run("hosts", "list")
    pages.run("hosts", "show", "mixed", "bad")
    pages.run("commands", "list")
    pages.run("top", "--once")
    here = _position(url, token)
    studio(
        "profile", "mixed", "--host", "good", "--duration", "1s", "-q", env={"STUDIO_URL": url, "STUDIO_TOKEN": token}
    )
    pages.run("results", "tail", "--service", "mixed", "--after", here, "-n", "3",
              shown=("results", "tail", "--service", "mixed", "--after", "EVENT", "-n", "3"))  # fmt: skip
    pages.run("dead-letters", "list")
    pages.run("dead-letters", "show", "0-1-0")
    pages.run("dead-letters", "replay", "0-1-0")


def capture_the_rest(pages: Captures) -> None:
    """Contexts, what is kept, and the system itself."""
    since = (datetime.now(UTC) - timedelta(days=1)).strftime("%Y-%m-%d")
    pages.section("Which server")
    pages.run("context", "add", "prod", "--url", "https://studio.example", "--no-token")
    pages.run("context", "add", "here", "--state-dir", pages.state,
              shown=("context", "add", "here", "--state-dir", SHOWN_STATE))  # fmt: skip
    pages.run("context", "list")
    pages.run("context", "use", "here")
    pages.run("context", "remove", "prod")
    pages.section("What is kept")
    pages.run("profiles", "list", "--service", "local", "--since", since)
    made = ("schedules", "create", "--name", "nightly", "--service", "local", "--all", "--cron")
    pages.run(*made, "30 2 * * *", shown=(*made, "'30 2 * * *'"))
    pages.run("schedules", "list")
    pages.run("tokens", "list")
    pages.run("audit", "tail", "-n", "3")
    pages.run("audit", "verify")
    pages.run("archive", "verify")
    pages.run("tenants", "list")
    pages.section("The system")
    pages.run("status")
    pages.run("config", "show")
    for name in ("up", "demo", "check", "cluster-check", "rebuild-status", "token", "completion"):
        pages.run(name, "--help")


def _id_in(said: str) -> str:
    found = UUID.search(said)
    assert found is not None, said
    return found[0]


def _position(url: str, token: str) -> str:
    """The id of the last event until now."""
    with httpx.stream(
        "GET", f"{url}/api/v1/events", headers={"Authorization": f"Bearer {token}"}, timeout=30
    ) as stream:
        return next(line for line in stream.iter_lines() if line.startswith("id: ")).removeprefix("id: ")


def agents(url: str, token: str) -> Iterator[PlayedAgent]:
    """A good one, a bad one, and one that runs on."""
    for host, status, reason in (
        ("good", "completed", ""), ("bad", "failed", "perf is not installed here"), ("endless", None, ""),
    ):  # fmt: skip
        yield PlayedAgent(url, token, service="mixed", host=host, status=status, reason=reason)


def main() -> None:
    """Start a system, capture, write."""
    with tempfile.TemporaryDirectory() as folder, studio_up(Path(folder)) as up:
        state = str(up.state)
        admin, agent = up.state.token("admin"), up.state.token("agent")
        assert admin is not None
        assert agent is not None
        env = {"PCS_STATE_DIR": state, "XDG_CONFIG_HOME": str(Path(folder) / "config"), "PYTHONWARNINGS": "ignore"}
        for name in ("STUDIO_URL", "STUDIO_TOKEN", "STUDIO_CONTEXT"):
            os.environ.pop(name, None)
        with played(*agents(up.url, agent)):
            eventually(lambda: set(up.health().values()) == {"ok"}, within=90, what="every role")
            pages = Captures(env, state)
            capture(pages, up.url, admin, Path(folder))
            capture_the_rest(pages)
    PAGE.write_text("\n".join(pages.parts) + "\n")


if __name__ == "__main__":
    main()
