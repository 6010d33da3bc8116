"""Options that several commands share."""

from pathlib import Path
from typing import Any, Final

import click

from cli.errors import StudioError
from cli.state import StateDir, default_state_dir

state_dir: Final = click.option(
    "--state-dir",
    type=click.Path(file_okay=False, path_type=Path),
    envvar="PCS_STATE_DIR",
    help="Where data, logs and tokens live.  [default: ~/.local/state/performance-studio]",
)


class StudioCommand(click.Command):
    """A command whose errors are one clear text and an exit code, without a traceback."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run it."""
        try:
            return super().invoke(ctx)
        except StudioError as error:
            click.echo(f"studio: {error}", err=True)
            ctx.exit(error.exit_code)


def chosen(path: Path | None) -> StateDir:
    """The state directory that was asked for, or the user's own."""
    return StateDir(path if path is not None else default_state_dir())
