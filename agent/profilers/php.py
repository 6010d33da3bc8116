"""PHP by phpspy, where the host has it."""

import math
from pathlib import Path
from typing import ClassVar

from agent.processes import Process
from agent.profilers.attached import PATIENCE
from agent.profilers.base import RunRequest
from agent.profilers.installed_tool import InstalledTool, text_of
from agent.runtimes import Runtime
from agent.stacks import runtime_tools


class Phpspy(InstalledTool):
    """phpspy reads from outside. A worker between two requests has no stack; one that waits for a database has."""

    name = "phpspy"
    runtime: ClassVar[Runtime] = "php"
    label = "PHP"
    install = "phpspy is not installed: build it (https://github.com/adsr/phpspy) and put it on PATH"
    event = "timer, while a request is served"

    def command(self, binary: Path, target: Process, request: RunRequest, file: Path) -> list[str]:
        """Its own bound is longer than ours, for the case that ours does not end it."""
        bound = math.ceil((request.duration + PATIENCE).total_seconds())
        return [
            str(binary), f"--rate-hz={request.frequency_hz}", f"--time-limit-ms={bound * 1000}",
            f"--output={file}", f"--pid={target.pid}",
        ]  # fmt: skip

    def read(self, file: Path, request: RunRequest) -> dict[str, int]:  # noqa: ARG002 -- the interface's
        """Its traces."""
        return runtime_tools.phpspy(text_of(file).splitlines())
