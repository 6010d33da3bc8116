"""The command line of `gprofiler`."""

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any, Final, TypeVar

import click

from agent.credentials import TOKEN_VARIABLE, BadToken, Secret, forget_token, hide_token, read_token, read_token_file
from agent.host import hostname as name_of_this_host
from agent.options import Grouped, HeadedOption, read_address, read_pids
from agent.settings import DEFAULT_HEARTBEAT_LOG, AgentSettings, LocalSettings
from agent.state_dir import StateDir, StateDirUnusable, default_state_dir

_MAX_DURATION: Final = 86_400
_MAX_FREQUENCY: Final = 1_000
_MAX_INTERVAL: Final = 3_600
_MAX_WAIT: Final = 60
_MAX_TIMEOUT: Final = 600

_NO_EFFECT: Final = {
    "upload_results": "--upload-results: this version does not upload profiles; they stay in --output-dir",
    "dont_send_logs": "--dont-send-logs: this version sends no logs anywhere",
    "disable_metrics_collection": "--disable-metrics-collection: this version collects no system metrics",
    "java_safemode": "--java-safemode: this version has no profiler for Java alone; perf samples Java processes",
    "java_no_version_check": "--java-no-version-check: this version has no profiler for Java alone",
}

_EPILOG: Final = """\b
Examples:
  gprofiler -o /tmp/profiles -d 30                  profile this host now
  gprofiler -o /tmp/profiles -d 10 --pids 12,345    profile two processes
  GPROFILER_TOKEN=... gprofiler --enable-heartbeat-server -u --service-name web \\
      --api-server https://studio:8000 -o /tmp/profiles

Every option can be set in the environment: --heartbeat-interval is GPROFILER_HEARTBEAT_INTERVAL, and so on;
GPROFILER_SERVICE and GPROFILER_SERVER are read too. The command line wins.
Exit codes: 0 done, 1 failed, 2 usage, 130 interrupted."""

F = TypeVar("F", bound=Callable[..., Any])


def _under(heading: str) -> Callable[..., Callable[[F], F]]:
    def option(*names: str, **attributes: Any) -> Callable[[F], F]:
        return click.option(*names, cls=HeadedOption, heading=heading, **attributes)

    return option


_profiling = _under("Profiling")
_output = _under("Output")
_server = _under("Heartbeat mode")
_state = _under("Heartbeat mode, on this host")
_logging = _under("Logging")
_later = _under("Accepted, without effect in this version")


# fmt: off
@click.command(cls=Grouped, epilog=_EPILOG, context_settings={"max_content_width": 110})
@_profiling("-d", "--profiling-duration", type=click.IntRange(1, _MAX_DURATION), default=60, show_default=True,
            metavar="SECONDS", help="How long to sample; in heartbeat mode, for commands that do not say.")
@_profiling("-f", "--profiling-frequency", type=click.IntRange(1, _MAX_FREQUENCY), default=11, show_default=True,
            metavar="HZ", help="Samples a second; in heartbeat mode, for commands that do not say.")
@_profiling("-c", "--continuous", is_flag=True,
            help="Go on, profile after profile, until stopped; in heartbeat mode, for commands that do not say.")
@_profiling("--pids", callback=read_pids, metavar="PID,PID",
            help="Only these processes, instead of the whole host. Heartbeat commands name their own.")
@_output("-o", "--output-dir", type=click.Path(path_type=Path, file_okay=False), metavar="DIR",
         help="Where profiles go; last_flamegraph.html there is the newest. Default with -u or in heartbeat mode: "
         "'profiles' in the state directory.")
@_output("--keep-profiles", type=click.IntRange(min=0), default=1_000, show_default=True, metavar="COUNT",
         help="Heartbeat mode: how many profiles stay in the output directory; 0 is all of them.")
@_server("--enable-heartbeat-server", is_flag=True, help="Take commands from a Performance Studio by heartbeat.")
@_server("--api-server", callback=read_address, metavar="URL", help="Its address; by default that of --server-host.")
@_server("--server-host", envvar=["GPROFILER_SERVER_HOST", "GPROFILER_SERVER"], callback=read_address, metavar="URL",
         help="The Performance Studio's address, for profiles.")
@_server("--service-name", envvar=["GPROFILER_SERVICE_NAME", "GPROFILER_SERVICE"], metavar="NAME",
         help="The service this host belongs to.")
@_server("--token", metavar="TOKEN",
         help=f"Authentication token; better in {TOKEN_VARIABLE} or --token-file. It is kept out of process lists.")
@_server("--token-file", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE",
         help="Read the token from a file, anew for each call.")
@_server("--enrolment-token-file", type=click.Path(path_type=Path, dir_okay=False), metavar="FILE",
         help="Buy this host a credential of its own, once, with the enrolment token in this file.")
@_server("--ca-bundle", type=click.Path(path_type=Path, exists=True, dir_okay=False), metavar="FILE",
         help="Certificates to trust instead of the built-in ones.")
@_server("--client-cert", type=click.Path(path_type=Path, exists=True, dir_okay=False), metavar="FILE",
         help="A certificate to show to the server, whose common name is this host's name; its key is in it, or in:")
@_server("--client-key", type=click.Path(path_type=Path, exists=True, dir_okay=False), metavar="FILE",
         help="The key of --client-cert.")
@_server("--heartbeat-interval", type=click.IntRange(1, _MAX_INTERVAL), default=30, show_default=True,
         metavar="SECONDS", help="Pace of heartbeats where the server does not name one.")
