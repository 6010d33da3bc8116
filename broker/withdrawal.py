"""Withdrawing a request: it leaves whatever it is part of on its hosts, and nobody else's request is harmed."""

from broker.request_log import RequestLog
from broker.request_store import RequestRecord, RequestStore
from protocol.names import HostKey


async def withdraw(record: RequestRecord, store: RequestStore, log: RequestLog) -> int:
    """Ask compaction on every host of a request to take it out. May be repeated; what has ended stays as it ended.

    Hosts that it is not appended for yet are told of, too: appended later, it ends there at once. Gives how many hosts.

    Raises:
        BrokerUnavailable: the server cannot be reached; some hosts may have been told, and it may be repeated.
    """
    hosts = [HostKey(record.tenant, record.service, host) for host in record.targets]
    reason = f"cancelled by {record.cancelled_by}" if record.cancelled_by else "cancelled"
    asked = await log.cancel(record.request_id, hosts, reason=reason)
    await store.note_cancels_appended(record.request_id)
    return asked
