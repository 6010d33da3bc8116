"""Where the broker is and how its data is laid out. Built once, at the start of a process, and handed down."""

import hashlib
import os
import stat
import tempfile
from pathlib import Path
from typing import Annotated, Final
from urllib.parse import quote

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

from broker.errors import UnsafeSocketFolder

LONGEST_SOCKET_PATH: Final = 100
"""Linux gives a Unix socket's path 108 bytes, the closing zero included."""


class BrokerSettings(BaseSettings):
    """Read from the environment: `PCS_REDIS_URL`, `PCS_STATE_DIR`, `PCS_PARTITIONS`."""

    model_config = SettingsConfigDict(env_prefix="PCS_", extra="ignore")

    redis_url: SecretStr | None = None
    """A server that runs already; unset: the one we start ourselves, on a Unix socket below `state_dir`."""
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
