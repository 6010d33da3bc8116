"""`studio token`: prints a token."""

from pathlib import Path
from typing import Literal

import click

from cli import options
from cli.errors import NotRunning
from cli.reaching import local_state


@click.command(cls=options.StudioCommand)
@click.argument("kind", type=click.Choice(["admin", "agent"]), default="admin")
@click.option("--header", is_flag=True, help="As a header, for `studio token --header | curl -H @- URL`.")
@options.state_dir
def command(kind: Literal["admin", "agent"], header: bool, state_dir: Path | None) -> None:
    """Print a token of the state directory: the operator's by default."""
    state = local_state(state_dir)
    token = state.token(kind)
    if token is None:
        raise NotRunning(state.path)
    click.echo(f"Authorization: Bearer {token}" if header else token)
