"""The whole system on one machine: claims the state directory, starts every role, waits until it can be used."""

import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from cli.answers import Readiness
from cli.client import StudioClient
from cli.errors import DidNotComeUp, Unreachable
from cli.ports import claimed_port, url_for
from cli.roles import API, Role, agent_role, role_of, server_roles
from cli.state import StateDir
from cli.supervisor import Supervisor

Tell = Callable[[str], None]

COMES_UP_WITHIN_S: Final = 60.0
HOPELESS_AFTER_STARTS: Final = 5
"""A role that has to be started this often before the system is ready will not get better by itself."""
READY: Final = "ready"


@dataclass(frozen=True)
class System:
    """A system that runs while `running` is entered."""

    state: StateDir
    supervisor: Supervisor
    url: str
    tell: Tell

    def wait_until_ready(self, within: float = COMES_UP_WITHIN_S) -> None:
        """Wait until the API reaches the broker and sees every worker role.

        Raises:
            DidNotComeUp: with the role that stands in the way, and the end of its log.
            StopRequested: a signal asked for the end.
        """
        deadline = time.monotonic() + within
        said = ""
        with StudioClient(self.url) as client:
            while True:
                self.supervisor.wait(0.1)
                readiness = self._look(client)
                if readiness is not None and readiness.status == READY:
                    return
                waits = self._waits_for(readiness)
                if waits != said:
                    said = waits
                    self.tell(f"waiting for {waits}")
                self._give_up_on_the_hopeless()
                if time.monotonic() > deadline:
                    raise self._failure(self._culprit(readiness), f"not ready after {within:.0f} s")

    def token(self) -> str:
        """The operator's token, from the file the API made.

        Raises:
            DidNotComeUp: the API is up and did not make it.
        """
        token = self.state.token("admin")
        if token is None:
            raise self._failure(API, f"it made no {self.state.tokens_file}")
        return token

    def _look(self, client: StudioClient) -> Readiness | None:
        try:
            return client.readiness()
        except Unreachable:
            return None  # it has not bound its port yet; what stays so is reported with the log

    def _waits_for(self, readiness: Readiness | None) -> str:
        if readiness is None:
            return "the API to answer"
        return ", ".join(name for name, check in readiness.checks.items() if not check.ok) or readiness.status

    def _give_up_on_the_hopeless(self) -> None:
        for child in self.supervisor.children:
            if child.role.restart and child.starts >= HOPELESS_AFTER_STARTS:
                raise self._failure(child.role.name, f"it ended {child.starts} times ({child.last_exit})")

    def _culprit(self, readiness: Readiness | None) -> str:
        """The role to show: the first in start order that the API misses, or that is not running."""
        missed = {role_of(name) for name, check in readiness.checks.items() if not check.ok} if readiness else {API}
        down = {child.role.name for child in self.supervisor.children if child.process is None}
        names = [child.role.name for child in self.supervisor.children]
        return next((name for name in names if name in down), next((name for name in names if name in missed), API))

    def _failure(self, role: str, reason: str) -> DidNotComeUp:
        return DidNotComeUp(role, reason, self.state.log_file(role), self.state.tail(role))


@contextmanager
def running(
    state: StateDir,
    *,
    host: str,
    port: int,
    service: str | None,
    tell: Tell,
    further: Sequence[Role] = (),
    workers: int = 1,
) -> Iterator[System]:
    """A system that starts here and has stopped, every child of it, afterwards.

    Args:
        state: where data, logs and tokens live; made when it is not there.
        host: the address the API listens on.
        port: its port; 0 for any free one.
        service: the service name of an agent for this machine; None for no agent.
        tell: takes a line of progress.
        further: more processes to look after.
        workers: how many processes share the work of the API.

    Raises:
        AlreadyRunning: another supervisor holds the state directory.
        PortTaken: the API cannot listen there.
    """
    state.make()
    with state.claim(), claimed_port(host, port) as chosen:
        url = url_for(host, chosen)
        roles = server_roles(state, host=host, port=chosen, own_broker=not os.environ.get("PCS_REDIS_URL"),
                             webhooks=bool(os.environ.get("PCS_WEBHOOKS")), workers=workers)  # fmt: skip
        if service is not None:
            roles.append(agent_role(state, url=url, service=service))
        with Supervisor([*roles, *further], state, url=url, tell=tell) as supervisor:
            yield System(state, supervisor, url, tell)
