"""The scripts of tokens: find one, rotate one, revoke one, buy a host its own. All keys of tokens are of one slot."""

from enum import StrEnum
from typing import Final

from broker import keys
from broker.connection import Call
from broker.scripts._load import load_script

FIND_TOKEN: Final = load_script("find_token")
ROTATE_TOKEN: Final = load_script("rotate_token")
REVOKE_TOKEN: Final = load_script("revoke_token")
ENROL: Final = load_script("enrol")


def find_token(digest: str) -> Call:
    """Read a token; the answer has its fields, name, value, name, value."""
    return Call(FIND_TOKEN, [keys.token(digest)], [])


def rotate_token(token_id: str, *, before: str, after: str, facts: str, now: str, until: str) -> Call:
    """Give a token the secret of digest `after`; that of `before` is good until a moment (ISO 8601). 1 when it was."""
    return Call(
        ROTATE_TOKEN,
        [keys.token_ids(), keys.token(before), keys.token(after), keys.token_changes()],
        [token_id, before, after, facts, now, until],
    )


def revoke_token(token_id: str, *, digest: str, now: str) -> Call:
    """Make a token worthless, also where it was rotated since it was found with this digest."""
    return Call(REVOKE_TOKEN, [keys.token(digest), keys.token_ids(), keys.token_changes()], [token_id, digest, now])


class Bought(StrEnum):
    """What became of an enrolment."""

    ENROLLED = "enrolled"
    REPEATED = "repeated"  # this very credential is the host's already
    TAKEN = "taken"  # the host has another one, or the secret is in use
    SPENT = "spent"  # the enrolment token has enrolled as many hosts as it may


def enrol(
    path: str, *, enrolment_id: str, max_uses: int, tenant: str, token_id: str, digest: str, facts: str, member: str
) -> Call:
    """Buy the host of a path a credential of its own. The answer reads as `Bought`."""
    return Call(
        ENROL,
        [keys.enrolments(), keys.bound_tokens(), keys.token_ids(), keys.tokens_of(tenant), keys.token(digest)],
        [enrolment_id, max_uses, path, token_id, digest, facts, member],
    )
