"""`studio demo`: the whole way of a profile, on a program whose hot functions are known."""

import json as jsonlib
import shutil
import tempfile
from pathlib import Path

import click

from cli import options
from cli.profile_sample import Report, profile_sample
from cli.roles import sample_role
from cli.screen import Screen
from cli.state import StateDir
from cli.supervisor import StopRequested
from cli.system import System, running
from cli.up import A_WHILE_S

SERVICE = "demo"
INTERRUPTED = 130


@click.command(cls=options.StudioCommand)
@click.option("--once", is_flag=True, help="End after the profile instead of serving on.")
@click.option("--json", is_flag=True, help="One JSON object as the last line of stdout; progress goes to stderr.")
@click.option("--duration", type=click.IntRange(1, 3600), default=15, show_default=True, help="Seconds to profile.")
@click.option("--frequency", type=click.IntRange(1, 1000), default=99, show_default=True, help="Samples a second.")
@click.option("--port", type=click.IntRange(0, 65535), default=0, help="The port of the API.  [default: any free one]")
@click.option(
    "--state-dir",
    type=click.Path(file_okay=False, path_type=Path),
    help="Keep data and logs here.  [default: a temporary folder, of which the profile stays]",
)
@click.pass_context
def command(
    ctx: click.Context, *, once: bool, json: bool, duration: int, frequency: int, port: int, state_dir: Path | None
) -> None:
    """Start everything, profile a sample program, show where its time goes; serve on until Ctrl-C."""
    screen = Screen(json=json)
    state = StateDir(state_dir or Path(tempfile.mkdtemp(prefix="performance-studio-demo-")))
    report: Report | None = None
    screen.say(f"starting on {state}")
    try:
        with running(
            state, host="127.0.0.1", port=port, service=SERVICE, tell=screen.say, further=[sample_role()]
        ) as system:
            system.wait_until_ready()
            screen.say(f"ready at {system.url}")
            report = profile_sample(system, screen, service=SERVICE, duration=duration, frequency=frequency)
            _show(report, screen)
            if json:
                click.echo(jsonlib.dumps(report.as_json()))
            if not once:
                _serve_on(system, screen)
    except StopRequested:
        screen.say("stopped")
        if report is None:
            ctx.exit(INTERRUPTED)
    if report is not None and report.is_good:
        if state_dir is None:
            _keep_only_profiles(state)
        return
    screen.line(f"The logs are in {state.logs}")
    ctx.exit(1)


def _serve_on(system: System, screen: Screen) -> None:
    screen.line(f"\nStill serving at {system.url} (docs at {system.url}/docs). Ctrl-C stops everything.")
    while True:
        system.supervisor.wait(A_WHILE_S)


def _show(report: Report, screen: Screen) -> None:
    screen.line("")
    if not report.is_good:
        screen.line(f"The profile was not taken: {report.status}{f' ({report.reason})' if report.reason else ''}")
        return
    screen.line(f"{report.samples} samples of the sample program. Where its time goes:\n")
    width = max(map(len, report.hot_functions))
    for name, share in report.hot_functions.items():
        truth = report.truth[name]
        screen.line(f"  {name.ljust(width)}  {share:6.1%}  {'█' * round(share * 30):<30}  (by design {truth:.0%})")
    screen.line("")
    screen.facts(
        {
            "submit → running": _milliseconds(report.submit_to_running_ms),
            "submit → completed": _milliseconds(report.submit_to_completed_ms),
            "flame graph": str(report.flamegraph),
        }
    )


def _milliseconds(value: float | None) -> str:
    return "not seen" if value is None else f"{value:,.0f} ms"


def _keep_only_profiles(state: StateDir) -> None:
    """A temporary state directory has served; what was asked for stays."""
    for entry in state.path.iterdir():
        if entry == state.profiles:
            continue
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        else:
            entry.unlink()
