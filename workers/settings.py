"""How the roles run, from the environment."""

from pathlib import Path

from pydantic import SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

from broker.errors import NoQueueOnCluster
from broker.settings import BrokerSettings, is_cluster_url


class WorkerSettings(BaseSettings):
    """Read from the environment: `PCS_RQ_URL` and what `BrokerSettings` reads."""

    model_config = SettingsConfigDict(env_prefix="PCS_", extra="ignore")

    rq_url: SecretStr | None = None
    """Where rq keeps its jobs; unset: the broker's server. rq does not run on a cluster."""
    state_dir: Path = Path("/var/lib/performance-studio")

    @property
    def job_queue_url(self) -> str:
        """The URL for rq; may carry a password, so it is never logged.

        Raises:
            NoQueueOnCluster: it is a cluster's.
        """
        url = self.rq_url.get_secret_value() if self.rq_url is not None else BrokerSettings().url
        if is_cluster_url(url):
            raise NoQueueOnCluster
        return url
