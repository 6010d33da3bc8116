"""The command line of `gprofiler`. Its options are declared group by group in `agent.flags`."""

import os
from typing import Any, Final

import click

from agent.credentials import forget_token, hide_token
from agent.flags import config, guards, logs, on_host, output, profilers, profiling, server, tls, upload, without_effect
from agent.flags.doctor import doctor
from agent.flags.options import Given, Grouped
from agent.host import agent_version
from agent.settings import AgentSettings, LocalSettings
from agent.state_dir import StateDir, StateDirUnusable

_EPILOG: Final = """\b
Examples:
  gprofiler -o /tmp/profiles -d 30                  profile this host now
  gprofiler -o /tmp/profiles -d 10 --pids 12,345    profile two processes
  gprofiler doctor --api-server https://studio:8000 what keeps this host from being profiled
  GPROFILER_TOKEN=... gprofiler --enable-heartbeat-server -u --service-name web \\
      --api-server https://studio:8000 -o /tmp/profiles

Every option can be set in the environment: --heartbeat-interval is GPROFILER_HEARTBEAT_INTERVAL, and so on;
GPROFILER_SERVICE and GPROFILER_SERVER are read too. A config file has the long names: heartbeat-interval = 30.
The command line wins over the environment, and both over the file.
Exit codes: 0 done, 1 failed, 2 usage, 130 interrupted."""

_GROUPS: Final = (profiling, profilers, output, server, upload, guards, tls, on_host, logs, config, without_effect)


@click.pass_context
def _run(context: click.Context, /, **given: Any) -> None:
    """Profile the processes of this host: once, or whenever a Performance Studio asks for it."""
    if context.invoked_subcommand is not None:
        return
    notices = (*config.notices(context, os.environ), *without_effect.read(given))
    if given["enable_heartbeat_server"]:
        agent = _agent_settings(given, notices)
        forget_token()
        context.exit(_serve(agent))
    forget_token()
    context.exit(_profile(_local_settings(given, notices)))


gprofiler: Final = click.version_option(agent_version(), prog_name="gprofiler")(
    Grouped(
        "gprofiler",
        params=[flag for group in _GROUPS for flag in group.FLAGS],
        callback=_run,
        help=_run.__doc__,
        epilog=_EPILOG,
        invoke_without_command=True,
        context_settings={"max_content_width": 110},
    )
)


gprofiler.add_command(doctor)


def _local_settings(given: Given, notices: tuple[str, ...]) -> LocalSettings:
    state = StateDir(on_host.read_state_dir(given))
    if given["output_dir"] is None:
        if not given["upload_results"]:
            raise click.UsageError("Say where the profile goes: --output-dir DIR. (Or --enable-heartbeat-server.)")
        notices = (*notices, f"no --output-dir: profiles go to {state.profiles}")
    uploads = upload.read(given)
    return LocalSettings(
        upload=uploads,
        server=server.read(given) if uploads.address is not None else None,
        on_host=on_host.read(given) if uploads.address is not None else None,
        tls=tls.read(given),
        profiling=profiling.read(given),
        profilers=profilers.read(given),
        output=output.read(given, otherwise=state.profiles),
        logs=logs.read(given),
        notices=notices,
    )


def _agent_settings(given: Given, notices: tuple[str, ...]) -> AgentSettings:
    if given["pids"] is not None:
        raise click.UsageError("--pids is for profiling without a server; in heartbeat mode commands name processes.")
    if given["mode"] != "cpu":
        raise click.UsageError("--mode is for profiling without a server; in heartbeat mode commands name their own.")
    of_server, host = server.read(given), on_host.read(given)
    return AgentSettings(
        server=of_server,
        on_host=host,
        output=output.read(given, otherwise=StateDir(host.state_dir).profiles),
        profiling=profiling.read(given),
        profilers=profilers.read(given),
        upload=upload.read(given),
        guards=guards.read(given),
        tls=tls.read(given),
        logs=logs.read(given),
        notices=notices,
    )


def _profile(settings: LocalSettings) -> int:
    from agent import local  # noqa: PLC0415 - the help must not pay for what profiling needs

    return local.run(settings)


def _serve(settings: AgentSettings) -> int:
    from agent import daemon  # noqa: PLC0415 - likewise

    try:
        return daemon.serve(settings)
    except StateDirUnusable as error:
        click.echo(f"gprofiler: {error}", err=True)
        return 1


def main() -> None:
    """Run `gprofiler`. A token on the command line is taken out of it before anything else."""
    hide_token()
    gprofiler(auto_envvar_prefix=config.PREFIX)
