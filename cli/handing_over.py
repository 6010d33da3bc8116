"""Commands that another module of ours carries out: it has the broker or the archive, `studio` has the terminal."""

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import click

from cli.reaching import local_state
from cli.roles import module

PATIENCE_S: Final = 5.0
"""How long what was told to stop may take."""


AWAY: Final = 3
"""What our modules end with when the broker cannot be reached."""


def ask_the_broker(state_dir: Path | None, name: str, *arguments: str) -> int:
    """`hand_over` for what speaks to the broker of a state directory or of PCS_REDIS_URL; says what to do without."""
    state = local_state(state_dir)
    code = hand_over({"PCS_STATE_DIR": str(state)}, name, *arguments)
    if code == AWAY:
        where = "PCS_REDIS_URL" if os.environ.get("PCS_REDIS_URL") else str(state)
        click.echo(f"studio: it is the broker of {where}: is it running, and is that the one you mean?", err=True)
    return code


def hand_over(environment: Mapping[str, str], name: str, *arguments: str) -> int:
    """Run one of our modules to its end; gives its exit code.

    It is out of Ctrl-C's reach, in a session of its own: a signal that hits it while it reads its imports would end in
    a traceback. It is ended here instead, and what it does bears being cut short.

    Args:
        environment: what to add to the inherited one; secrets and addresses go this way.
        name: of the module.
        arguments: never a secret: anyone may list processes.

    Raises:
        KeyboardInterrupt: it was interrupted, and has ended.
    """
    child = subprocess.Popen(
        module(name, *arguments), env={**os.environ, **environment}, stdin=subprocess.DEVNULL, start_new_session=True
    )
    try:
        return child.wait()
    except BaseException:
        child.terminate()
        try:
            child.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
        raise
