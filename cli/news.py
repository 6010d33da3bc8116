"""Word of a request as something happens to it, heard by a thread of its own; whoever waits for it need not ask."""

import threading
from typing import Final, Self

from cli import event_stream
from cli.calls import Calls
from cli.errors import Refused, Unreachable

AGAIN_AFTER_S: Final = 2.0
KINDS: Final = "request,command"


class News:
    """Listens for one request until the end of the block: what it hears says only that a look is worth it."""

    def __init__(self, client: Calls, request_id: str) -> None:
        self._client = client
        self._query = {"kinds": KINDS, "request_id": request_id}
        self._told = threading.Event()
        self._over = threading.Event()
        self._is_live = False
        # It ends with the process at the latest: what it reads may be silent for a quarter of a minute.
        self._thread = threading.Thread(target=self._listen, name="news", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()

    def wait(self, seconds: float, *, else_after: float) -> None:
        """Come back once something has happened, and after so many seconds at the latest.

        Args:
            seconds: while one is told.
            else_after: while nobody tells: a look is due then.
        """
        self._told.wait(seconds if self._is_live else else_after)
        self._told.clear()

    def _listen(self) -> None:
        while not self._over.is_set():
            try:
                with self._client.lines(event_stream.PATH, self._query, {}) as lines:
                    self._is_live = True
                    self._told.set()  # what has happened before one was told
                    for event in event_stream.read(lines):
                        if self._over.is_set():
                            return
                        if event.kind != "beat":
                            self._told.set()
            except Unreachable:
                pass  # whoever looks meets it, and tells of it
            except Refused as refusal:
                if not refusal.may_pass:
                    return
            except RuntimeError:
                if not self._over.is_set():  # else it is what a client says that was closed meanwhile
                    raise
            finally:
                self._is_live = False
                self._told.set()
            self._over.wait(AGAIN_AFTER_S)
