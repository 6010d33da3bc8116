"""The number of a stack: a digest of its text, so that the same stack has the same number in every profile."""

import hashlib
from typing import Final

DIGEST_BYTES: Final = 8


def stack_id_of(stack: str) -> int:
    """A stack's number: 64 bits of a digest. Among ten million stacks two share one with a chance of 3 in a million.

    Raises:
        UnicodeEncodeError: it holds half a character, which no store takes.
    """
    return int.from_bytes(digest_of(stack), "little")


def digest_of(stack: str) -> bytes:
    """The number's bytes, the lowest first.

    Raises:
        UnicodeEncodeError: likewise.
    """
    return hashlib.blake2b(stack.encode(), digest_size=DIGEST_BYTES).digest()
