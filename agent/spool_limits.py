"""How much may wait to be uploaded. Apart from the spool, as the help needs it and must not pay for more."""

from dataclasses import dataclass


@dataclass(frozen=True)
class SpoolLimits:
    """How much may wait: profiles and bytes on disk. `refused` is how many stay that the server did not want."""

    profiles: int = 1_000
    bytes: int = 256 * 1024 * 1024
    refused: int = 10
