"""`studio config show`: every setting of the server, its value, and where that is from."""

import json as jsonlib
import os
import subprocess
from pathlib import Path
from typing import Any

import click

from cli import options
from cli.errors import StudioError
from cli.output import Output, answering
from cli.roles import module

READERS = {"api": ("api",), "workers": ("workers", "merger")}
"""Who reads settings, and the command line that tells them."""


class SettingsNotValid(StudioError):
    """A role cannot read its settings."""


class UnknownSettings(StudioError):
    """File or flags name what is no setting."""


@click.group("config", cls=options.StudioGroup)
def command() -> None:
    """Show the settings of the server, and where each is from."""


@command.command("show", cls=options.StudioCommand)
@click.option("--config", "file", type=click.Path(path_type=Path), help="A file with settings (TOML).")
@click.option("--set", "given", multiple=True, metavar="NAME=VALUE", help="A setting, as if it were a flag of a role.")
@answering
@options.state_dir
def show(file: Path | None, given: tuple[str, ...], output: Output, state_dir: Path | None) -> None:
    """List every setting with its value and its source: flag, environment, file or default. Secrets are masked."""
    told = {name: _ask(reader, file, given, state_dir) for name, reader in READERS.items()}
    rows: dict[str, dict[str, Any]] = {}
    for name, of_role in told.items():
        for row in of_role["settings"]:
            rows.setdefault(row["name"], {**row, "roles": []})["roles"].append(name)
    unknown = sorted(set.intersection(*(set(of_role["unknown"]) for of_role in told.values())))
    listed = [rows[name] for name in sorted(rows)]
    if output == "ndjson":
        for row in listed:
            click.echo(jsonlib.dumps(row))
    elif output == "json":
        click.echo(jsonlib.dumps({"settings": listed, "unknown": unknown}))
    else:
        click.echo(table(listed))
    if unknown:
        raise UnknownSettings(f"no setting: {', '.join(unknown)}")


def _ask(reader: tuple[str, ...], file: Path | None, given: tuple[str, ...], state_dir: Path | None) -> dict[str, Any]:
    environment = {**os.environ, "PCS_STATE_DIR": str(options.chosen(state_dir))}  # as `up` tells its roles
    flags = [word for text in given for word in ("--set", text)]
    flags += ["--config", str(file)] if file is not None else []
    done = subprocess.run(
        module(*reader, "--show-config", *flags), env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise SettingsNotValid(done.stderr.strip() or f"{reader[0]} cannot tell its settings")
    answer: dict[str, Any] = jsonlib.loads(done.stdout)
    return answer


def table(rows: list[dict[str, Any]]) -> str:
    """The settings in columns."""
    cells = [("SETTING", "VALUE", "SOURCE", "READ BY")]
    cells += [(row["name"], row["value"] or "-", row["source"], ", ".join(row["roles"])) for row in rows]
    widths = [max(len(row[column]) for row in cells) for column in range(3)]
    return "\n".join(
        "  ".join([*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[3]]) for row in cells
    )
