"""How much a token may do: profiles by the size of the fleet, each number of which can be set by itself."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Final, Literal

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from broker.config import FiledSettings
from broker.quotas import Quota


class Lane(StrEnum):
    """What calls are counted together. No lane takes anything from another."""

    HEARTBEATS = "heartbeats"
    COMPLETIONS = "completions"
    SUBMISSIONS = "submissions"
    STOPS = "stops"
    CANCELS = "cancels"
    READS = "reads"
    ADMIN = "admin"
    HOSTS = "hosts"
    """Hosts that nobody knows yet, by the token that beats for them first."""
    STRANGERS = "strangers"
    """Tokens that nobody knows, by the address they come from."""


IN_MEMORY: Final = frozenset({Lane.HEARTBEATS, Lane.COMPLETIONS, Lane.STRANGERS})
"""Counted by each process for itself, without a round trip; the other lanes by the broker for all processes."""

DAY: Final = 86_400
"""In seconds."""
Profile = Literal["small", "medium", "large", "off"]

PROFILES: Final[Mapping[Profile, Mapping[Lane, Quota]]] = {
    "small": {  # up to 1,000 hosts
        Lane.HEARTBEATS: Quota(2_000, 10), Lane.COMPLETIONS: Quota(1_000, 10), Lane.SUBMISSIONS: Quota(120, 60),
        Lane.STOPS: Quota(600, 60), Lane.CANCELS: Quota(600, 60), Lane.READS: Quota(1_200, 60),
        Lane.ADMIN: Quota(120, 60), Lane.HOSTS: Quota(5_000, DAY), Lane.STRANGERS: Quota(30, 10),
    },
    "medium": {  # up to 10,000
        Lane.HEARTBEATS: Quota(20_000, 10), Lane.COMPLETIONS: Quota(10_000, 10), Lane.SUBMISSIONS: Quota(600, 60),
        Lane.STOPS: Quota(3_000, 60), Lane.CANCELS: Quota(3_000, 60), Lane.READS: Quota(6_000, 60),
        Lane.ADMIN: Quota(300, 60), Lane.HOSTS: Quota(50_000, DAY), Lane.STRANGERS: Quota(100, 10),
    },
    "large": {  # up to 100,000
        Lane.HEARTBEATS: Quota(200_000, 10), Lane.COMPLETIONS: Quota(100_000, 10), Lane.SUBMISSIONS: Quota(6_000, 60),
        Lane.STOPS: Quota(30_000, 60), Lane.CANCELS: Quota(30_000, 60), Lane.READS: Quota(60_000, 60),
        Lane.ADMIN: Quota(600, 60), Lane.HOSTS: Quota(500_000, DAY), Lane.STRANGERS: Quota(300, 10),
    },
    "off": {},
}  # fmt: skip
"""Fleet -> lane -> how much one token may do. A fleet whose agents share one token is what the numbers are made for:
all its hosts may come back at once, and beat every five seconds on one API process. In a day it may be made anew five
times: a host that somebody made up stays in the broker for a week."""

Override = Annotated[
    str | None, Field(pattern=r"^([1-9][0-9]{0,8}/[1-9][0-9]{0,4}|off)$", description="calls/seconds, or off")
]


class LimitSettings(FiledSettings):
    """Read from the environment: `PCS_LIMITS`, and `PCS_LIMIT_SUBMISSIONS=600/60` for one lane."""

    model_config = SettingsConfigDict(env_prefix="PCS_", extra="ignore")

    limits: Profile = "medium"
    """The profile: `small` (1,000 hosts), `medium` (10,000), `large` (100,000), or `off`."""
    limit_heartbeats: Override = None
    """Of one token on one API process, as calls/seconds, or `off`."""
    limit_completions: Override = None
    """The same for completions and uploads."""
    limit_submissions: Override = None
    """Of one token on all API processes together, as the following."""
    limit_stops: Override = None
    """Stops that are submitted."""
    limit_cancels: Override = None
    """Whatever is withdrawn by DELETE."""
    limit_reads: Override = None
    """Whatever is read by GET."""
    limit_admin: Override = None
    """Making tokens and the like."""
    limit_hosts: Override = None
    """Hosts that beat for the first time, or after they were forgotten."""
    limit_strangers: Override = None
    """Look-ups of unknown tokens from one address, on one API process."""

    def quotas(self) -> dict[Lane, Quota]:
        """What holds; a lane without a quota is not limited."""
        held = dict(PROFILES[self.limits])
        for lane in Lane:
            given: str | None = getattr(self, f"limit_{lane}")
            if given == "off":
                held.pop(lane, None)
            elif given is not None:
                amount, _, seconds = given.partition("/")
                held[lane] = Quota(int(amount), int(seconds))
        return held
