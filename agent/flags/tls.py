"""Encryption: whom to trust, and what to show."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import click

from agent.flags.options import Given, under

_FILE: Final = click.Path(path_type=Path, exists=True, dir_okay=False)

_flag = under("Encryption")


@dataclass(frozen=True)
class Tls:
    """Certificates of an https:// server. Without `ca_bundle` the built-in authorities are trusted."""

    ca_bundle: Path | None = None
    client_cert: Path | None = None
    client_key: Path | None = None


# fmt: off
FLAGS: Final = (
    _flag("--ca-bundle", "--tls-ca-bundle", "ca_bundle", type=_FILE, metavar="FILE",
          help="Certificates to trust instead of the built-in ones."),
    _flag("--client-cert", "--tls-client-cert", "client_cert", type=_FILE, metavar="FILE",
          help="A certificate to show to the server, whose common name is this host's name; its key is in it, or in:"),
    _flag("--client-key", "--tls-client-key", "client_key", type=_FILE, metavar="FILE",
          help="The key of --client-cert."),
)
# fmt: on


def read(given: Given) -> Tls:
    """The certificates."""
    return Tls(ca_bundle=given["ca_bundle"], client_cert=given["client_cert"], client_key=given["client_key"])
