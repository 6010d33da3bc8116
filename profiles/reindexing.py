"""Making an index anew from the uploads, which are kept as they came."""

import io
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Final

import structlog

from profiles.gathering import gathered
from profiles.portions import MOST_PLAIN_BYTES, Plain
from profiles.shelves import RAW, Envelope, RawUploads
from profiles.tables import Tables, tables_of
from profiles.upload import FILES, BadUpload, Beside, Upload, read_json
from protocol.names import HostKey

log = structlog.get_logger(__name__)

UNREADABLE: Final = (
    BadUpload, ValueError, TypeError, LookupError, ArithmeticError, AttributeError, RecursionError,
)  # fmt: skip
"""What reading a stored upload again may raise: this version cannot, or it is damaged."""


def read_again(envelope: Envelope, content: bytes, *, profile_id: str = "") -> Upload:
    """An upload that was stored, read as it was when it came. `profile_id`: its id, where that is known.

    Raises:
        BadUpload: it cannot be read any more; what was stored could be.
        ValueError, TypeError, LookupError, AttributeError: its envelope is none of ours.
        BadZip, TooLong: it is damaged.
    """
    plain = Plain(io.BytesIO(content), is_zipped=envelope.is_zipped, most=MOST_PLAIN_BYTES)
    received_at = datetime.fromisoformat(envelope.received_at).astimezone(UTC)
    if envelope.form == "agent":
        upload = read_json(
            plain, tenant=envelope.tenant, service=envelope.service, now=received_at, profile_id=profile_id
        )
    else:
        host = HostKey(envelope.tenant, envelope.service, envelope.host)
        started_at, ended_at = (datetime.fromisoformat(each) for each in (envelope.started_at, envelope.ended_at))
        beside = Beside(host, started_at, ended_at, envelope.facts, envelope.sample_type, profile_id)
        upload = FILES[envelope.form](plain, beside, now=received_at)
    requests = tuple(envelope.request_ids) or upload.facts.request_ids
    return replace(upload, facts=replace(upload.facts, request_ids=requests))


def maker(raw: RawUploads, place: str, *, seen: Callable[[int], None]) -> Callable[[Sequence[str]], dict[str, Tables]]:
    """What makes the tables of an hour's profiles from their uploads; those that are gone or unreadable are left out.

    Args:
        raw: the uploads.
        place: the hour.
        seen: is told of each profile that was looked at.
    """

    def made(ids: Sequence[str]) -> dict[str, Tables]:
        found: dict[str, Tables] = {}
        for profile_id in ids:
            upload = upload_at(raw, f"{RAW}/{place}/{profile_id}")
            if upload is not None:
                found[profile_id] = tables_of(gathered(upload))
            seen(1)
        return found

    return made


def upload_at(raw: RawUploads, path: str) -> Upload | None:
    """A stored upload, read; None: it is gone, or cannot be read, which is logged.

    Raises:
        OSError: the store does not answer.
    """
    try:
        return read_again(*raw.read(path), profile_id=path.rpartition("/")[2])
    except FileNotFoundError:
        log.warning("an upload is gone before it was indexed", path=path)
    except UNREADABLE as error:
        log.warning("an upload cannot be indexed; it stays where it is", path=path, reason=str(error)[:200])
    return None
