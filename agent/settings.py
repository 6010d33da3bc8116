"""What the agent was told at start: built once by the command line, handed down, never changed."""

from dataclasses import dataclass, field

from agent.flags.logs import Logs
from agent.flags.on_host import OnHost
from agent.flags.output import Output
from agent.flags.profilers import Profilers
from agent.flags.profiling import Profiling
from agent.flags.server import Server
from agent.flags.tls import Tls
from agent.flags.upload import Upload
from agent.guard_settings import GuardSettings


@dataclass(frozen=True)
class LocalSettings:
    """One run without heartbeats, or one after the other. `notices` are to be said once.

    `server`, `on_host` and `tls` are for uploads.
    """

    output: Output
    profiling: Profiling = field(default_factory=Profiling)
    profilers: Profilers = field(default_factory=Profilers)
    upload: Upload = field(default_factory=Upload)
    server: Server | None = None
    on_host: OnHost | None = None
    tls: Tls = field(default_factory=Tls)
    logs: Logs = field(default_factory=Logs)
    notices: tuple[str, ...] = ()


@dataclass(frozen=True)
class AgentSettings:
    """Heartbeat mode, group by group as in the help. `notices` are to be said once."""

    server: Server
    on_host: OnHost
    output: Output
    profiling: Profiling = field(default_factory=Profiling)
    profilers: Profilers = field(default_factory=Profilers)
    upload: Upload = field(default_factory=Upload)
    guards: GuardSettings = field(default_factory=GuardSettings)
    tls: Tls = field(default_factory=Tls)
    logs: Logs = field(default_factory=Logs)
    notices: tuple[str, ...] = ()
