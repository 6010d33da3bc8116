"""How the API runs, from environment and flags."""

import ipaddress
from functools import lru_cache
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, Field, field_validator
from pydantic_settings import SettingsConfigDict

from api.limit_settings import LimitSettings

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def _addresses(value: str) -> str:
    for each in filter(None, value.split(",")):
        ipaddress.ip_network(each.strip(), strict=False)
    return value


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
    metrics_open_to: str = ""
    """Who may read /metrics without a token: `loopback`, or networks with commas (`10.0.0.0/8`); unset: nobody."""
    trusted_proxies: Annotated[str, AfterValidator(_addresses)] = ""
    """Addresses or networks, with commas, whose X-Forwarded-For says where a call comes from. Nobody else's does."""
    insecure_no_auth: bool = False
    """Let everybody do everything; refused on any address but loopback."""

    @field_validator("metrics_open_to")
    @classmethod
    def _name_networks(cls, value: str) -> str:
        networks_of(value)  # a ValueError is told with the setting's name
        return value

    @property
    def open_metrics_networks(self) -> tuple[Network, ...]:
        """Where metrics are read without a token."""
        return networks_of(self.metrics_open_to)


@lru_cache
def networks_of(text: str) -> tuple[Network, ...]:
    """Networks as a setting names them.

    Raises:
        ValueError: one of them is none.
    """
    if text == "loopback":
        return ipaddress.ip_network("127.0.0.0/8"), ipaddress.ip_network("::1/128")
    return tuple(ipaddress.ip_network(part.strip()) for part in text.split(",") if part.strip())
