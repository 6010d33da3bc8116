"""`studio`: the commands. Each one's module is read only when it runs, so that `studio --help` is quick."""

import importlib
from typing import Any, Final

import click

INTERRUPTED: Final = 130
"""The exit code of what Ctrl-C has ended."""
COMMANDS: Final = {
    "archive": "cli.archive",
    "audit": "cli.audit",
    "cancel": "cli.requests:cancel",
    "check": "cli.check",
    "cluster-check": "cli.cluster_check",
    "commands": "cli.commands",
    "completion": "cli.completion",
    "config": "cli.config_show",
    "context": "cli.context",
    "dead-letters": "cli.dead_letters",
    "demo": "cli.demo",
    "hosts": "cli.hosts",
    "profile": "cli.profiling",
    "profiles": "cli.profiles",
    "rebuild-status": "cli.rebuild_status",
    "requests": "cli.requests",
    "results": "cli.results",
    "schedules": "cli.schedules",
    "status": "cli.status",
    "stop": "cli.profiling:stop",
    "tenants": "cli.tenants",
    "token": "cli.show_token",
    "tokens": "cli.tokens",
    "top": "cli.top",
    "up": "cli.up",
}
"""Command → the module that has it as `command`, or under the name behind the colon."""

SUMMARIES: Final = {
    "archive": "Verify the archive of results.",
    "audit": "Verify, follow and export the record of who did what.",
    "cancel": "Withdraw requests from all their hosts.",
    "check": "Run every check and every test of a clone.",
    "cluster-check": "Tell whether a Redis, a Valkey or a cluster fits, and what to change.",
    "commands": "List what the hosts are to do.",
    "completion": "Print what makes a shell complete commands, services and hosts.",
    "config": "Show the settings of the server, and where each is from.",
    "context": "Name servers, so that a command need not say which one it means.",
    "dead-letters": "List, show and replay what was given up on.",
    "demo": "Start everything, profile a sample program, show where its time goes.",
    "hosts": "List the fleet, and show one host.",
    "profile": "Profile hosts of a service, show how far each is, then the flame graph.",
    "profiles": "List and delete stored profiles, pack their index, make it anew.",
    "rebuild-status": "Rebuild the status of every request from the results.",
    "requests": "List, show and follow requests, and draw what has come of them.",
    "results": "Follow what becomes of commands, as it happens.",
    "schedules": "Make and follow requests that are submitted by the clock.",
    "status": "List each role with its pid and its health.",
    "stop": "Stop profiling on hosts of a service.",
    "tenants": "Make tenants, with access to the broker.",
    "token": "Print a token of the state directory.",
    "tokens": "Make, list, rotate and revoke tokens.",
    "top": "Show the live fleet in the terminal.",
    "up": "Start broker, API, workers and an agent; keep them running until Ctrl-C.",
}


def read(name: str) -> click.Command:
    """A command, by its name."""
    module, _, attribute = COMMANDS[name].partition(":")
    command: click.Command = getattr(importlib.import_module(module), attribute or "command")
    return command


class LazyCommands(click.Group):
    """A group whose commands are read when they are asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """Every command, in order."""
        return sorted(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - click's signature
        """The command of that name, read now."""
        return read(cmd_name) if cmd_name in COMMANDS else None

    def invoke(self, ctx: click.Context) -> Any:
        """Read the command and run it. Ctrl-C is 130 at any time: click says 1, which means that something failed."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            click.echo("studio: interrupted", err=True)
            ctx.exit(INTERRUPTED)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The list in `--help`, from the summaries: reading every command would take ten times as long."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, SUMMARIES[name]) for name in self.list_commands(ctx)])


EXIT_CODES: Final = """\
First steps: `studio demo`, or `studio up` and then `studio status`.

Exit codes: 0 done, 1 failed, 2 usage, 3 unreachable or refused,
4 waited too long, 5 partly failed, 130 interrupted.
"""


@click.group(cls=LazyCommands, context_settings={"help_option_names": ["-h", "--help"]}, epilog=EXIT_CODES)
@click.version_option(package_name="performance-studio", prog_name="studio")
def main() -> None:
    """Performance Studio: profile any process on any host, on demand."""
