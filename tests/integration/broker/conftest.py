"""A cluster that the files of this folder share."""

from collections.abc import Iterator

import pytest

from tests.support.redis_cluster import RunningCluster, redis_cluster


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningCluster]:
    """Three masters with a replica each. Who takes one away brings it back, and waits until the cluster is whole."""
    with redis_cluster(tmp_path_factory.mktemp("cluster") / "nodes", replicas=True) as running:
        yield running
