"""Options that several commands share."""

from pathlib import Path
from typing import Any, Final

import click

from cli.errors import StudioError
from cli.state import StateDir, default_state_dir

WHOLE: Final = 1_000
"""Characters: more than any first sentence has."""

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


class StudioGroup(click.Group):
    """Commands below a command. Its help tells of each a whole sentence, which click would cut off."""

    def __init__(self, *arguments: Any, **settings: Any) -> None:
        settings.setdefault("context_settings", {"help_option_names": ["-h", "--help"]})
        super().__init__(*arguments, **settings)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 - click's
        """The list in `--help`."""
        with formatter.section("Commands"):
            formatter.write_dl(
                [(name, self.commands[name].get_short_help_str(WHOLE)) for name in sorted(self.commands)]
            )


def chosen(path: Path | None) -> StateDir:
    """The state directory that was asked for, or the user's own."""
    return StateDir(path if path is not None else default_state_dir())
