"""What a start or a stop is for: hosts, a service, or what runs in it. Options, and what they come to as a body."""

from collections.abc import Callable, Mapping
from typing import Any, Final

import click

from cli import completing
from cli.errors import Usage

NARROWEST_FIRST: Final = ("process", "container", "pod", "workload", "namespace")
FIELD_OF: Final = {
    "process": "process_name", "container": "container_name", "pod": "pod_name", "workload": "workload_name",
    "namespace": "namespace",
}  # fmt: skip
"""Option -> the field of an entity."""
OPTIONS: Final = (
    click.option(
        "--host",
        "hosts",
        multiple=True,
        metavar="NAME",
        help="A host; may be repeated.",
        shell_complete=completing.hosts,
    ),
    click.option("--all", "all_", is_flag=True, help="Every host of the service that is live."),
    click.option("--pid", "pids", type=click.IntRange(min=1), multiple=True, help="A process; may be repeated."),
    click.option("--namespace", metavar="NAME", help="What runs in this namespace."),
    click.option("--workload", metavar="NAME", help="What runs for this workload."),
    click.option("--pod", metavar="NAME", help="What runs in this pod."),
    click.option("--container", metavar="NAME", help="What runs in this container."),
    click.option("--process", metavar="NAME", help="Processes of this name."),
)
NAMES: Final = ("hosts", "all_", "pids", *NARROWEST_FIRST)
WHOM: Final = frozenset({"target_scope", "target_entities", "target_hostnames", "target_hosts", "pids", "sample"})
"""The fields of a request that say whom it is for."""


def targets(function: Callable[..., Any]) -> Callable[..., Any]:
    """The options that say what is meant; a command gets them by the names of `NAMES`."""
    for option in reversed(OPTIONS):
        function = option(function)
    return function


def are_meant(given: Mapping[str, Any]) -> bool:
    """Whether any of the options, or a sample, says whom something is for."""
    return given["sample"] is not None or any(given[name] for name in NAMES)


def body_of_targets(given: Mapping[str, Any], *, sample: str | None = None) -> dict[str, Any]:
    """The fields of a request that say whom it is for.

    Raises:
        Usage: nothing is meant, or two things at once.
    """
    hosts, pids = list(given["hosts"]), list(given["pids"])
    named = {FIELD_OF[option]: given[option] for option in NARROWEST_FIRST if given[option]}
    scope = next((option for option in NARROWEST_FIRST if given[option]), None)
    if given["all_"] and (hosts or named):
        raise Usage("--all is every host of the service: leave out what narrows it")
    if named and pids:
        raise Usage("--pid names processes of a host; --namespace … --process find them: give one or the other")
    if scope is not None:
        if sample is not None:
            raise Usage("--sample is of hosts, not of what runs on them")
        where = [{**named, "hostname": host} for host in hosts] or [named]
        return {"target_scope": scope, "target_entities": where}
    if hosts:
        body: dict[str, Any] = {"target_hostnames": hosts}
    elif given["all_"] or sample is not None:
        body = {"target_scope": "service"}
    else:
        raise Usage("say which hosts: --host NAME, --sample 3, or --all for every live host of the service")
    return body | ({"pids": pids} if pids else {}) | ({"sample": _share(sample)} if sample is not None else {})


def _share(text: str) -> int | str:
    """A count as a number, a share such as `10%` as it is; what is neither the API says."""
    return int(text) if text.isdecimal() else text


def share(text: str | None) -> int | str | None:
    """The same, for what may be left out."""
    return None if text is None else _share(text)
