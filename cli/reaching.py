"""Which API a command speaks to, and with which token. A token is never an argument: anyone may list processes."""

import os
from pathlib import Path
from typing import Final

import click

from cli import options
from cli.client import StudioClient
from cli.errors import NotRunning, Usage

URL: Final = click.option(
    "--url",
    envvar="STUDIO_URL",
    help="The API, with a token in STUDIO_TOKEN.  [default: what runs on the state directory]",
)


def client_of(url: str | None, state_dir: Path | None) -> StudioClient:
    """The API that was named, with the token of the environment; or what runs on the state directory.

    Raises:
        NotRunning: nothing runs there.
        Usage: the address is none.
    """
    if url is not None:
        if not url.startswith(("http://", "https://")):
            raise Usage("--url (or STUDIO_URL) must begin with http:// or https://, as http://127.0.0.1:8000")
        return StudioClient(url, os.environ.get("STUDIO_TOKEN"))
    state = options.chosen(state_dir)
    record = state.read_record() if state.is_claimed() else None
    if record is None:
        raise NotRunning(state.path)
    return StudioClient(record.url, state.token("admin"))
