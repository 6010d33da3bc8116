"""The agent's command line, run in this process; `taken` of tests/unit/agent notes what it leads to."""

from click.testing import CliRunner, Result

from agent import cli
from agent.flags.config import variables

HEARTBEAT = ["--enable-heartbeat-server", "--service-name", "web", "--api-server", "http://studio:8000"]


def run(*arguments: str, **environment: str) -> Result:
    """Run it with these variables, and none of its own that the tests happen to run with."""
    clean: dict[str, str | None] = dict.fromkeys(variables(cli.gprofiler.params))
    return CliRunner().invoke(cli.gprofiler, arguments, env={**clean, **environment}, auto_envvar_prefix="GPROFILER")
