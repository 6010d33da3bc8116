"""In which container and pod the processes of a profile run."""

import os
from collections.abc import Iterable
from functools import cache

from agent.inventory import Label
from agent.surroundings import Surroundings, own_pod


def of(pids: Iterable[int]) -> dict[int, Label]:
    """The labels of those processes that run in a container or pod and are still there. Reads files."""
    return _surroundings().labels(pids)


@cache
def _surroundings() -> Surroundings:
    return Surroundings(own_pod(os.environ))
