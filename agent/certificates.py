"""The certificates of a connection, read anew when their files change: short-lived ones need no restart."""

import os
import ssl
from dataclasses import dataclass
from pathlib import Path

_Stamp = tuple[int, int, int]


@dataclass(frozen=True)
class Certificates:
    """The files: whom to trust, and what to show."""

    ca_bundle: Path | None = None
    client_cert: Path | None = None
    client_key: Path | None = None

    def stamps(self) -> tuple[_Stamp | None, ...]:
        """What changes when a file does, whichever way it is replaced."""
        return tuple(_stamp(path) for path in (self.ca_bundle, self.client_cert, self.client_key))

    def applied(self, context: ssl.SSLContext) -> ssl.SSLContext:
        """A context that shows the client's certificate.

        Raises:
            OSError: a file cannot be read; `ssl.SSLError` where certificate and key do not belong together.
        """
        if self.client_cert is not None:
            context.load_cert_chain(self.client_cert, self.client_key)
        return context


def _stamp(path: Path | None) -> _Stamp | None:
    if path is None:
        return None
    try:
        found = os.stat(path)  # noqa: PTH116 - the three numbers, links followed: Kubernetes swaps links
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino
