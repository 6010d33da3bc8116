"""Where profiles are kept, from the environment."""

from pathlib import Path

from pydantic import SecretStr, field_validator
from pydantic_settings import SettingsConfigDict

from broker.config import FiledSettings


class ProfileSettings(FiledSettings):
    """Read from the environment with the prefix `PCS_`."""

    model_config = SettingsConfigDict(env_prefix="PCS_", extra="ignore")

    state_dir: Path = Path("/var/lib/performance-studio")
    profiles_url: SecretStr | None = None
    """Where profiles are kept, for fsspec (`s3://bucket/folder`); unset: `profile-store` in the state directory."""

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

    @property
    def profiles_at(self) -> str:
        """Their address; may carry a key, so it is never logged."""
        if self.profiles_url is not None:
            return self.profiles_url.get_secret_value()
        return str((self.state_dir / "profile-store").absolute())
