"""How the API runs, from environment and flags."""

from pathlib import Path
from typing import Annotated

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from api.limit_settings import LimitSettings


class ApiSettings(LimitSettings):
    """Read from the environment with the prefix `PCS_`."""

    model_config = SettingsConfigDict(env_prefix="PCS_", extra="ignore")

    state_dir: Path = Path("/var/lib/performance-studio")
    """Where `tokens.json` is made at first start."""
    heartbeat_interval: Annotated[int, Field(ge=1, le=3600)] = 30
    """Seconds between heartbeats, told to every agent."""
    fan_out_above: Annotated[int, Field(ge=0)] = 1_000
    """Requests for more hosts than this are appended by a job."""
    expected_roles: Annotated[str, Field(pattern=r"^((archiver|notifier)(,(archiver|notifier))*)?$")] = ""
    """Worker roles beyond those that every system has, with commas; without them /readyz is degraded."""
    insecure_no_auth: bool = False
    """Let everybody do everything; refused on any address but loopback."""
