"""`studio status`: each role with its pid and health."""

import json as jsonlib
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from cli import options, processes
from cli.errors import NotRunning, StudioError
from cli.output import Output, answering
from cli.reaching import local_state
from cli.roles import AGENT, API, role_of
from cli.state import RunningRole, RunningSystem, StateDir

if TYPE_CHECKING:
    from cli.answers import Readiness, WorkerRow

OK: Final = "ok"
DOWN: Final = "down"
FAILING: Final = "failing"


@dataclass(frozen=True)
class RoleHealth:
    """A role as `status` shows it. `health`: ok, failing (it runs and does not work) or down."""

    name: str
    pid: int | None
    health: str
    detail: str
    restarts: int
    log: str


@click.command(cls=options.StudioCommand)
@options.state_dir
@answering
def command(state_dir: Path | None, output: Output) -> None:
    """List each role with its pid and its health. Exit code 3 when nothing runs."""
    state = local_state(state_dir)
    record = state.read_record() if state.is_claimed() else None
    if record is None:
        if output != "table":
            click.echo(jsonlib.dumps({"running": False, "state_dir": str(state), "roles": []}))
        raise NotRunning(state.path)
    health = examine(state, record)
    workers = at_work(state, record)
    if output != "table":
        facts = {"running": True, "state_dir": str(state), "url": record.url, "pid": record.pid}
        rows = [row.model_dump(mode="json") for row in workers]
        click.echo(jsonlib.dumps({**facts, "roles": [asdict(role) for role in health], "workers": rows}))
        return
    click.echo(f"{record.url}   (supervisor pid {record.pid}, state in {state})\n")
    click.echo(table(health))
    if workers:
        from cli import workers_table  # noqa: PLC0415 - as below

        click.echo(f"\n{workers_table.table(workers)}")


def examine(state: StateDir, record: RunningSystem) -> list[RoleHealth]:
    """Ask the kernel for each pid, and the API for what it sees of the roles."""
    seen = _what_the_api_sees(state, record)
    return [_judge(role, seen, str(state.log_file(role.name))) for role in record.roles]


def at_work(state: StateDir, record: RunningSystem) -> "list[WorkerRow]":
    """What each worker at work has measured; nothing while the API cannot tell, which the table of roles explains."""
    from cli.client import StudioClient  # noqa: PLC0415 - a third of a second that no help needs

    try:
        with StudioClient(record.url, state.token("admin")) as client:
            return [row for row in client.workers() if row.present]
    except StudioError:
        return []


def _judge(role: RunningRole, seen: dict[str, tuple[bool, str]], log: str) -> RoleHealth:
    if not processes.is_alive(role.pid, role.born):
        detail = f"last time: {role.last_exit}" if role.last_exit else "not started yet"
        return RoleHealth(role.name, None, DOWN, detail, role.restarts, log)
    works, detail = seen.get(role.name, (True, ""))
    return RoleHealth(role.name, role.pid, OK if works else FAILING, detail, role.restarts, log)


def _what_the_api_sees(state: StateDir, record: RunningSystem) -> dict[str, tuple[bool, str]]:
    """Role → whether it works, and a word on it; the roles it cannot tell of are left out."""
    from cli.client import StudioClient  # noqa: PLC0415 - as above

    names = {role.name for role in record.roles}
    try:
        with StudioClient(record.url, state.token("admin")) as client:
            readiness = client.readiness()
            seen = _by_role(readiness)
            if AGENT in names and readiness.status != "unavailable":
                online = [row for row in client.hosts() if row.status == "online"]
                seen[AGENT] = (bool(online), f"{len(online)} online" if online else "no host is online yet")
    except StudioError as error:
        return {API: (False, str(error))}
    return seen


def _by_role(readiness: "Readiness") -> dict[str, tuple[bool, str]]:
    """A role works when every check of it does; what it lacks is named, else its first check's word is given."""
    seen = {API: (True, readiness.status)}
    for name, check in readiness.checks.items():
        role = role_of(name)
        if not check.ok:
            told = seen.get(role, (True, ""))
            detail = f"{name}: {check.detail}" if role != name else check.detail
            seen[role] = (False, detail if told[0] else f"{told[1]}, {detail}")
        else:
            seen.setdefault(role, (True, check.detail))
    return seen


def table(roles: list[RoleHealth]) -> str:
    """The roles in columns, within 80 characters unless a detail is long."""
    rows = [("ROLE", "PID", "HEALTH", "RESTARTS", "DETAIL")]
    rows += [(role.name, str(role.pid or "-"), role.health, str(role.restarts), role.detail) for role in roles]
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    return "\n".join(
        "  ".join([*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[4]]).rstrip()
        for row in rows
    )
