"""A host of its own for commands that name ports and folders: root's namespaces for network and mounts.

`localhost:8000`, `/tmp`, `/opt`, `/var/lib` and `/etc/hosts` are private there; the rest is seen as it is.
"""

import contextlib
import shlex
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from tests.support.processes import ROOT, eventually

PRIVATE: Final = ("/tmp", "/opt", "/var/lib")
_UP: Final = """
import fcntl, socket, struct
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
    fcntl.ioctl(one, 0x8914, struct.pack("16sh", b"lo", 0x1 | 0x40))  # SIOCSIFFLAGS: IFF_UP, IFF_RUNNING
"""


class PrivateHost:
    """The namespaces, for as long as `holder` lives."""

    def __init__(self, holder: int, *, path: str, env: Mapping[str, str]) -> None:
        self._holder = holder
        self._env = {"PATH": path, "HOME": "/tmp", "LANG": "C.UTF-8", **env}

    def file(self, path: str) -> Path:
        """Where a file of the private host is for this process."""
        return Path(f"/proc/{self._holder}/root{path}")

    def argv(self, command: str, *, cwd: Path = ROOT) -> list[str]:
        """What runs a shell command there."""
        script = f"cd {shlex.quote(str(cwd))} && {command}"
        return ["nsenter", "--target", str(self._holder), "--net", "--mount", "--", "bash", "-euc", script]

    def run(self, command: str, *, cwd: Path = ROOT, within: float = 60) -> subprocess.CompletedProcess[str]:
        """Run a shell command to its end."""
        return subprocess.run(
            self.argv(command, cwd=cwd), env=self._env, capture_output=True, text=True, timeout=within, check=False
        )

    @contextlib.contextmanager
    def running(self, command: str, *, cwd: Path = ROOT, log: Path) -> Iterator[subprocess.Popen[bytes]]:
        """A shell command that goes on; killed on the way out, if it has not ended by then."""
        with log.open("ab") as output:
            process = subprocess.Popen(
                self.argv(command, cwd=cwd), env=self._env, stdout=output, stderr=output, start_new_session=True
            )
        try:
            yield process
        finally:
            if process.poll() is None:
                process.kill()
            process.wait()


def seeing_us(mounted: str, folder: str) -> str:
    """A shell command that mounts something over a folder, with our own files seen in it as before, if they are there.

    For a mount namespace of its own, in which nobody needs `/mnt`.
    """
    if not ROOT.is_relative_to(folder):
        return mounted
    ours = shlex.quote(str(ROOT))
    return f"mount --bind {ours} /mnt && {mounted} && mkdir -p {ours} && mount --bind /mnt {ours} && umount /mnt"


@contextlib.contextmanager
def private_host(*, path: str, names: str = "localhost", env: Mapping[str, str]) -> Iterator[PrivateHost]:
    """A private host whose `names` are its own address."""
    command = ["unshare", "--net", "--mount", "--propagation", "private", "sleep", "infinity"]
    with subprocess.Popen(command) as holder:
        try:
            host = PrivateHost(holder.pid, path=path, env=env)
            comm = Path(f"/proc/{holder.pid}/comm")
            eventually(lambda: comm.read_text() == "sleep\n", what="the namespaces")
            mounts = " && ".join(
                seeing_us(f"mount -t tmpfs none {folder} && chmod 1777 {folder}", folder) for folder in PRIVATE
            )
            made = host.run(
                f"{mounts} && printf '127.0.0.1 {names}\\n' >/tmp/hosts && mount --bind /tmp/hosts /etc/hosts"
                f" && python3 -c {shlex.quote(_UP)}",
                cwd=Path("/"),
            )
            assert made.returncode == 0, made.stderr
            yield host
        finally:
            holder.terminate()
