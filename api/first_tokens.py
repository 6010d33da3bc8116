"""The tokens of a first start: `tokens.json` in the state directory, readable by its owner alone."""

import json
import os
import stat
import time
from pathlib import Path
from secrets import token_hex
from typing import Final

import structlog

from broker.audit import Act, AuditTrail
from broker.token_store import TokenKind, TokenStore, new_secret
from protocol.audit import AuditOutcome
from protocol.names import DEFAULT_TENANT

log = structlog.get_logger(__name__)

FILE: Final = "tokens.json"
KINDS: Final = (TokenKind.ADMIN, TokenKind.AGENT)


class UnsafeTokens(ValueError):
    """Somebody else may have chosen the tokens."""


def read_or_make(state_dir: Path) -> dict[str, str]:
    """The secrets by kind, made when the file is not there yet.

    Two processes that start together agree: the file appears whole, and the first one wins.

    Raises:
        OSError: the file can be neither read nor made.
        ValueError: the file is not ours: it says something else, or somebody else may have written it.
    """
    path = state_dir / FILE
    if not path.exists():
        state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        # A random name: in a container the next start has the same pid, and would find the draft that a crash left.
        draft = state_dir / f".{FILE}.{token_hex(8)}"
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600), "w") as file:
            json.dump({kind.value: new_secret() for kind in KINDS}, file, indent=2)
            file.flush()
            os.fsync(file.fileno())
        try:
            path.hardlink_to(draft)  # fails where somebody was first, unlike a rename
            log.info("first tokens made", path=str(path))
        except FileExistsError:
            log.info("first tokens were made by another process", path=str(path))
        finally:
            draft.unlink()
    try:
        secrets = json.loads(_read_safely(path))
    except UnsafeTokens:
        raise
    except ValueError:
        secrets = None  # told below, without a piece of what may be a secret
    if not isinstance(secrets, dict) or not all(_is_secret(secrets.get(kind)) for kind in KINDS):
        raise ValueError(f"{path} must have the keys {', '.join(KINDS)}; remove it to have it made anew")
    return {kind: secrets[kind] for kind in KINDS}


def _read_safely(path: Path) -> str:
    """The file's text. Whoever may write it, or had put it there before our first start, knows an admin's token."""
    with path.open() as file:
        facts = os.fstat(file.fileno())
        if facts.st_uid not in {0, os.geteuid()} or facts.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            raise UnsafeTokens(f"{path} must belong to this user and be writable by nobody else; remove or mend it")
        return file.read()


def _is_secret(found: object) -> bool:
    return isinstance(found, str) and bool(found.strip())


async def register(secrets: dict[str, str], store: TokenStore, trail: AuditTrail) -> None:
    """Make the first tokens valid, unless they were revoked. They cover every service of the default tenant.

    Raises:
        BrokerUnavailable: the server cannot be reached.
    """
    for kind in KINDS:
        if await store.find(secrets[kind]) is None:
            facts = {"kind": kind.value, "services": ["*"]}
            act = Act(
                at=time.time(), action="token.create", outcome=AuditOutcome.ACCEPTED, tenant=DEFAULT_TENANT,
                actor_kind="first start", after=facts,
            )  # fmt: skip
            await trail.write(act)
        await store.add(secrets[kind], kind=kind, tenant=DEFAULT_TENANT, services=("*",))
