"""`studio completion`: what makes a shell complete commands, options, and the names of services and hosts."""

from typing import Final

import click
from click.shell_completion import get_completion_class

from cli import options
from cli.errors import StudioError

SHELLS: Final = ("bash", "zsh", "fish")
VARIABLE: Final = "_STUDIO_COMPLETE"


@click.command("completion", cls=options.StudioCommand)
@click.argument("shell", type=click.Choice(SHELLS))
def command(shell: str) -> None:
    """Print what makes a shell complete commands, services and hosts.

    \b
    bash: eval "$(studio completion bash)"      in ~/.bashrc
    zsh:  eval "$(studio completion zsh)"       in ~/.zshrc, behind compinit
    fish: studio completion fish | source       in ~/.config/fish/config.fish
    """  # noqa: D301 - click's sign for lines that stay as they are, as the character that it is
    from cli.main import main  # noqa: PLC0415 - it reads this module

    kind = get_completion_class(shell)
    if kind is None:
        raise StudioError(f"this version of click completes nothing for {shell}")
    try:
        click.echo(_mended(kind(main, {}, "studio", VARIABLE).source()))
    except RuntimeError as error:
        raise StudioError(str(error)) from None


def _mended(script: str) -> str:
    """The script for fish cuts what it says of a command at the first comma."""
    return script.replace('(string split "," $completion)', '(string split --max 1 "," $completion)')
