"""`python -m tests.support.befallen_roles api|workers ...`: a role of ours, every call of which to Redis meets faults.

The share of calls that the server executes and never answers is in PCS_CHAOS_FAULTS, half as many are refused; the seed
is in PCS_CHAOS_SEED. Each fault is written into the file PCS_CHAOS_FAULTS_LOG: who is killed has told of them all. Its
lines count the lives of the role, too: each life has its own faults, and the seed says which. Workers are hurried, as
the chaos of a fleet has them. rq's own connection meets none: `tests/integration/workers/test_roles_befallen.py`.
"""

import importlib
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from broker.connection import Broker
from broker.settings import BrokerSettings
from tests.support.faults import WELL, Faults, befall

SHARE: Final = "PCS_CHAOS_FAULTS"
SEED: Final = "PCS_CHAOS_SEED"
LOG: Final = "PCS_CHAOS_FAULTS_LOG"
BEGUN: Final = "begun"
MAINS: Final = {"api": "api.__main__", "workers": "tests.support.hurried_workers"}


class ToldFaults(Faults):
    """Faults that are told in a file as they happen."""

    def __init__(self, seed: str, log: int, *, refused: float, late: float) -> None:
        super().__init__(seed, refused=refused, late=late)
        self._log = log

    def next(self) -> str:
        verdict = super().next()
        if verdict != WELL:
            os.write(self._log, f"{verdict}\n".encode())
        return verdict


def told_faults(env: Mapping[str, str]) -> ToldFaults:
    """The faults of this life of a role, by its environment."""
    path, late = Path(env[LOG]), float(env[SHARE])
    lives = lines_of(path).count(BEGUN)
    log = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(log, f"{BEGUN}\n".encode())
    return ToldFaults(f"{env[SEED]} {path.stem} {lives}", log, refused=late / 2, late=late)


def lines_of(path: Path) -> list[str]:
    """What the log of a role's faults says."""
    return path.read_text().splitlines() if path.exists() else []


def main() -> None:
    """Befall every broker that is made from now on, and run the role."""
    faults = told_faults(os.environ)
    plain = Broker.__init__

    def made_befallen(self: Broker, settings: BrokerSettings) -> None:
        plain(self, settings)
        befall(self, faults)

    Broker.__init__ = made_befallen  # type: ignore[method-assign]  # every one, whoever makes it
    importlib.import_module(MAINS[sys.argv.pop(1)]).main()


if __name__ == "__main__":
    main()
