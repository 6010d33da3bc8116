"""Names for a shell to complete, from the server, where it answers at once: nobody waits for a key they pressed."""

from typing import Any, Final

import click

from cli.errors import StudioError

AT_ONCE_S: Final = 0.7
MOST: Final = 1_000
"""Hosts that are looked through: one page."""


def services(ctx: click.Context, _: click.Parameter, incomplete: str) -> list[str]:
    """The services that begin so."""
    return sorted({row.service_name for row in _hosts(ctx, {}) if row.service_name.startswith(incomplete)})


def hosts(ctx: click.Context, _: click.Parameter, incomplete: str) -> list[str]:
    """The hosts that begin so; those of the service, where one is said."""
    service = ctx.params.get("service") or ctx.params.get("service_name")
    found = _hosts(ctx, {"service_name": service} if service else {})
    return sorted({row.hostname for row in found if row.hostname.startswith(incomplete)})


def _hosts(ctx: click.Context, query: dict[str, str | list[str]]) -> list[Any]:
    from cli.reaching import Server  # noqa: PLC0415 - it reads the HTTP client, which only a Tab needs here

    said = {name: ctx.params.get(name) for name in ("url", "context", "state_dir")}
    try:
        with Server(**said).client(within=AT_ONCE_S) as client:
            return client.some_hosts(query | {"limit": str(MOST)})
    except StudioError:
        return []  # a shell shows nothing then; the command itself says why
