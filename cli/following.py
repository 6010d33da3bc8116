"""Following a request to its end, and submitting one, across whatever comes between: a restart, a lost connection.

What happens is told by the API's stream of events; while there is none, it is asked for again and again.
"""

import time
from collections.abc import Callable
from typing import Any, Final, TypeVar

from cli.answers import RequestProgress
from cli.bars import Shown
from cli.client import StudioClient
from cli.errors import Refused, Unreachable, WaitedTooLong
from cli.news import News
from cli.verdicts import is_over
from protocol.requests import RequestAccepted

LOOK_EVERY_S: Final = 0.5
SELDOM_S: Final = 2.0
LOOK_AT_LEAST_EVERY_S: Final = 15.0
"""Also while one is told of all that happens."""
MANY: Final = 200
"""Hosts above which one looks seldom: each look tells of all of them."""
PATIENCE_S: Final = 30.0
"""How long an API may be away before one gives up on it."""
AGAIN_AFTER_S: Final = 0.5

Found = TypeVar("Found")


def submit(client: StudioClient, body: dict[str, Any], key: str, *, shown: Shown) -> RequestAccepted:
    """Submit once, however often it has to be said: the key makes the API give its first answer again.

    Raises:
        Unreachable: the API stays away; whether it has the request is not known.
        Refused: it does not take it.
    """
    return patiently(lambda: client.ask(body, key), shown=shown, deadline=None)


def follow(
    client: StudioClient,
    request_id: str,
    *,
    shown: Shown,
    deadline: float | None,
    enough: Callable[[Any], bool] = is_over,
) -> RequestProgress:
    """Show a request until it is over.

    Args:
        client: of its API.
        request_id: which.
        shown: takes each look.
        deadline: until when, by the monotonic clock; None: however long it takes.
        enough: tells of a look whether it is the last.

    Raises:
        WaitedTooLong: it is not over in time; what it has come to is shown.
        Unreachable: the API stays away for longer than one waits.
    """
    with News(client, request_id) as news:
        while True:
            progress = patiently(lambda: client.request(request_id), shown=shown, deadline=deadline)
            shown.show(progress)
            if enough(progress):
                return progress
            pause = SELDOM_S if progress.hosts_total > MANY else LOOK_EVERY_S
            left = LOOK_AT_LEAST_EVERY_S if deadline is None else deadline - time.monotonic()
            if left < pause:
                raise WaitedTooLong(
                    f"waited long enough; request {request_id} goes on.\n"
                    f"  follow it:  studio requests follow {request_id}\n"
                    f"  end it:     studio cancel {request_id}",
                    progress,
                )
            time.sleep(pause / 2)  # what happens in a moment is one look
            news.wait(min(left, LOOK_AT_LEAST_EVERY_S) - pause / 2, else_after=pause / 2)


def patiently(ask: Callable[[], Found], *, shown: Shown, deadline: float | None) -> Found:
    """An answer, asked for again while the API is away or busy.

    Raises:
        Unreachable: it was away for `PATIENCE_S`, or until the deadline.
        Refused: it refuses, and will again.
    """
    give_up = time.monotonic() + PATIENCE_S
    if deadline is not None:
        give_up = min(give_up, deadline)
    told = False
    while True:
        try:
            return ask()
        except (Unreachable, Refused) as error:
            passes = not isinstance(error, Refused) or error.may_pass
            if not passes or time.monotonic() + AGAIN_AFTER_S > give_up:
                raise
            if not told:
                told = True
                shown.say(f"{error}; trying again")
        time.sleep(AGAIN_AFTER_S)
