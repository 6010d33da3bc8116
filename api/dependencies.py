"""What a route is given: everything long-lived in one place, and the caller."""

from collections.abc import Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import Depends, Request

from api.audit import Refusals
from api.auth import Authenticator
from api.certificates import peer_of
from api.held import HeldHeartbeats
from api.limits import Limits, lane_of
from api.listeners import Listeners
from api.ownership import NOBODY, Peer
from api.settings import ApiSettings
from api.sign_ins import identify
from api.strangers import BoundedLookups
from api.uploads import Intake as UploadIntake
from broker.audit import AuditTrail
from broker.census import Census
from broker.command_store import CommandStore
from broker.connection import Broker
from broker.dead_letters import DeadLetters
from broker.host_registry import HostRegistry
from broker.inventory import Inventories
from broker.limits import WindowLimits
from broker.live import LiveFeed
from broker.nudges import Nudges
from broker.request_log import RequestLog
from broker.request_store import RequestStore
from broker.rollouts import Rollouts
from broker.roster import Roster
from broker.schedule_store import ScheduleStore
from broker.sessions import Sessions
from broker.submission import Intake
from broker.token_changes import TokenChanges
from broker.token_store import Token, TokenStore
from broker.uploads import Uploads
from profiles.engines import engine_of
from profiles.objects import Objects
from profiles.shelves import RawUploads
from protocol.pacing import stale_after

if TYPE_CHECKING:
    from api.code_flow import CodeFlow
    from api.people import People


class Studio:
    """The long-lived parts of one API process."""

    def __init__(self, settings: ApiSettings, broker: Broker) -> None:
        self.settings = settings
        self.broker = broker
        self.request_log = RequestLog(broker)
        self.request_store = RequestStore(broker)
        self.command_store = CommandStore(broker)
        self.dead_letters = DeadLetters(broker, self.request_store, self.request_log)
        self.registry = HostRegistry(broker)
        self.inventories = Inventories(broker)
        self.intake = Intake.of(
            broker,
            heartbeat_interval=timedelta(seconds=settings.heartbeat_interval),
            fan_out_above=settings.fan_out_above,
        )
        self.rollouts = Rollouts(broker)
        self.schedules = ScheduleStore(broker)
        self.tokens = TokenStore(broker)
        self.sessions = Sessions(broker)
        self.audit = AuditTrail(broker)
        self.refusals = Refusals(self.audit)
        self.roster = Roster(broker)
        self.nudges = Nudges(broker)
        self.held = HeldHeartbeats()
        self.live = LiveFeed(broker)
        self.listeners = Listeners(
            most=settings.live_listeners, most_of_a_token=settings.live_listeners_per_token
        )  # fmt: skip
        self.people = _people(settings) if settings.oidc_issuer else None
        self.code_flow = _code_flow(settings, self.people) if self.people and settings.oidc_client_id else None
        self.census = Census(broker, silent_after=stale_after(timedelta(seconds=settings.heartbeat_interval)))
        objects = Objects(settings.profiles_at)
        self.profiles = engine_of(settings, objects)
        self.profile_intake = UploadIntake(RawUploads(objects), Uploads(broker), self.command_store)
        self.limits = Limits(WindowLimits(broker), settings.quotas())
        self.lookups = BoundedLookups(broker, self.limits)
        self.authenticator = Authenticator(
            self.lookups,
            TokenChanges(broker, rotated=self.lookups.expect),
            self.people,
            switched_off=settings.insecure_no_auth,
        )
        self.is_set_up = False
        """Whether the layout is checked and the first tokens are registered."""


def _people(settings: ApiSettings) -> "People":
    from api.people import People  # noqa: PLC0415 - an HTTP client and cryptography, for an API with an issuer alone

    return People(settings)


def _code_flow(settings: ApiSettings, people: "People") -> "CodeFlow":
    from api.code_flow import CodeFlow  # noqa: PLC0415 - as above

    return CodeFlow(settings, people)


def studio(request: Request) -> Studio:
    """The parts of this process."""
    parts: Studio = request.app.state.studio
    return parts


StudioDep = Annotated[Studio, Depends(studio)]


async def caller(request: Request, parts: StudioDep) -> Token:
    """Who is calling, within their limits.

    Raises:
        Refusal: nobody we know, or somebody who calls too often.
    """
    return await _identified(request, parts, request.headers)


async def _identified(request: Request, parts: Studio, headers: Mapping[str, str]) -> Token:
    token = await identify(request, parts, headers)
    request.state.caller = token
    lane = lane_of(request.method, request.scope["route"].path)
    if lane is not None:
        await parts.limits.check(request.scope, lane, token.token_id)
    return token


CallerDep = Annotated[Token, Depends(caller)]


async def uploader(request: Request, parts: StudioDep) -> Token:
    """Who uploads: agents of the field say their token in a header of its own there.

    Raises:
        Refusal: as for `caller`.
    """
    headers: Mapping[str, str] = request.headers
    key = headers.get("gprofiler-api-key")
    if key is not None and "authorization" not in headers:
        headers = {"authorization": f"Bearer {key}"}
    return await _identified(request, parts, headers)


UploaderDep = Annotated[Token, Depends(uploader)]


def peer_in(scope: Mapping[str, Any], parts: Studio) -> Peer:
    """Whose certificate the connection of a call has."""
    if parts.settings.tls_client_ca is None:
        return NOBODY
    return Peer(peer_of(scope), is_required=True)
