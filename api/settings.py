"""How the API runs, from environment and flags."""

import ipaddress
import json
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    SecretStr,
    field_validator,
    model_validator,
)
from pydantic_settings import NoDecode, SettingsConfigDict

from api.limit_settings import LimitSettings
from broker.config import FiledSettings
from profiles.settings import ProfileSettings
from protocol.names import DEFAULT_TENANT, Name

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
_LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "::1"})


class Grant(BaseModel):
    """What people are here whose `claim` has this value. `claim` may be a path, as `realm_access.roles`."""

    model_config = ConfigDict(extra="forbid")

    claim: Annotated[str, Field(min_length=1, max_length=256)]
    value: Annotated[str, Field(min_length=1, max_length=256)]
    kind: Literal["viewer", "operator", "admin"]
    services: Annotated[list[Name], Field(min_length=1, max_length=100)] = ["*"]
    tenant: Name = DEFAULT_TENANT


def _from_json(value: Any) -> Any:
    return json.loads(value or "[]") if isinstance(value, str) else value


def is_private(url: str) -> bool:
    """Whether what is fetched there cannot be changed on its way: https, or this machine."""
    parts = urlsplit(url)
    return parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in _LOOPBACK)


class OidcSettings(FiledSettings):
    """Sign-ins of people by OpenID Connect; without an issuer there are none."""

    model_config = SettingsConfigDict(env_prefix="PCS_", extra="ignore")

    oidc_issuer: str = ""
    """Its address, as it stands in `iss`."""
    oidc_audience: str = ""
    """What has to stand in `aud`: the name that the issuer has for this API."""
    oidc_jwks_url: str = ""
    """Where its keys are; by default where its discovery document says."""
    oidc_grants: Annotated[list[Grant], NoDecode, BeforeValidator(_from_json)] = Field(default_factory=list)
    """What people may do, by their claims: the first that fits counts. JSON, in a file too: a setting has one value."""
    oidc_client_id: str = ""
    """The name that the issuer has for the page; with it people sign in there."""
    oidc_client_secret: SecretStr | None = None
    """The page's password at the issuer, where it has one: without it PKCE alone shows that it is the page."""
    oidc_scopes: str = "openid profile email"
    """What the page asks the issuer for, parted by blanks; some want `groups` among it."""
    oidc_session: Annotated[int, Field(ge=300, le=12 * 3600)] = 8 * 3600
    """Seconds after which somebody who signed in at the page signs in anew."""
    public_url: str = ""
    """Where browsers find the page, as `https://studio.example`: the issuer sends them back to below it."""

    @model_validator(mode="after")
    def _is_whole(self) -> Self:
        if self.oidc_client_id and not (self.oidc_issuer and self.public_url):
            raise ValueError("PCS_OIDC_CLIENT_ID needs PCS_OIDC_ISSUER and PCS_PUBLIC_URL beside it")
        if self.oidc_client_id and "openid" not in self.oidc_scopes.split():
            raise ValueError("PCS_OIDC_SCOPES must have openid among it")
        if self.public_url and (not is_private(self.public_url) or urlsplit(self.public_url).path.strip("/")):
            raise ValueError("PCS_PUBLIC_URL must be an https:// address without a path")
        if self.oidc_issuer and not (self.oidc_audience and self.oidc_grants):
            raise ValueError("PCS_OIDC_ISSUER needs PCS_OIDC_AUDIENCE and PCS_OIDC_GRANTS beside it")
        for name, url in (("ISSUER", self.oidc_issuer), ("JWKS_URL", self.oidc_jwks_url)):
            if url and not is_private(url):
                raise ValueError(f"PCS_OIDC_{name} must be an https:// address")
        return self


def _addresses(value: str) -> str:
    for each in filter(None, value.split(",")):
        ipaddress.ip_network(each.strip(), strict=False)
    return value


class ApiSettings(LimitSettings, OidcSettings, ProfileSettings):
    """Read from the environment with the prefix `PCS_`."""

    model_config = SettingsConfigDict(env_prefix="PCS_", extra="ignore")

    state_dir: Path = Path("/var/lib/performance-studio")
    """Where `tokens.json` is made at first start."""
    heartbeat_interval: Annotated[int, Field(ge=1, le=3600)] = 30
    """Seconds between heartbeats, told to every agent."""
    fan_out_above: Annotated[int, Field(ge=0)] = 1_000
    """Requests for more hosts than this are appended by a job."""
    live_listeners: Annotated[int, Field(ge=1)] = 1_000
    """Streams of live events at one API process at a time; one more is answered 503."""
    live_listeners_per_token: Annotated[int, Field(ge=1)] = 100
    """The same of one token, 429."""
    expected_roles: Annotated[str, Field(pattern=r"^((archiver|notifier)(,(archiver|notifier))*)?$")] = ""
    """Worker roles beyond those that every system has, with commas; without them /readyz is degraded."""
    tls_cert: Path | None = None
    """The certificate to serve https with, PEM, and below it those that vouch for it; with `tls_key`."""
    tls_key: Path | None = None
    tls_client_ca: Path | None = None
    """Who vouches for agents' certificates: an agent's call must come with one, whose common name is its host's."""
    metrics_open_to: str = ""
    """Who may read /metrics without a token: `loopback`, or networks with commas (`10.0.0.0/8`); unset: nobody."""
    trusted_proxies: Annotated[str, AfterValidator(_addresses)] = ""
    """Addresses or networks, with commas, whose X-Forwarded-For says where a call comes from. Nobody else's does."""
    insecure_no_auth: bool = False
    """Let everybody do everything; refused on any address but loopback."""

    @model_validator(mode="after")
    def _tls_is_whole(self) -> Self:
        if (self.tls_cert is None) != (self.tls_key is None):
            raise ValueError("PCS_TLS_CERT and PCS_TLS_KEY go together")
        if self.tls_client_ca is not None and self.tls_cert is None:
            raise ValueError("PCS_TLS_CLIENT_CA needs PCS_TLS_CERT and PCS_TLS_KEY")
        return self

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
