"""`agent.capture.capture` within what this host allows."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from agent.capture import capture
from agent.flags.profilers import Profilers
from agent.host_rules import configs_of, ruled
from agent.profilers.base import RunRequest
from agent.run_profile import Profile


class HostCapture:
    """Samples as `capture` does, and holds each request to the host's own settings."""

    def __init__(self, host: Profilers) -> None:
        self._host = configs_of(
            disabled=host.disabled,
            enabled=host.enabled,
            perf_mode=host.perf_mode,
            dwarf_stack_size=host.dwarf_stack_size,
            java_clock=host.java_clock,
            java_mode=host.java_mode,
            java_safemode=host.java_safemode,
            java_version_check=host.java_version_check,
            alloc_interval=host.alloc_interval,
            max_targets=host.max_targets,
            perf_up_to=host.perf_up_to,
        )
        self._container_names = host.container_names

    async def __call__(
        self, request: RunRequest, *, work_dir: Path, stop: asyncio.Event, on_start: Callable[[], None]
    ) -> Profile:
        """Sample until the duration is over or `stop` is set."""
        within = replace(request, configs=ruled(request.configs, self._host))
        profile = await capture(within, work_dir=work_dir, stop=stop, on_start=on_start)
        if self._container_names:
            return profile
        processes = tuple(replace(one, labels=None) for one in profile.processes)
        return replace(profile, processes=processes, by_container={})
