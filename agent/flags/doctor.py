"""The command `gprofiler doctor`: the options of heartbeat mode that say where and as whom, and how to answer."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import click

from agent.credentials import forget_token
from agent.flags import config, guards, on_host, output, server, tls
from agent.flags.options import Flag, Given, under, write_by_heading
from agent.guard_settings import KILL_SWITCH
from agent.host import hostname

_NAMES: Final = frozenset({
    "api_server", "server_host", "service_name", "token", "token_file", "enrolment_token_file", "server_upload_timeout",
    "ca_bundle", "client_cert", "client_key", "hostname", "state_dir", "output_dir", "config", "kill_switch",
})  # fmt: skip
_flag = under("Answer")

FLAGS: Final[tuple[Flag, ...]] = (
    *(flag for group in (server, tls, on_host, output, guards, config) for flag in group.FLAGS if flag.name in _NAMES),
    _flag("--json", is_flag=True, help="Answer in JSON."),
)


class _Doctor(click.Command):
    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        write_by_heading(self, ctx, formatter)


@click.pass_context
def _run(context: click.Context, /, **given: Any) -> None:
    """Say what keeps this host from being profiled, and what to do about it. Takes the options that the agent takes."""
    from agent.doctor.findings import as_json, is_well, told  # noqa: PLC0415 - the help must not pay for it
    from agent.doctor.visit import visit  # noqa: PLC0415 - likewise

    before = context.parent.params if context.parent is not None else {}
    patient = _patient(given, before)
    forget_token()
    findings = visit(patient)
    click.echo(as_json(findings) if given["json"] else told(findings))
    context.exit(0 if is_well(findings) else 1)


def _patient(given: Given, before: Mapping[str, Any]) -> Any:
    """What was given after `doctor`, else before it."""
    from agent.certificates import Certificates  # noqa: PLC0415 - likewise
    from agent.doctor.visit import Patient  # noqa: PLC0415 - likewise

    said = {name: before.get(name) if given.get(name) is None else given[name] for name in _NAMES}
    state = on_host.read_state_dir(said)
    return Patient(
        address=said["api_server"] or said["server_host"],
        service=said["service_name"],
        hostname=said["hostname"] or hostname(),
        token=said["token"],
        token_file=said["token_file"],
        enrolment_token_file=said["enrolment_token_file"],
        certificates=Certificates(said["ca_bundle"], said["client_cert"], said["client_key"]),
        state_dir=state,
        output_dir=said["output_dir"] or state / "profiles",
        kill_switch=Path(said["kill_switch"] or KILL_SWITCH),
    )


doctor: Final = _Doctor(
    "doctor", params=list(FLAGS), callback=_run, help=_run.__doc__, short_help="Say what is wrong, and what to do.",
    context_settings={"auto_envvar_prefix": config.PREFIX, "max_content_width": 110},
)  # fmt: skip
