"""`studio rebuild-status`: the status of every request, made anew from the results."""

from pathlib import Path

import click

from cli import options
from cli.handing_over import ask_the_broker


@click.command(cls=options.StudioCommand)
@options.state_dir
@click.pass_context
def command(ctx: click.Context, state_dir: Path | None) -> None:
    """Rebuild the status of every request from the results. Safe while everything runs."""
    ctx.exit(ask_the_broker(state_dir, "workers.rebuild_status"))
