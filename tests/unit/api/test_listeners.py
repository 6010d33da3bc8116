"""How many may listen at once: of a token, and of the process."""

import asyncio
import contextlib

import pytest

from api.listeners import Listeners
from api.problems import TABLE, Refusal


def refusal_of(listeners: Listeners, token_id: str) -> str | None:
    try:
        with listeners.one_more(token_id):
            return None
    except Refusal as refused:
        return refused.code


def test_a_token_has_a_bound_and_so_has_the_process() -> None:
    listeners = Listeners(most=3, most_of_a_token=2)
    with listeners.one_more("a"), listeners.one_more("a"):
        assert refusal_of(listeners, "a") == "too_many_listeners"
        assert refusal_of(listeners, "b") is None
        with listeners.one_more("b"):
            assert refusal_of(listeners, "c") == "no_room"
            assert listeners.count == 3
    assert listeners.count == 0


def test_who_was_refused_or_failed_takes_no_room() -> None:
    listeners = Listeners(most=1, most_of_a_token=1)
    for _ in range(3):
        with contextlib.suppress(ZeroDivisionError), listeners.one_more("a"):
            assert refusal_of(listeners, "a") == "too_many_listeners"
            raise ZeroDivisionError
    assert refusal_of(listeners, "a") is None


@pytest.mark.parametrize(("code", "status"), [("too_many_listeners", 429), ("no_room", 503)])
def test_both_refusals_say_when_to_come_again(code: str, status: int) -> None:
    assert (TABLE[code].status, "Retry-After" in TABLE[code].headers) == (status, True)


async def test_the_last_to_leave_is_waited_for_and_not_for_ever() -> None:
    listeners = Listeners(most=9, most_of_a_token=9)
    assert await listeners.left(within=0)
    with listeners.one_more("a"):
        assert not await listeners.left(within=0.01)
        waiting = asyncio.create_task(listeners.left(within=20))
        await asyncio.sleep(0)
        assert not waiting.done()
    assert await waiting
