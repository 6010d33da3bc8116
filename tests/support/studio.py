"""`studio` as a program: started, watched and stopped the way a person does."""

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from cli import processes
from cli.state import StateDir
from cli.status import RoleHealth, examine
from tests.support.processes import eventually

STUDIO: Final = str(Path(sys.executable).parent / "studio")
SERVICE: Final = "local"


def studio(
    *arguments: str, within: float = 120.0, env: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a command to its end; `env` is added to the environment."""
    return subprocess.run(
        [STUDIO, *arguments],
        capture_output=True,
        text=True,
        check=False,
        timeout=within,
        env={**os.environ, **(env or {})},
    )


class Up:
    """A system that `studio up` started."""

    def __init__(self, state: StateDir, process: subprocess.Popen[bytes], out: Path) -> None:
        self.state = state
        self.process = process
        self._out = out

    @property
    def said(self) -> str:
        return self._out.read_text()

    @property
    def url(self) -> str:
        found = re.search(r"ready at (http://\S+)", self.said)
        assert found is not None, self.said
        return found[1]

    def status(self) -> dict[str, Any]:
        """What `studio status --json` says."""
        done = studio("status", "--state-dir", str(self.state), "--json")
        shown: dict[str, Any] = json.loads(done.stdout)
        return shown

    def health(self) -> dict[str, str]:
        return {role.name: role.health for role in self._roles()}

    def pids(self) -> dict[str, int | None]:
        return {role.name: role.pid for role in self._roles()}

    def _roles(self) -> list[RoleHealth]:
        """As `studio status` finds them; without a process of its own for each look, of which a wait takes many."""
        record = self.state.read_record()
        assert record is not None, self.said
        return examine(self.state, record)

    def left(self) -> list[int]:
        """Every process that the supervisor, or a role of it, has started and that still lives."""
        return processes.marked(str(self.state))

    def stop(self, signum: signal.Signals = signal.SIGINT) -> int:
        self.process.send_signal(signum)
        return self.process.wait(60)


@contextlib.contextmanager
def studio_up(folder: Path, *options: str) -> Iterator[Up]:
    """`studio up` on a free port, ready to be used."""
    state = StateDir(folder / "state")
    out = folder / "up.out"
    with out.open("wb") as output:
        command = [STUDIO, "up", "--port", "0", "--state-dir", str(state), *options]
        process = subprocess.Popen(command, stdout=output, stderr=output)
    up = Up(state, process, out)
    try:
        eventually(lambda: "ready at" in up.said or process.poll() is not None, within=90, what="studio up")
        assert process.poll() is None, up.said
        yield up
    finally:
        if process.poll() is None:
            up.stop()
