"""`studio archive verify`: whether the archive is as it was written."""

from pathlib import Path

import click

from cli import options
from cli.handing_over import hand_over
from cli.output import Output, answering
from cli.reaching import local_state
from cli.state import StateDir


@click.group(cls=options.StudioGroup)
def command() -> None:
    """Verify the archive of results."""


@command.command(cls=options.StudioCommand)
@options.state_dir
@click.option("--url", help="Another archive than that of PCS_ARCHIVE_URL or the state directory, as fsspec has it.")
@answering
@click.pass_context
def verify(ctx: click.Context, /, state_dir: Path | None, url: str | None, output: Output) -> None:
    """Read every segment. Exit code 0: whole; 1: broken, and the first broken segment is named; 2: cannot be read.

    Where nothing is archived that is 2, too: the address may be mistyped.
    """
    ctx.exit(run(local_state(state_dir), *(["--json"] if output != "table" else []), url=url))


def run(state: StateDir, *arguments: str, url: str | None) -> int:
    """Let the workers' own command look; gives its exit code. An address goes by environment: it may hold a key."""
    further = {"PCS_STATE_DIR": str(state), **({"PCS_ARCHIVE_URL": url} if url else {})}
    return hand_over(further, "workers.verify_archive", *arguments)