@_server("--wait", type=click.IntRange(0, _MAX_WAIT), default=25, show_default=True, metavar="SECONDS",
         help="Let the server hold a heartbeat this long, so that commands arrive at once; 0 is plain polling.")
@_server("--server-upload-timeout", type=click.IntRange(1, _MAX_TIMEOUT), default=30, show_default=True,
         metavar="SECONDS", help="How long sending a result may take.")
@_state("--hostname", metavar="NAME", help="Be known by this name instead of the host's own.")
@_state("--state-dir", type=click.Path(path_type=Path, file_okay=False), metavar="DIR",
        help="Where the agent remembers its commands. Default: /var/lib/gprofiler for root, else "
        "~/.local/state/gprofiler.")
@_logging("--verbose", is_flag=True, help="Log every step.")
@_logging("--heartbeat-log", type=click.Path(path_type=Path, dir_okay=False), default=DEFAULT_HEARTBEAT_LOG,
          show_default=True, metavar="FILE", help="Every heartbeat, as JSON lines.")
@_later("-u", "--upload-results", is_flag=True, help="Upload profiles. They stay in --output-dir for now.")
@_later("--dont-send-logs", is_flag=True, help="Send no logs; none are sent anyway.")
@_later("--disable-metrics-collection", is_flag=True, help="Collect no system metrics; none are collected anyway.")
@_later("--java-safemode", metavar="MODE", help="For Java profiling; may be empty.")
@_later("--java-no-version-check", is_flag=True, help="For Java profiling.")
@click.version_option(package_name="performance-studio", prog_name="gprofiler")
@click.pass_context
def gprofiler(context: click.Context, /, **given: Any) -> None:
    """Profile the processes of this host: once, or whenever a Performance Studio asks for it."""
    notices = tuple(note for name, note in _NO_EFFECT.items() if given[name] not in {None, False})
    if given["enable_heartbeat_server"]:
        agent = _agent_settings(given, notices)
        forget_token()
        context.exit(_serve(agent))
    forget_token()
    context.exit(_profile(_local_settings(given, notices)))
# fmt: on


def _local_settings(given: dict[str, Any], notices: tuple[str, ...]) -> LocalSettings:
    output_dir = given["output_dir"]
    if output_dir is None and given["upload_results"]:
        output_dir = _state_dir(given).profiles
        notices = (*notices, f"no --output-dir: profiles go to {output_dir}")
    if output_dir is None:
        raise click.UsageError("Say where the profile goes: --output-dir DIR. (Or --enable-heartbeat-server.)")
    return LocalSettings(
        output_dir=output_dir,
        duration=timedelta(seconds=given["profiling_duration"]),
        frequency_hz=given["profiling_frequency"],
        continuous=given["continuous"],
        pids=given["pids"],
        verbose=given["verbose"],
        notices=notices,
    )


def _agent_settings(given: dict[str, Any], notices: tuple[str, ...]) -> AgentSettings:
    server = given["api_server"] or given["server_host"]
    if not server:
        raise click.UsageError("Heartbeat mode needs --api-server URL (or --server-host).")
    if given["pids"] is not None:
        raise click.UsageError("--pids is for profiling without a server; in heartbeat mode commands name processes.")
    state = _state_dir(given)
    return AgentSettings(
        server=server,
        service_name=_name("--service-name", given["service_name"]),
        hostname=_name("--hostname", given["hostname"] or name_of_this_host()),
        output_dir=(given["output_dir"] or state.profiles).absolute(),
        state_dir=state.path,
        token=_token(given),
        token_file=given["token_file"],
        enrolment_token_file=given["enrolment_token_file"],
        ca_bundle=given["ca_bundle"],
        client_cert=given["client_cert"],
        client_key=given["client_key"],
        interval=timedelta(seconds=given["heartbeat_interval"]),
        wait=timedelta(seconds=given["wait"]),
        send_timeout=timedelta(seconds=given["server_upload_timeout"]),
        duration=timedelta(seconds=given["profiling_duration"]),
        frequency_hz=given["profiling_frequency"],
        continuous=given["continuous"],
        keep_profiles=given["keep_profiles"],
        heartbeat_log=given["heartbeat_log"],
        verbose=given["verbose"],
        notices=notices,
    )


def _state_dir(given: dict[str, Any]) -> StateDir:
    return StateDir((given["state_dir"] or default_state_dir()).absolute())


def _token(given: dict[str, Any]) -> Secret | None:
    try:
        if given["token_file"] is not None:
            return read_token_file(given["token_file"])
        return read_token(given["token"], source=TOKEN_VARIABLE) if given["token"] is not None else None
    except BadToken as error:
        raise click.UsageError(f"{error}.") from None


def _name(option: str, value: str | None) -> str:
    """A service or host name as the protocol wants it, checked before any beat is refused for it."""
    if value is None:
        raise click.UsageError(f"Heartbeat mode needs {option} NAME.")
    from pydantic import TypeAdapter, ValidationError  # noqa: PLC0415 - the help must not pay for it

    from protocol.names import Name  # noqa: PLC0415 - likewise

    try:
        return TypeAdapter[str](Name).validate_python(value)
    except ValidationError as error:
        raise click.UsageError(f"{option} {error.errors()[0]['msg']}.") from None


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
    gprofiler(auto_envvar_prefix="GPROFILER")
