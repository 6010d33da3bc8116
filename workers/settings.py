"""How the roles run, from the environment."""

from pathlib import Path
from typing import Annotated

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

from broker.settings import BrokerSettings


class WorkerSettings(BaseSettings):
    """Read from the environment: `PCS_RQ_URL` and what `BrokerSettings` reads."""

    model_config = SettingsConfigDict(env_prefix="PCS_", extra="ignore")

    rq_url: SecretStr | None = None
    """Where rq keeps its jobs; unset: the broker's server. rq does not run on a cluster."""
    state_dir: Path = Path("/var/lib/performance-studio")
    archive_url: SecretStr | None = None
    """Where results are archived, for fsspec (`s3://bucket/folder`); unset: `archive` in the state directory."""
    archive_after: Annotated[float, Field(gt=0, le=43_200)] = 300.0
    """Seconds after which a result is archived at the latest; a segment is closed then, or once it is large."""

    webhooks: SecretStr = SecretStr("")
    """Who is told of outcomes: a JSON list, or the path of a file with one. Addresses may be secrets."""

    @property
    def job_queue_url(self) -> str:
        """The URL for rq; may carry a password, so it is never logged."""
        return self.rq_url.get_secret_value() if self.rq_url is not None else BrokerSettings().url

    @property
    def archive_at(self) -> str:
        """The archive's address; may carry a key, so it is never logged."""
        if self.archive_url is not None:
            return self.archive_url.get_secret_value()
        return str((self.state_dir / "archive").absolute())
