"""Withdrawing a request: it leaves whatever it is part of on its hosts, and nobody else's request is harmed."""

from broker.connection import Broker
from broker.request_log import RequestLog
from broker.request_record import RequestRecord
from broker.request_store import RequestStore
from broker.rollouts import Rollouts
from broker.standing import StandingRequests


async def withdraw(record: RequestRecord, broker: Broker) -> int:
    """Ask compaction on every host of a request to take it out. May be repeated; what has ended stays as it ended.

    Nobody joins it any more, and nobody gets a turn in it. Hosts that it is not appended for yet are told of by a
    tombstone in each partition: appended later, it ends there at once. Gives for how many hosts compaction was asked.

    Raises:
        BrokerUnavailable: the server cannot be reached; some hosts may have been told, and it may be repeated.
    """
    reason = f"cancelled by {record.cancelled_by}" if record.cancelled_by else "cancelled"
    if record.is_standing:
        await StandingRequests(broker).end(record.request_id, reason=reason)
    if record.is_rollout:
        await Rollouts(broker).halt(record.request_id, reason=reason)
    hosts = [record.key_of(host) for host in record.hosts]
    asked = await RequestLog(broker).cancel(record.request_id, hosts, reason=reason)
    await RequestStore(broker).note_cancels_appended(record.request_id)
    return asked
