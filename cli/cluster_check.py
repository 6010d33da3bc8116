"""`studio cluster-check`: whether a Redis deployment fits. `python -m broker.check_deployment` does the looking."""

import os
from pathlib import Path

import click

from cli import options
from cli.errors import Usage
from cli.handing_over import hand_over

URL = "PCS_REDIS_URL"


@click.command(cls=options.StudioCommand)
@click.option("--redis-url-env", metavar="NAME", help=f"The variable that has the URL.  [default: {URL}]")
@click.option(
    "--redis-url-file",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="The file that has the URL.",
)
@click.option("--json", "as_json", is_flag=True, help="The answer for programs, on stdout.")
@click.pass_context
def command(ctx: click.Context, redis_url_env: str | None, redis_url_file: Path | None, as_json: bool) -> None:
    """Tell whether a Redis, a Valkey or a cluster fits, and what to change.

    A URL may carry a password, so it is taken from a variable or a file, never
    from the command line. Exit codes: 0 it fits, 1 it does not, 2 usage, 3 it
    cannot be reached.
    """
    url = _url(redis_url_env, redis_url_file)
    arguments = ("--json",) if as_json else ()
    ctx.exit(hand_over({URL: url}, "broker.check_deployment", *arguments))


def _url(variable: str | None, file: Path | None) -> str:
    if variable and file:
        raise Usage("--redis-url-env and --redis-url-file: one of them.")
    if file:
        try:
            url = file.read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise Usage(f"{file} cannot be read: {type(error).__name__}") from None
        if not url:
            raise Usage(f"{file} is empty: it must have the URL.")
        return url
    name = variable or URL
    url = os.environ.get(name, "").strip()
    if not url:
        raise Usage(f"{name} is not set: it must have the URL (or give --redis-url-file).")
    return url
