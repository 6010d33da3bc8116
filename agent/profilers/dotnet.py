""".NET by dotnet-trace, where the host has it."""

import math
import os
from datetime import timedelta
from pathlib import Path
from typing import ClassVar

from agent.processes import Process
from agent.profilers.attached import PATIENCE
from agent.profilers.base import RunRequest
from agent.profilers.installed_tool import InstalledTool, text_of
from agent.runtimes import Runtime
from agent.stacks import runtime_tools


class DotnetTrace(InstalledTool):
    """dotnet-trace asks the runtime itself, by the socket that it keeps in `/tmp`: not across containers."""

    name = "dotnet-trace"
    runtime: ClassVar[Runtime] = "dotnet"
    label = ".NET"
    install = "dotnet-trace is not installed: dotnet tool install --global dotnet-trace"
    event = "timer of the runtime, threads in managed code"
    says = b"Output File"

    def command(self, binary: Path, target: Process, request: RunRequest, file: Path) -> list[str]:
        """Its sampler has a rate of its own, a millisecond; we bring the stacks to the one that was asked for."""
        bound = request.duration + PATIENCE
        return [
            str(binary), "collect", "--process-id", str(target.pid), "--format", "Speedscope",
            "--duration", _as_dotnet_writes(bound), "--output", str(file.with_suffix(".nettrace")),
        ]  # fmt: skip

    def read(self, file: Path, request: RunRequest) -> dict[str, int]:
        """The file that it makes of its own one."""
        text = text_of(file.with_suffix(".speedscope.json"))
        return runtime_tools.dotnet_trace(text, frequency_hz=request.frequency_hz)

    def find(self) -> Path | None:
        """On PATH, or where `dotnet tool install --global` puts it."""
        home = os.environ.get("HOME") or "/root"  # a service, or a bare container, may have neither HOME nor a passwd
        installed = Path(home) / ".dotnet" / "tools" / self.name
        return super().find() or (installed if self._binary is None and os.access(installed, os.X_OK) else None)


def _as_dotnet_writes(duration: timedelta) -> str:
    """`dd:hh:mm:ss`."""
    minutes, seconds = divmod(math.ceil(duration.total_seconds()), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    return f"{days:02}:{hours:02}:{minutes:02}:{seconds:02}"
