"""What the agent says of its host."""

import hashlib
import socket
import tomllib
import uuid
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

_DISTRIBUTION: Final = "performance-studio"
_UNKNOWN_ADDRESS: Final = "127.0.0.1"
_MACHINE_ID: Final = Path("/etc/machine-id")


def hostname() -> str:
    """The host's name, as the operator names it in a request."""
    return socket.gethostname()


def agent_version() -> str:
    """The installed version; of a source tree that is not installed, what its project file says."""
    try:
        return version(_DISTRIBUTION)
    except PackageNotFoundError:
        return _version_of_the_tree(Path(__file__).resolve().parents[1] / "pyproject.toml")


def _version_of_the_tree(project: Path) -> str:
    try:
        return str(tomllib.loads(project.read_text(encoding="utf-8"))["project"]["version"])
    except (OSError, ValueError, KeyError):
        return "0"


def ip_address(server: str) -> str:
    """The address this host has towards the server. No packet is sent; without a route it is the loopback's."""
    parts = urlsplit(server)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    try:
        family, kind, proto, _, address = socket.getaddrinfo(parts.hostname, port, type=socket.SOCK_DGRAM)[0]
        with socket.socket(family, kind, proto) as probe:
            probe.connect(address)
            return str(probe.getsockname()[0])
    except OSError:
        return _UNKNOWN_ADDRESS


def host_id(state_dir: Path) -> str:
    """What this machine is called, the same for as long as it is this machine.

    Made from /etc/machine-id (man 5 machine-id: an application must not tell it as it is); where there is none, as in
    many containers, it is made up once and kept in the state directory.

    Raises:
        OSError: it can be neither read nor kept.
    """
    try:
        machine = _MACHINE_ID.read_text(encoding="ascii", errors="replace").strip()
    except OSError:
        machine = ""
    if machine:
        return hashlib.sha256(f"performance-studio host\0{machine}".encode()).hexdigest()[:32]
    kept = state_dir / "host_id"
    if not kept.exists():
        draft = kept.with_name(".host_id")
        draft.write_text(uuid.uuid4().hex)
        draft.replace(kept)
    return kept.read_text(encoding="ascii").strip()
