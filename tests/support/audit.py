"""Looking at audit records as they stand in the broker."""

from collections.abc import Mapping

from broker import keys
from broker.audit import Act, AuditTrail
from broker.connection import Broker
from broker.public_streams import AuditRecord
from protocol import audit_chain
from protocol.audit import AuditOutcome
from protocol.audit_chain import Link

NOW = 1_800_000_000.0


def an_act(tenant: str = "default", **facts: object) -> Act:
    given = {"at": NOW, "action": "request.submit", "outcome": AuditOutcome.ACCEPTED, "actor": "token-1", **facts}
    return Act(tenant=tenant, **given)  # type: ignore[arg-type]  # whatever the test says


async def records_of(broker: Broker, tenant: str = "default") -> list[Mapping[str, str]]:
    """The records of a tenant's chain, each read by its model; oldest first, others' among them."""
    async with broker.guarded() as redis:
        entries = await redis.xrange(keys.audit(AuditTrail(broker).partition_of(tenant)))
    for _, fields in entries:
        assert AuditRecord.model_validate(fields).model_extra == {}, "a field that no model has"
    return [fields for _, fields in entries]


async def check_chain(broker: Broker, tenant: str = "default") -> int:
    """Follow a chain from its checkpoint to its head; gives the number of its last record.

    Raises:
        BrokenChain: it is not whole.
    """
    part = await AuditTrail(broker).look(tenant, most=100_000)
    links = [Link.of(fields) for _, fields in part.entries]
    return audit_chain.verify(links, start=part.checkpoint, end=part.head).number
