"""`studio context`: servers by name."""

import getpass
import os
import sys
from pathlib import Path
from typing import Any, Final

import click

from cli import contexts, options, output
from cli.contexts import Context, Contexts
from cli.errors import Usage
from cli.output import Output, answering
from cli.reaching import checked, read_token

NAME: Final = click.argument("name")
COLUMNS: Final = (("", "used"), ("NAME", "name"), ("SERVER", "server"), ("TOKEN", "token"))


@click.group(cls=options.StudioGroup)
def command() -> None:
    """Name servers, so that a command need not say which one it means.

    They are kept in a file that nobody else may read. A flag and the environment go before them.
    """


@command.command(cls=options.StudioCommand)
@NAME
@click.option("--url", help="The address of its API.")
@click.option("--token-file", type=click.Path(dir_okay=False), help="A file with the token; - is stdin.")
@click.option("--no-token", is_flag=True, help="None: STUDIO_TOKEN says it at each call.")
@click.option("--state-dir", type=click.Path(file_okay=False), help="What runs on this state directory, instead.")
@click.option("--use", is_flag=True, help="And use it from now on; the first one is used anyway.")
def add(name: str, url: str | None, token_file: str | None, no_token: bool, state_dir: str | None, use: bool) -> None:
    """Name a server. Its token is read from a file, from STUDIO_TOKEN, or asked for without an echo.

    Example: studio context add prod --url https://studio.example --token-file -
    """
    if (url is None) == (state_dir is None):
        raise Usage("say --url, or --state-dir of a system on this machine")
    if url is not None:
        token = None if no_token else _token(token_file)
        made = Context(url=checked(url), token=token)
    elif token_file is not None:
        raise Usage("a state directory has its token in it: leave out --token-file")
    else:
        made = Context(state_dir=str(options.chosen(Path(state_dir or "")).path))
    file, known = _read()
    changed = known.with_(name, made, use=use)
    contexts.write(file, changed)
    click.echo(f"context {name}{', in use' if changed.current == name else ''}")


@command.command(cls=options.StudioCommand)
@NAME
def use(name: str) -> None:
    """Use it where nothing else is said."""
    file, known = _read()
    contexts.write(file, known.using(name))
    click.echo(f"context {name}, in use")


@command.command("list", cls=options.StudioCommand)
@answering
def list_(output: Output) -> None:
    """List them, with a star at the one in use; tokens are not shown."""
    _, known = _read()
    _tell(known, output)


@command.command(cls=options.StudioCommand)
@NAME
def remove(name: str) -> None:
    """Forget it, and its token."""
    file, known = _read()
    contexts.write(file, known.without(name))
    click.echo(f"removed {name}")


def _tell(known: Contexts, as_: Output) -> None:
    rows: list[dict[str, Any]] = [
        {
            "name": name, "server": each.url or each.state_dir, "used": name == known.current,
            "token": "its own" if each.token else "of the state directory" if each.state_dir else "STUDIO_TOKEN",
        }
        for name, each in sorted(known.named.items())
    ]  # fmt: skip
    if as_ == "table":
        rows = [row | {"used": "*" if row["used"] else " "} for row in rows]
    output.rows(rows, COLUMNS, as_, empty="no contexts; `studio context add` makes one")


def _read() -> tuple[Path, Contexts]:
    file = contexts.file_of(os.environ)
    return file, contexts.read(file)


def _token(file: str | None) -> str | None:
    if file is not None:
        return read_token(file)
    if os.environ.get("STUDIO_TOKEN"):
        return os.environ["STUDIO_TOKEN"]
    if not sys.stdin.isatty():
        raise Usage("no token: --token-file FILE (- is stdin), STUDIO_TOKEN, or --no-token")
    return getpass.getpass("Token: ").strip() or None
