"""What a webhook is told: the notification, its body in each shape, and its signature. Pure."""

import hashlib
import hmac
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

from protocol.wording import counted

SIGNATURE: Final = "X-Studio-Signature"
TIMESTAMP: Final = "X-Studio-Timestamp"
ID: Final = "X-Studio-Notification"
MOST_TEXT: Final = 300
"""Characters of a reason that are told."""


@dataclass(frozen=True, slots=True)
class Notification:
    """One outcome: of a request on all its hosts, or on one (`hostname`). `counts`: outcome -> hosts.

    `notification_id` is the same whenever the same is told to the same webhook again.
    """

    notification_id: str
    tenant: str
    service: str
    request_id: str
    command_type: str
    status: str
    counts: Mapping[str, int]
    accepted_at: float
    ended_at: float
    hostname: str = ""
    reason: str = ""

    def as_json(self) -> str:
        """For the outbox."""
        return json.dumps(asdict(self))

    @classmethod
    def read(cls, text: str) -> "Notification":
        """What `as_json` wrote.

        Raises:
            ValueError, TypeError: it is no notification.
        """
        return cls(**json.loads(text))


@dataclass(frozen=True, slots=True)
class Message:
    """What goes over the wire."""

    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)


def identify(*parts: str) -> str:
    """An id that follows from what is told to whom."""
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:32]


def status_of(counts: Mapping[str, int]) -> str:
    """The outcome that all hosts share, else `mixed`."""
    return next(iter(counts)) if len(counts) == 1 else "mixed"


def message(notification: Notification, *, shape: str, secret: str | None, now: float) -> Message:
    """The message for a webhook of this shape; signed where there is a secret. `now` is in seconds."""
    told = slack(notification) if shape == "slack" else plain(notification)
    body = json.dumps(told, ensure_ascii=False).encode(errors="replace")
    headers = {"Content-Type": "application/json", ID: notification.notification_id}
    if secret:
        moment = str(int(now))
        headers |= {TIMESTAMP: moment, SIGNATURE: f"sha256={sign(secret, moment, body)}"}
    return Message(body, headers)


def sign(secret: str, moment: str, body: bytes) -> str:
    """HMAC-SHA256, in hex, over the timestamp, a dot and the body: an old message cannot be given a new time."""
    return hmac.new(secret.encode(), moment.encode() + b"." + body, hashlib.sha256).hexdigest()


def plain(notification: Notification) -> dict[str, Any]:
    """The shape `json`, version 1."""
    told: dict[str, Any] = {
        "v": 1,
        "id": notification.notification_id,
        "event": "request_ended_on_host" if notification.hostname else "request_ended",
        "request_id": notification.request_id,
        "service_name": notification.service,
        "command_type": notification.command_type,
        "status": notification.status,
        "counts": dict(notification.counts),
        "hosts": sum(notification.counts.values()),
        "accepted_at": _moment(notification.accepted_at),
        "ended_at": _moment(notification.ended_at),
    }
    if notification.hostname:
        told["hostname"] = notification.hostname
    if notification.reason:
        told["reason"] = notification.reason[:MOST_TEXT]
    return told


def slack(notification: Notification) -> dict[str, Any]:
    """The shape `slack`: one line of text. Names are escaped, so that none can make a link or call a channel."""
    hosts = sum(notification.counts.values())
    where = f"on {notification.hostname}" if notification.hostname else f"on {counted(hosts, 'host')}"
    text = f"{notification.status}: {notification.command_type} of {notification.service} {where}"
    if len(notification.counts) > 1:
        text += f" ({', '.join(f'{count} {state}' for state, count in sorted(notification.counts.items()))})"
    if notification.reason:
        text += f": {notification.reason[:MOST_TEXT]}"
    return {"text": _escaped(f"{text} — request {notification.request_id}")}


def _escaped(text: str) -> str:
    """As Slack has it: these three, and no others."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _moment(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")
