"""How the API runs, from environment and flags."""

import ipaddress
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, Field
from pydantic_settings import BaseSettings, SettingsConfigDict


def _addresses(value: str) -> str:
    for each in filter(None, value.split(",")):
        ipaddress.ip_network(each.strip(), strict=False)
    return value


class ApiSettings(BaseSettings):
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
    trusted_proxies: Annotated[str, AfterValidator(_addresses)] = ""
    """Addresses or networks, with commas, whose X-Forwarded-For says where a call comes from. Nobody else's does."""
    insecure_no_auth: bool = False
    """Let everybody do everything; refused on any address but loopback."""
