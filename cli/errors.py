"""What can stand in the way of a command, each with its exit code."""

from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from cli.answers import RequestProgress

FAULTS_OF_USAGE: Final = frozenset({
    "malformed_json", "not_found", "unknown_command", "idempotency_conflict", "too_large", "unsupported_media_type",
    "invalid",
})  # fmt: skip
"""Codes of refusals, as docs/protocol.md lists them."""
MAY_PASS: Final = frozenset({429, 502, 503, 504})


class StudioError(Exception):
    """Something a person can act on; its text is the whole message."""

    exit_code: int = 1


class Usage(StudioError):
    """The command cannot be carried out as it was given."""

    exit_code = 2


class AlreadyRunning(Usage):
    """Another supervisor holds the state directory."""

    def __init__(self, state_dir: Path, pid: int | None) -> None:
        holder = f"pid {pid}" if pid else "another process"
        super().__init__(
            f"{holder} is running on {state_dir} already. Stop it (Ctrl-C there, or `kill {pid or 'PID'}`), or choose"
            " another --state-dir."
        )
        self.pid = pid


class PortTaken(Usage):
    """Somebody listens there already."""

    def __init__(self, host: str, port: int, reason: str) -> None:
        super().__init__(
            f"cannot listen on {host} port {port}: {reason}. Choose another with --port (0: any free one)."
        )


class UnsafeStateDir(Usage):
    """The state directory holds tokens, and cannot be closed to others."""


class NotRunning(StudioError):
    """No supervisor holds the state directory."""

    exit_code = 3

    def __init__(self, state_dir: Path) -> None:
        super().__init__(f"nothing is running on {state_dir}. `studio up`, with the same --state-dir, starts it.")


class BadTokens(StudioError):
    """The file with the tokens is there and cannot be used."""


class DidNotComeUp(StudioError):
    """A role did not get ready; carries the end of its log."""

    def __init__(self, role: str, reason: str, log: Path, tail: str) -> None:
        shown = "\n".join(f"    {line}" for line in tail.splitlines()) or "    (empty)"
        super().__init__(f"{role} did not come up: {reason}\n  the end of {log}:\n{shown}")
        self.role = role


class Unreachable(StudioError):
    """The API does not answer."""

    exit_code = 3


class Refused(StudioError):
    """The API answered with a problem. `code` is stable and for programs.

    What cannot be carried out as it was given, by anyone and at any time, is a fault of usage (2), the same as one that
    is found here: a field, a name, an id. What is refused to this token, or just now, is not (3).
    """

    exit_code = 3

    def __init__(self, *, status: int, code: str, detail: str) -> None:
        super().__init__(f"the API refused ({status} {code}): {detail}")
        self.status = status
        self.code = code
        if code in FAULTS_OF_USAGE:
            self.exit_code = Usage.exit_code

    @property
    def may_pass(self) -> bool:
        """Whether the same call may succeed a moment later."""
        return self.status in MAY_PASS


class WaitedTooLong(StudioError):
    """What was waited for has not come in the time that was given. `progress`: what it has come to."""

    exit_code = 4

    def __init__(self, message: str, progress: "RequestProgress | None" = None) -> None:
        super().__init__(message)
        self.progress = progress


class DemoFailed(StudioError):
    """The demo's profile was not taken."""
