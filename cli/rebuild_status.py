"""`studio rebuild-status`: the status of every request, made anew from the results."""

import os
import subprocess
from pathlib import Path

import click

from cli import options
from cli.roles import module


@click.command(cls=options.StudioCommand)
@options.state_dir
@click.pass_context
def command(ctx: click.Context, state_dir: Path | None) -> None:
    """Rebuild the status of every request from the results. Safe while everything runs."""
    environment = {**os.environ, "PCS_STATE_DIR": str(options.chosen(state_dir))}
    ctx.exit(subprocess.run(module("workers.rebuild_status"), env=environment, check=False).returncode)
