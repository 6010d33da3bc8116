"""Ruby by rbspy, where the host has it."""

import math
from pathlib import Path
from typing import ClassVar

from agent.processes import Process
from agent.profilers.attached import PATIENCE
from agent.profilers.base import RunRequest
from agent.profilers.installed_tool import InstalledTool, text_of
from agent.runtimes import Runtime
from agent.stacks import runtime_tools


class Rbspy(InstalledTool):
    """rbspy reads from outside without stopping the process, and only while it is on a CPU."""

    name = "rbspy"
    runtime: ClassVar[Runtime] = "ruby"
    label = "Ruby"
    install = "rbspy is not installed: put it on PATH (https://rbspy.github.io)"
    event = "timer, while the process is on a CPU"

    def command(self, binary: Path, target: Process, request: RunRequest, file: Path) -> list[str]:
        """Its own bound is longer than ours, for the case that ours does not end it."""
        bound = math.ceil((request.duration + PATIENCE).total_seconds())
        return [
            str(binary), "record", "--silent", "--nonblocking", "--on-cpu", "--format", "collapsed",
            "--rate", str(request.frequency_hz), "--duration", str(bound), "--raw-file", "/dev/null",
            "--file", str(file), "--pid", str(target.pid),
        ]  # fmt: skip

    def read(self, file: Path, request: RunRequest) -> dict[str, int]:  # noqa: ARG002 -- the interface's
        """Its collapsed stacks."""
        return runtime_tools.rbspy(text_of(file).splitlines())
