"""`/metrics`: what Prometheus reads. With a token, of its tenant; without one where that is allowed."""

import ipaddress
from typing import Final

from fastapi import APIRouter, Request, Response
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder

from api.dependencies import Studio, StudioDep, caller
from api.documented import problems
from api.fleet_metrics import FleetCollector, hear_of_the_system
from api.metrics import counted
from api.rights import require, require_every_service
from broker.errors import BrokerError
from broker.token_store import TokenKind

router = APIRouter(tags=["operations"])

PATH: Final = "/metrics"


@router.get(
    PATH,
    responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}, **problems(401, 403, 503)},
    response_class=Response,
    summary="Metrics for Prometheus",
)
async def metrics(request: Request, parts: StudioDep) -> Response:
    """How this process answers, and how the fleet stands: of the token's tenant, or of all from an open address.

    What it counts of itself is of all tenants together, and told to those of `default` alone, who run it. A broker that
    is away is told as `pcs_broker_up 0`, without the fleet.
    """
    tenants: list[str] | None = None
    if not is_open_to(request.client.host if request.client else None, parts):
        token = await caller(request, parts)
        require(token, [TokenKind.VIEWER, TokenKind.OPERATOR])
        require_every_service(token)
        tenants = [token.tenant]
    try:
        counts = await parts.census.counts()
    except BrokerError:
        counts = None  # told as such
    registry = CollectorRegistry()
    registry.register(FleetCollector(counts, tenants=tenants))
    if hear_of_the_system(tenants):
        registry = _Together(counted(), registry)
    encode, kind = choose_encoder(request.headers.get("accept", ""))
    return Response(encode(registry), media_type=kind)


class _Together(CollectorRegistry):
    """Several registries in one answer."""

    def __init__(self, *registries: CollectorRegistry) -> None:
        super().__init__()
        for each in registries:
            self.register(each)


def is_open_to(host: str | None, parts: Studio) -> bool:
    """Whether an address may read metrics without a token."""
    networks = parts.settings.open_metrics_networks
    if not networks or host is None:
        return False
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    return any(address in network for network in networks)
