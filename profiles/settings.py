"""Where profiles are kept, from the environment."""

from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, field_validator
from pydantic_settings import SettingsConfigDict

from broker.config import FiledSettings


class ProfileSettings(FiledSettings):
    """Read from the environment with the prefix `PCS_`."""

    model_config = SettingsConfigDict(env_prefix="PCS_", extra="ignore")

    state_dir: Path = Path("/var/lib/performance-studio")
    profiles_url: SecretStr | None = None
    """Where profiles are kept, for fsspec (`s3://bucket/folder`); unset: `profile-store` in the state directory."""

    profiles_engine: SecretStr | None = None
    """ClickHouse's address (`https://user:password@host:8443/database`), if it has the index; unset: files have it."""

    profiles_keep_days: Annotated[int, Field(ge=0, le=36_500)] = 0
    """Whole days after which profiles go; 0: never."""
    profiles_keep_days_of: dict[str, Annotated[int, Field(ge=0, le=36_500)]] = Field(default_factory=dict)
    """The same for some tenants, in place of it: `{"acme": 7}`."""
    profiles_fold_after_days: Annotated[int, Field(ge=0, le=36_500)] = 0
    """Days after which light stacks are folded into heavier ones and uploads go; 0: never."""
    profiles_fold_below: Annotated[float, Field(gt=0, lt=1)] = 0.0001
    """Share of an hour's samples below which a stack is light."""

    @field_validator("profiles_url")
    @classmethod
    def _without_key(cls, url: SecretStr | None) -> SecretStr | None:
        """S3's client would take a key in the address for a part of the bucket's name, and tell it in its errors.

        Raises:
            ValueError: there is one.
        """
        if url is not None and url.get_secret_value().startswith(("s3://", "s3a://")) and "@" in url.get_secret_value():
            raise ValueError("credentials for S3 stand in AWS_ACCESS_KEY_ID and the like, or in AWS's file")
        return url

    @field_validator("profiles_engine")
    @classmethod
    def _is_reachable(cls, value: SecretStr | None) -> SecretStr | None:
        """A password is in it: what is wrong is said without the address."""
        if value is None:
            return None
        parts = urlsplit(value.get_secret_value())
        if parts.scheme not in {"http", "https"} or not parts.hostname or not parts.path.strip("/"):
            raise ValueError("must be an address of ClickHouse's HTTP interface, with the name of a database")
        return value

    @property
    def profiles_at(self) -> str:
        """Their address; may carry a key, so it is never logged."""
        if self.profiles_url is not None:
            return self.profiles_url.get_secret_value()
        return str((self.state_dir / "profile-store").absolute())
