"""`studio up`: the system on this machine, until Ctrl-C."""

import os
from pathlib import Path

import click

from cli import options
from cli.calls import is_loopback
from cli.screen import Screen
from cli.state import StateDir, default_state_dir
from cli.supervisor import StopRequested
from cli.system import System, running

A_WHILE_S = 3600.0


@click.command(cls=options.StudioCommand)
@click.option("--port", type=click.IntRange(0, 65535), default=8000, show_default=True, help="0: any free one.")
@click.option("--host", default="127.0.0.1", show_default=True, help="The address the API listens on.")
@options.state_dir
@click.option("--no-agent", is_flag=True, help="Do not start an agent for this machine.")
@click.option("--service-name", default="local", show_default=True, help="The service the agent belongs to.")
@click.option("--workers", type=click.IntRange(1, 64), default=1, show_default=True, help="Processes of the API.")
def command(port: int, host: str, state_dir: Path | None, no_agent: bool, service_name: str, workers: int) -> None:
    """Start broker, API, workers and an agent; keep them running until Ctrl-C."""
    screen = Screen()
    state = options.chosen(state_dir)
    service = None if no_agent else service_name
    screen.say(f"starting on {state}")
    try:
        with running(state, host=host, port=port, service=service, tell=screen.say, workers=workers) as system:
            system.wait_until_ready()
            _introduce(system, screen, service, host)
            while True:
                system.supervisor.wait(A_WHILE_S)
    except StopRequested:
        screen.say("stopped")


def _introduce(system: System, screen: Screen, service: str | None, host: str) -> None:
    screen.line(f"\nPerformance Studio is ready at {system.url}\n")
    screen.facts(
        {
            "API": f"{system.url}/docs",
            "agent": f"service {service}" if service else "none (--no-agent)",
            "broker": "PCS_REDIS_URL" if os.environ.get("PCS_REDIS_URL") else "our own",
            "tokens": short(system.state.tokens_file),
            "logs": short(system.state.logs),
            "profiles": short(system.state.profiles),
        }
    )
    if not is_loopback(f"http://{host}"):
        screen.line("\nIt listens beyond this machine, over plain HTTP: put something that speaks TLS before it.")
    screen.line(f"\nStatus: studio status{_hint(system.state)}     Ctrl-C stops everything.")


def _hint(state: StateDir) -> str:
    default = StateDir(default_state_dir())
    return "" if state.path == default.path else f" --state-dir {short(state.path)}"


def short(path: Path) -> str:
    """A path as people write it: relative to their home."""
    home = Path.home()
    return f"~/{path.relative_to(home)}" if path.is_relative_to(home) and home != Path("/") else str(path)
