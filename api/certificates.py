"""Whose certificate a connection has."""

from collections.abc import Mapping
from typing import Any, Final

PEER: Final = "studio.peer"
"""The extension of a call's scope that says whose certificate its connection has: `{"common_name": …}`."""


def common_name(certificate: Mapping[str, Any] | None) -> str | None:
    """The common name of a certificate's subject, as `ssl.SSLSocket.getpeercert` tells it; None: none or several."""
    subject = (certificate or {}).get("subject", ())
    names = [value for part in subject for name, value in part if name == "commonName"]
    return names[0] if len(names) == 1 else None


def peer_of(scope: Mapping[str, Any]) -> str | None:
    """The common name of the certificate that a call's client has shown; None: it has shown none."""
    peer = (scope.get("extensions") or {}).get(PEER)
    return peer["common_name"] if peer is not None else None
