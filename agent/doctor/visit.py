"""The doctor's round: the server first, then this host."""

import asyncio
import os
from dataclasses import dataclass
from pathlib import Path

from agent.addresses import sends_in_clear
from agent.capabilities import capabilities
from agent.certificates import Certificates
from agent.credentials import BadToken, Secret, read_token, read_token_file
from agent.doctor import machine, server
from agent.doctor.findings import Finding
from agent.enrolment import OwnCredential
from agent.host import agent_version
from agent.profilers.registry import installed


@dataclass(frozen=True)
class Patient:
    """What the agent would be started with; None is not given."""

    address: str | None
    service: str | None
    hostname: str
    token: str | None
    token_file: Path | None
    enrolment_token_file: Path | None
    certificates: Certificates
    state_dir: Path
    output_dir: Path
    kill_switch: Path


def visit(patient: Patient) -> list[Finding]:
    """Look at everything. Takes some seconds where something does not answer."""
    return [*asyncio.run(_of_server(patient)), *_of_host(patient)]


async def _of_server(patient: Patient) -> list[Finding]:
    if patient.address is None:
        return [Finding("server", "bad", "none is named", "--api-server URL, or GPROFILER_SERVER")]
    try:
        token = _token(patient)
    except BadToken as error:
        return [Finding("token", "bad", str(error), "the file holds one line: the token")]
    found = [] if token is None or not sends_in_clear(patient.address) else [
        Finding("encryption", "note", "the token travels unencrypted", "use an https:// address")
    ]  # fmt: skip
    if patient.enrolment_token_file is not None and token is None:
        found.append(Finding("enrolment", "note", "this host has no credential yet; the agent buys one when it starts"))
    layers = server.examine(
        patient.address, token=token, service=patient.service, hostname=patient.hostname,
        certificates=patient.certificates, user_agent=f"gprofiler-doctor/{agent_version()}",
    )  # fmt: skip
    found += [finding async for finding in layers]
    return found


def _token(patient: Patient) -> Secret | None:
    """As the agent would take it: the host's own credential first."""
    try:
        own = OwnCredential(patient.state_dir).read()
    except PermissionError:
        own = None
    if own is not None:
        return own
    if patient.token_file is not None:
        return read_token_file(patient.token_file)
    return read_token(patient.token, source="--token or GPROFILER_TOKEN") if patient.token is not None else None


def _of_host(patient: Patient) -> list[Finding]:
    effective = machine.effective_capabilities(Path("/proc/self/status").read_text(encoding="ascii"))
    user = os.geteuid()
    return [
        *machine.profilers(capabilities(installed())),
        machine.permissions(user=user, effective=effective),
        *machine.kernel(machine.read_settings(), effective=effective),
        machine.namespace(os.readlink("/proc/self/ns/pid")),  # noqa: PTH115 - what it says, not a path
        machine.disk(patient.output_dir),
        machine.state_dir(patient.state_dir, user=user),
        machine.kill_switch(patient.kill_switch),
    ]
