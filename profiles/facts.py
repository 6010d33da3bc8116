"""What is known of a profile beside its stacks."""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, NamedTuple

from protocol.names import HostKey

MOST_TEXT: Final = 256
"""Characters of one fact that an uploader says freely: longer ones are cut."""


@dataclass(frozen=True)
class ProfileFacts:
    """One profile.

    Attributes:
        profile_id: a function of what was uploaded and for whom, so that an upload that is repeated is one profile.
        host: whose it is.
        started_at: when sampling began, UTC.
        ended_at: when it ended.
        command_id: of the command that asked for it; empty where none did, as in the following.
        request_ids: of the requests in that command.
        capture_id: shared by profiles that belong together.
        mode: `cpu`, `allocation` or `wall`.
        frequency_hz: samples a second; 0: not said.
        agent_version: of the agent that took it.
    """

    profile_id: str
    host: HostKey
    started_at: datetime
    ended_at: datetime
    command_id: str = ""
    request_ids: Sequence[str] = ()
    capture_id: str = ""
    mode: str = "cpu"
    frequency_hz: int = 0
    agent_version: str = ""


class Labels(NamedTuple):
    """Of which process a stack is. Empty: not known."""

    process: str = ""
    container: str = ""
    pod: str = ""
    runtime: str = ""


def profile_id_of(host: HostKey, started_at: datetime, content: Iterable[bytes]) -> str:
    """The id of a profile: its hour, by which it is found again, and a digest of all that makes it.

    Args:
        host: whose it is.
        started_at: UTC.
        content: what was uploaded, unzipped, in portions: a zip of the same may differ.
    """
    digest = hashlib.sha256(b"%b\n%b\n" % (host.path.encode(), started_at.isoformat().encode()))
    for portion in content:
        digest.update(portion)
    return f"{started_at:%Y%m%dT%H}-{digest.hexdigest()[:32]}"


def text_of(value: Any) -> str:
    """A fact that should be a text; empty where it is none. JSON may hold halves of characters, and no store does."""
    return value[:MOST_TEXT].encode(errors="replace").decode() if isinstance(value, str) else ""
