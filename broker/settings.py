"""Where the broker is and how its data is laid out. Built once, at the start of a process, and handed down."""

import hashlib
import os
import stat
import tempfile
from pathlib import Path
from typing import Annotated, Final
from urllib.parse import quote, urlsplit, urlunsplit

from pydantic import Field, SecretStr
from pydantic_settings import SettingsConfigDict

from broker.config import FiledSettings
from broker.errors import BadClusterUrl, UnsafeSocketFolder

LONGEST_SOCKET_PATH: Final = 100
"""Linux gives a Unix socket's path 108 bytes, the closing zero included."""
CLUSTER_SCHEMES: Final = {"redis+cluster": "redis", "rediss+cluster": "rediss"}
"""How a URL says that it leads to a Redis Cluster, and the scheme that its nodes are reached by."""


def is_cluster_url(url: str) -> bool:
    """Whether a URL says that it leads to a Redis Cluster."""
    return url.partition("://")[0] in CLUSTER_SCHEMES


def node_urls(url: str) -> tuple[str, ...]:
    """`redis+cluster://user:secret@a:7000,b:7000/?…` as one URL for each node it names.

    Raises:
        BadClusterUrl: with what is wrong with it, without its secrets.
    """
    parts = urlsplit(url)
    if parts.path not in ("", "/", "/0"):
        raise BadClusterUrl("a cluster has no databases by number: leave the path away")
    user, at, hosts = parts.netloc.rpartition("@")
    found = []
    for host in hosts.split(","):
        node = urlsplit(urlunsplit((CLUSTER_SCHEMES[parts.scheme], f"{user}{at}{host}", "", parts.query, "")))
        try:
            is_usable = bool(node.hostname) and node.port != 0
        except ValueError:
            is_usable = False
        if not is_usable:
            raise BadClusterUrl("after the secrets it takes host:port, several of them with commas between")
        found.append(node.geturl())
    return tuple(found)


class BrokerSettings(FiledSettings):
    """Read from the environment: `PCS_REDIS_URL`, `PCS_STATE_DIR`, `PCS_PARTITIONS`."""

    model_config = SettingsConfigDict(env_prefix="PCS_", extra="ignore")

    redis_url: SecretStr | None = None
    """A server or cluster that runs already; unset: the one we start ourselves, on a Unix socket below `state_dir`."""
    state_dir: Path = Path("/var/lib/performance-studio")
    partitions: Annotated[int, Field(ge=1, le=4096)] = 16
    """Fixed at first start: every key of a host carries its partition."""

    @property
    def socket_path(self) -> Path:
        """The embedded server's socket: in the state directory, or, where that path is too long, in a private folder.

        Every role derives the same path from the same state directory.
        """
        home = self.state_dir.absolute() / "broker"
        path = home / "redis.sock"
        if len(os.fsencode(path)) <= LONGEST_SOCKET_PATH:
            return path
        digest = hashlib.sha256(os.fsencode(home)).hexdigest()[:16]
        return Path(tempfile.gettempdir()) / f"pcs-{os.getuid()}-{digest}" / "redis.sock"

    @property
    def url(self) -> str:
        """The URL for the client library; may carry a password, so it is never logged."""
        if self.redis_url is not None:
            return self.redis_url.get_secret_value()
        return f"unix://{quote(os.fsencode(self.socket_path))}"

    @property
    def is_cluster(self) -> bool:
        """Whether the broker is a Redis Cluster."""
        return is_cluster_url(self.url)

    def check_socket_folder(self) -> None:
        """Refuse a socket that somebody else could have put there: the folder may stand in a shared directory.

        Raises:
            UnsafeSocketFolder: it belongs to another user, or others may write to it.
        """
        if self.redis_url is not None:
            return
        folder = self.socket_path.parent
        try:
            facts = folder.lstat()
        except FileNotFoundError:
            return  # the server has not started yet; connecting will say so
        if not stat.S_ISDIR(facts.st_mode) or facts.st_uid != os.getuid() or facts.st_mode & 0o022:
            raise UnsafeSocketFolder(str(folder))
