"""Addresses to listen on."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from cli.errors import PortTaken

TRIES: Final = 20


@contextmanager
def claimed_port(host: str, port: int) -> Iterator[int]:
    """A port to listen on, which nobody else who asks here gets meanwhile; see `pick_port`.

    Between the look at a port and the moment at which the API listens there, a second supervisor would see it free,
    too. So each holds a name in the kernel, which is let go with the process that has it.

    Raises:
        PortTaken: somebody listens there, is about to, or this user may not.
    """
    for _ in range(TRIES):
        chosen = pick_port(host, port)
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as claim:
            try:
                claim.bind(f"\0performance-studio:{host}:{chosen}")
            except OSError:
                if port != 0:
                    break
                continue
            yield chosen
            return
    raise PortTaken(host, port, "another one that starts just now has it")


def pick_port(host: str, port: int) -> int:
    """The port to listen on: the one asked for if it is free, any free one for 0.

    Raises:
        PortTaken: somebody listens there, or this user may not.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as trial:
        trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as the API does: a port in TIME_WAIT is free
        try:
            trial.bind((host, port))
            trial.listen(1)
        except OSError as error:
            raise PortTaken(host, port, error.strerror or str(error)) from error
        return int(trial.getsockname()[1])


def url_for(host: str, port: int) -> str:
    """Where to reach what listens there from this machine."""
    here = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}.get(host, host)  # noqa: S104 - compared, not bound
    return f"http://[{here}]:{port}" if ":" in here else f"http://{here}:{port}"
