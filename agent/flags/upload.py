"""Upload: whether profiles are sent to the server, and how many may wait for it."""

from dataclasses import dataclass, field
from typing import Final

import click

from agent.flags.options import Given, under
from agent.spool_limits import SpoolLimits

_MIB: Final = 1024 * 1024

_flag = under("Upload")


@dataclass(frozen=True)
class Upload:
    """Where profiles are sent; without `address` they are not."""

    address: str | None = None
    limits: SpoolLimits = field(default_factory=SpoolLimits)


# fmt: off
FLAGS: Final = (
    _flag("-u", "--upload-results", is_flag=True,
          help="Send each profile to --server-host (or --api-server). It stays in --output-dir as well."),
    _flag("--spool-profiles", type=click.IntRange(min=1), default=SpoolLimits.profiles, show_default=True,
          metavar="COUNT", help="How many profiles may wait for a server that is away; the oldest go first."),
    _flag("--spool-mib", type=click.IntRange(min=1), default=SpoolLimits.bytes // _MIB, show_default=True,
          metavar="MIB", help="How much disk they may take."),
)
# fmt: on


def read(given: Given) -> Upload:
    """Where profiles are sent.

    Raises:
        click.UsageError: nowhere, though they are to be.
    """
    if not given["upload_results"]:
        return Upload()
    address = given["server_host"] or given["api_server"]
    if not address:
        raise click.UsageError("--upload-results needs --server-host URL (or --api-server).")
    return Upload(
        address=address, limits=SpoolLimits(profiles=given["spool_profiles"], bytes=given["spool_mib"] * _MIB)
    )
