"""How the roles run, from the environment."""

from typing import Annotated

from pydantic import Field, SecretStr
from pydantic_settings import SettingsConfigDict

from broker.errors import NoQueueOnCluster
from broker.settings import BrokerSettings, is_cluster_url
from profiles.settings import ProfileSettings


class WorkerSettings(ProfileSettings):
    """Read from the environment: `PCS_RQ_URL`, what `BrokerSettings` reads, and a few settings of the API."""

    model_config = SettingsConfigDict(env_prefix="PCS_", extra="ignore")

    rq_url: SecretStr | None = None
    """Where rq keeps its jobs; unset: the broker's server. rq does not run on a cluster."""
    heartbeat_interval: Annotated[int, Field(ge=1, le=3600)] = 30
    """As the API is told it: whose hosts are live depends on it."""
    fan_out_above: Annotated[int, Field(ge=0)] = 1_000
    """Requests for more hosts than this are appended by a job of their own."""
    insecure_no_auth: bool = False
    """Whether schedules that were made without authentication fire."""
    archive_url: SecretStr | None = None
    """Where results are archived, for fsspec (`s3://bucket/folder`); unset: `archive` in the state directory."""
    archive_after: Annotated[float, Field(gt=0, le=43_200)] = 300.0
    """Seconds after which a result is archived at the latest; a segment is closed then, or once it is large."""
    webhooks: SecretStr = SecretStr("")
    """Who is told of outcomes: a JSON list, or the path of a file with one. Addresses may be secrets."""

    profiles_push: SecretStr = SecretStr("")
    """Where else profiles go: a JSON list of sinks, or the path of a file with one. Addresses may be secrets."""

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

    @property
    def archive_at(self) -> str:
        """The archive's address; may carry a key, so it is never logged."""
        if self.archive_url is not None:
            return self.archive_url.get_secret_value()
        return str((self.state_dir / "archive").absolute())
