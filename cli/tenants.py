"""`studio tenants`: making tenants, by whoever has the broker."""

from pathlib import Path

import click

from cli import options
from cli.handing_over import ask_the_broker


@click.group(cls=options.StudioGroup)
def command() -> None:
    """Make tenants. It speaks to the broker, not to the API: of the state directory, or of PCS_REDIS_URL."""


@command.command(cls=options.StudioCommand)
@click.argument("name")
@options.state_dir
@click.pass_context
def create(ctx: click.Context, name: str, state_dir: Path | None) -> None:
    """Make a tenant. The secret of its first admin's token is the only line on stdout, this once."""
    ctx.exit(_run(state_dir, "create", "--", name))


@command.command(cls=options.StudioCommand)
@click.argument("name")
@options.state_dir
@click.pass_context
def admin(ctx: click.Context, name: str, state_dir: Path | None) -> None:
    """Make another admin's token of a tenant, `default` too: for whoever has lost every one."""
    ctx.exit(_run(state_dir, "admin", "--", name))


@command.command("list", cls=options.StudioCommand)
@click.option("--json", is_flag=True, help="One JSON value on stdout.")
@options.state_dir
@click.pass_context
def list_(ctx: click.Context, state_dir: Path | None, json: bool) -> None:
    """List the tenants."""
    ctx.exit(_run(state_dir, "list", *(["--json"] if json else [])))


def _run(state_dir: Path | None, *arguments: str) -> int:
    """Let the broker's own command work; gives its exit code."""
    return ask_the_broker(state_dir, "broker.tenants", *arguments)
