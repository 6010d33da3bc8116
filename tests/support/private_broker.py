"""A server of a test's own, to be taken away and given back."""

import contextlib
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from broker.settings import BrokerSettings
from tests.support.processes import Role, broker_role, started
from tests.support.servers import wait_for_broker


@dataclass(frozen=True)
class PrivateBroker:
    """Where it is, and the process that it is."""

    settings: BrokerSettings
    role: Role

    def crash(self) -> None:
        """SIGKILL: the socket stays behind."""
        self.role.kill()

    def come_back(self) -> None:
        """Start it again on the same data, and wait until it answers."""
        self.role.restart()
        wait_for_broker(self.settings, of=self.role)

    @contextlib.contextmanager
    def asleep(self) -> Iterator[None]:
        """It holds its connections and answers nothing, until the end of the block."""
        self.role.process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self.role.process.send_signal(signal.SIGCONT)


@contextlib.contextmanager
def private_broker(state_dir: Path) -> Iterator[PrivateBroker]:
    """A server on its own data, until the end of the block."""
    settings = BrokerSettings(state_dir=state_dir)
    with started(broker_role(state_dir)) as role:
        wait_for_broker(settings, of=role)
        yield PrivateBroker(settings, role)
