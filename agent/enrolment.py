"""A credential of this host's own: bought once with an enrolment token, kept in the state directory by its owner alone.

The host makes the secret and writes it down before it asks, and tells the server its SHA-256 alone. So an answer that
is lost costs nothing: the same question gets the same answer.
"""

import asyncio
import hashlib
import os
import secrets
from datetime import timedelta
from pathlib import Path
from typing import Final, Protocol

import structlog
from structlog.typing import FilteringBoundLogger

from agent.backoff import retrying
from agent.credentials import Secret, read_token_file
from agent.transport import Refused, TransportError
from protocol.enrolment import EnrolmentWish

log: FilteringBoundLogger = structlog.get_logger()

_PREFIX: Final = "pcs_"
"""What the server's own secrets begin with, for the sake of secret scanners."""


class Enrols(Protocol):
    """The part of the transport that enrols."""

    async def enrol(self, wish: EnrolmentWish, token: Secret) -> None:
        """Buy the credential."""


class OwnCredential:
    """Where a host's credential lies: in `credential`, and in `credential.new` until the server knows it."""

    def __init__(self, state_dir: Path) -> None:
        self._path = state_dir / "credential"
        self._unbought = state_dir / "credential.new"

    def read(self) -> Secret | None:
        """The credential, if this host has bought one.

        Raises:
            BadToken: the file is there and cannot be used.
        """
        return read_token_file(self._path) if self._path.exists() else None

    def prepare(self) -> Secret:
        """The secret that is to be bought: that of an attempt before, or a new one, on the disk.

        Raises:
            OSError: it cannot be written.
            BadToken: what an attempt before has left cannot be used.
        """
        if not self._unbought.exists():
            draft = self._unbought.with_name(f".{self._unbought.name}.{os.getpid()}")
            draft.unlink(missing_ok=True)
            with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600), "w") as file:
                file.write(f"{_PREFIX}{secrets.token_urlsafe(32)}\n")
                file.flush()
                os.fsync(file.fileno())
            draft.replace(self._unbought)
        return read_token_file(self._unbought)

    def settle(self) -> None:
        """It is bought: from now on it is this host's token.

        Raises:
            OSError: it cannot be written.
        """
        self._unbought.replace(self._path)


async def enrol(
    own: OwnCredential,
    transport: Enrols,
    wish: EnrolmentWish,
    *,
    token_file: Path,
    cap: timedelta,
    stopping: asyncio.Event,
) -> Secret | None:
    """Buy the credential, however often it takes; None when the agent is told to stop meanwhile.

    Args:
        own: where it is kept.
        transport: asks the server.
        wish: which host asks.
        token_file: holds the enrolment token, and is read anew for each attempt.
        cap: bounds the pause between attempts.
        stopping: ends the trying.

    Raises:
        OSError: the credential cannot be written.
        BadToken: it, or the enrolment token, cannot be read.
    """
    secret = own.prepare()
    digest = hashlib.sha256(secret.reveal().encode()).hexdigest()
    asked = wish.model_copy(update={"credential_sha256": digest})

    async def buy() -> None:
        await transport.enrol(asked, read_token_file(token_file))

    try:
        await retrying(cap=cap, stopping=stopping, on_failure=_note_failure)(buy)
    except TransportError:
        return None
    own.settle()
    log.info("enrolled: this host has a credential of its own", service=wish.service_name, host=wish.hostname)
    return secret


def _note_failure(error: TransportError, attempt: int, rest: timedelta) -> None:
    log.warning(
        "not enrolled yet" if not isinstance(error, Refused) else "the server refuses to enrol this host",
        reason=str(error), attempt=attempt, next_try_in_seconds=round(rest.total_seconds(), 1),
    )  # fmt: skip
