"""Addresses to listen on."""

import socket

from cli.errors import PortTaken


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
