"""Where profiles are kept, from the environment."""

from pathlib import Path

from pydantic import SecretStr
from pydantic_settings import SettingsConfigDict

from broker.config import FiledSettings


class ProfileSettings(FiledSettings):
    """Read from the environment with the prefix `PCS_`."""

    model_config = SettingsConfigDict(env_prefix="PCS_", extra="ignore")

    state_dir: Path = Path("/var/lib/performance-studio")
    profiles_url: SecretStr | None = None
    """Where profiles are kept, for fsspec (`s3://bucket/folder`); unset: `profile-store` in the state directory."""

    @property
    def profiles_at(self) -> str:
        """Their address; may carry a key, so it is never logged."""
        if self.profiles_url is not None:
            return self.profiles_url.get_secret_value()
        return str((self.state_dir / "profile-store").absolute())
