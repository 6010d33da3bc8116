"""Which processes make up the system, and the command line of each."""

import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Final

from cli.state import StateDir

Environment = Mapping[str, str]

BROKER: Final = "broker"
API: Final = "api"
MERGER: Final = "merger"
JOBS: Final = "jobs"
ARCHIVER: Final = "archiver"
NOTIFIER: Final = "notifier"
AGENT: Final = "agent"
SAMPLE: Final = "sample"

STREAM_ROLES: Final = ("merger", "recoverer", "projector", "janitor", "dispatcher", "pacer", "greeter", "scheduler")
"""The loops that share the process called merger."""


def role_of(check: str) -> str:
    """The role whose process a check of `/readyz` is about."""
    return MERGER if check in STREAM_ROLES else check


@dataclass(frozen=True)
class Role:
    """One process of the system.

    Attributes:
        name: also the name of its log.
        command: its program and arguments; never a secret, for anyone may list processes.
        stop_rank: who stops first when everything stops; equal ranks stop together.
        environment: gives what to add to the inherited environment, or None as long as the role cannot start yet.
        restart: whether it is started again when it ends.
        patience: how long it may take to stop cleanly.
    """

    name: str
    command: tuple[str, ...]
    stop_rank: int
    environment: Callable[[], Environment | None] = field(default=dict, repr=False)
    restart: bool = True
    patience: timedelta = timedelta(seconds=10)


def module(name: str, *arguments: str) -> tuple[str, ...]:
    """The command line that runs one of our modules; `-P` keeps the current folder from shadowing our packages."""
    return (sys.executable, "-P", "-m", name, *arguments)


def server_roles(
    state: StateDir, *, host: str, port: int, own_broker: bool, webhooks: bool = False, workers: int = 1
) -> list[Role]:
    """Broker (unless one is given by URL), API and workers. They find each other, in whichever order they come up.

    Args:
        state: the state directory.
        host: the address of the API.
        port: its port.
        own_broker: whether a broker of our own is needed.
        webhooks: whether there is somebody to notify.
        workers: how many processes share the work of the API.
    """
    alone = (ARCHIVER, NOTIFIER) if webhooks else (ARCHIVER,)
    roles = [
        Role(
            API, module("api", "--host", host, "--port", str(port), "--workers", str(workers)), stop_rank=2,
            patience=timedelta(seconds=20), environment=lambda: {"PCS_EXPECTED_ROLES": ",".join(alone)},
        ),
        Role(MERGER, module("workers", *STREAM_ROLES), stop_rank=1),
        Role(JOBS, module("workers", "jobs"), stop_rank=1),
        *(Role(name, module("workers", name), stop_rank=1) for name in alone),
    ]  # fmt: skip
    if own_broker:
        roles.insert(0, Role(BROKER, module("broker.embedded", "--state-dir", str(state)), stop_rank=3))
    return roles


def agent_role(state: StateDir, *, url: str, service: str) -> Role:
    """An agent for this host. It starts once the API has made its token, and gets that by environment."""

    def environment() -> Environment | None:
        token = state.token("agent")
        return {"GPROFILER_TOKEN": token} if token else None

    options = (
        "--enable-heartbeat-server",
        "--upload-results",
        *("--service-name", service),
        *("--api-server", url),
        *("--heartbeat-interval", "30"),
        *("--output-dir", str(state.profiles)),
        *("--state-dir", str(state.path / "agent")),
        *("--heartbeat-log", str(state.logs / "heartbeats.log")),
    )
    return Role(AGENT, (str(Path(sys.executable).parent / "gprofiler"), *options), stop_rank=0, environment=environment)


def sample_role() -> Role:
    """A program with known hot functions, to profile; for this process to start."""
    command = module("cli.sample", "--parent", str(os.getpid()))
    return Role(SAMPLE, command, stop_rank=0, restart=False, patience=timedelta(seconds=2))
