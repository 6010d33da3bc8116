"""Masters of a cluster that are killed, so that their replicas take over."""

import random
import time
from dataclasses import dataclass, field
from typing import Final

from broker.replicas import KNOWN_FOR_SECONDS
from tests.support.processes import eventually
from tests.support.redis_cluster import MASTERS, RunningCluster, answers

KNOWN_TO_ALL_SECONDS: Final = KNOWN_FOR_SECONDS + 1
"""A submission waits for a replica where there is one, and who has asked remembers the answer for a while. Before that
it is as safe as its one master, and we say no more of it: the next master is killed after that."""


@dataclass
class Failovers:
    """Kills masters, one after another. `moments`: when, in seconds since the epoch."""

    cluster: RunningCluster
    seed: int
    moments: list[float] = field(default_factory=list)
    _whole_since: float = field(default_factory=time.monotonic)

    def __post_init__(self) -> None:
        self._dice = random.Random(f"{self.seed} failovers")

    def __call__(self, away: float) -> str:
        """Kill a master, wait for its successor, let it come back as a replica `away` seconds later; tell of it."""
        time.sleep(max(0.0, self._whole_since + KNOWN_TO_ALL_SECONDS - time.monotonic()))
        master = self._dice.choice(self.cluster.serving)
        began = time.monotonic()
        self.moments.append(time.time())
        master.role.kill()
        eventually(lambda: len(self.cluster.serving) == MASTERS, within=30, what="a successor")
        took = time.monotonic() - began
        time.sleep(away)
        master.role.restart()
        eventually(lambda: answers(master), what="the old master's first answer")
        self.cluster.wait_until_whole()
        self._whole_since = time.monotonic()
        number, back = self.cluster.nodes.index(master), self._whole_since - began
        return (
            f"kill -9 of node {number}, a master: its replica served after {took:.2f} s, it was one after {back:.2f} s"
        )
