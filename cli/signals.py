"""Signals as values: blocked while entered and taken one by one, so that they interrupt nothing half done."""

import signal
from typing import Final, Self

INTERRUPTS: Final = frozenset({signal.SIGINT, signal.SIGTERM, signal.SIGHUP})
TAKEN: Final = INTERRUPTS | {signal.SIGCHLD}


class TakenSignals:
    """While entered, the end of a child and requests to stop are taken by `take` and arrive in no other way."""

    def __enter__(self) -> Self:
        # A script's shell starts background jobs with SIGINT ignored; ours is heeded all the same. An ignored SIGHUP
        # (nohup) stays ignored. With an ignored SIGCHLD the kernel would take the children's exit codes.
        self._waits_for = TAKEN - ({signal.SIGHUP} if signal.getsignal(signal.SIGHUP) == signal.SIG_IGN else set())
        self._mask_before = signal.pthread_sigmask(signal.SIG_BLOCK, self._waits_for)
        self._before = {
            signal.SIGINT: signal.signal(signal.SIGINT, signal.default_int_handler),
            signal.SIGCHLD: signal.signal(signal.SIGCHLD, signal.SIG_DFL),
        }
        return self

    def __exit__(self, *_: object) -> None:
        while self.take(0) is not None:
            continue  # what came while everything stopped has been heeded
        for signum, disposition in self._before.items():
            signal.signal(signum, disposition)
        signal.pthread_sigmask(signal.SIG_SETMASK, self._mask_before)

    def take(self, timeout: float) -> int | None:
        """The next signal, waiting at most this many seconds."""
        taken = signal.sigtimedwait(self._waits_for, timeout)
        return taken.si_signo if taken else None

    def interrupt_within(self, seconds: float) -> int | None:
        """The next request to stop; None when the time is over, or at once when a child has ended."""
        signum = self.take(seconds)
        return signum if signum in INTERRUPTS else None
